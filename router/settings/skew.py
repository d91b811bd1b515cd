"""`skew:` of a model: that its requests are looked at beside what its versions were trained on."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from router.settings.block import Block, Count, Duration, Number, Percent, Text, written, wrong_at
from router.settings.units import parse_duration


class SkewSettings(Block):
    """How many requests are looked at, and when a feature is named."""

    share: Percent = Field(default=5, description="Percent of the requests that are looked at.")
    window: Duration = written("1h", parse_duration, "How far back live values count: 1m to 7d.")
    min_rows: Count = Field(default=500, description="Fewer rows in the window say nothing of a feature.")
    psi: Number = Field(
        default=0.1, description="Population stability index from which on a feature is named, if chance is ruled out."
    )
    ignore: tuple[Text, ...] = Field(
        default=(), description="Columns that are not compared with their training, such as a date: it always drifts."
    )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        if not 60 <= self.window <= 7 * 86_400:
            raise wrong_at([(("window",), "expected 1m to 7d")])
        if not 0 < self.psi <= 10:
            raise wrong_at([(("psi",), f"expected more than 0 and at most 10, not {self.psi:g}")])
        return self
