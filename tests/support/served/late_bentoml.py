"""A service of BentoML's; runs in BentoML's environment, not in the tests', which has numpy by BentoML itself."""

from collections.abc import AsyncGenerator

import bentoml
from late_model import answers
from pydantic import BaseModel


class Row(BaseModel):
    """One question."""

    truth: int
    noise: float


class Item(BaseModel):
    """Its answer."""

    label: int
    probabilities: list[float]


class Result(BaseModel):
    """In the order of the rows."""

    items: list[Item]


class Answer(BaseModel):
    """An object, since clients of BentoML's expect no bare list."""

    result: Result


@bentoml.service(name="late", workers=1, traffic={"timeout": 10}, logging={"access": {"enabled": False}})
class Late:
    """Rows in, labels and probabilities out."""

    @bentoml.api(route="/predict")
    async def predict(self, rows: list[Row]) -> Answer:
        """Refuses a noise above 1, and breaks on one below 0."""
        if any(row.noise > 1 for row in rows):
            raise bentoml.exceptions.InvalidArgument("expected a noise up to 1")
        if any(row.noise < 0 for row in rows):
            raise ValueError("no noise")
        label, probabilities = answers([row.truth for row in rows], [row.noise for row in rows])
        found = zip(label.tolist(), probabilities.tolist(), strict=True)
        return Answer(result=Result(items=[Item(label=one, probabilities=two) for one, two in found]))

    @bentoml.api(route="/parts")
    async def parts(self, count: int = 3) -> AsyncGenerator[str, None]:
        """Text in pieces; BentoML calls that an event stream, without its framing."""
        for number in range(count):
            yield f"part {number}\n"
