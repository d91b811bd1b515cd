"""Questions to a model server, within bounds: time, size, no redirects, no proxies of the environment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx
import numpy as np

from router.protocols.mlflow import Mlflow
from router.protocols.protocol import Prediction, Unreadable
from router.staging.contract import Answer, Row, request_of
from router.staging.metrics import Answers

TIMEOUT_SECONDS = 30.0
MOST_BYTES = 64 << 20
BATCH_ROWS = 1000
_JSON = {"content-type": "application/json"}


class Server:
    """One model server, by MLflow's scoring protocol.

    Args:
        url: of the server, without a path.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/invocations"
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ask(self, body: bytes) -> Answer:
        """One request."""
        try:
            async with self._http.stream("POST", self._url, content=body, headers=_JSON) as response:
                found = bytearray()
                async for piece in response.aiter_bytes():
                    found += piece
                    if len(found) > MOST_BYTES:
                        return Answer(None)
                return Answer(response.status_code, bytes(found))
        except httpx.HTTPError:
            return Answer(None)

    async def predict(self, columns: Sequence[str], rows: Sequence[Row]) -> list[Prediction] | None:
        """A prediction for each row; None: the server did not answer, or not with one for each."""
        found: list[Prediction] = []
        for low in range(0, len(rows), BATCH_ROWS):
            piece = rows[low : low + BATCH_ROWS]
            predictions = predictions_of(await self.ask(request_of(columns, piece)))
            if predictions is None or len(predictions) != len(piece):
                return None
            found += predictions
        return found

    async def at_rate(self, bodies: Sequence[bytes], rate: float, count: int) -> tuple[list[float], int]:
        """Ask so often, each when it is due; seconds from then to the answer, and how many were not answered with 200."""
        began, seconds, failed = time.monotonic(), [], 0

        async def one(number: int) -> None:
            nonlocal failed
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            answer = await self.ask(bodies[number % len(bodies)])
            if answer.status == 200:
                seconds.append(time.monotonic() - due)
            else:
                failed += 1

        await asyncio.gather(*(one(number) for number in range(count)))
        return seconds, failed


def predictions_of(answer: Answer) -> list[Prediction] | None:
    """What an answer predicts; None: it is none."""
    if answer.status != 200:
        return None
    try:
        return Mlflow().predictions(answer.body)
    except Unreadable:
        return None


def as_answers(predictions: Sequence[Prediction], positive: float | None) -> Answers:
    """As arrays; of classes 1.0 is the positive one."""
    values = np.array([_value(each.value, positive) for each in predictions])
    return Answers(values, np.array([each.score for each in predictions]))


def _value(value: float | str, positive: float | None) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if positive is None or number != number:  # noqa: PLR0124 - NaN
        return number
    return float(number == positive)
