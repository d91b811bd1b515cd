"""Questions to a model server, within bounds: time, size, no redirects, no proxies of the environment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import httpx
import numpy as np

from router.link.endpoint import Tls, place_of
from router.link.http_client import http_client, named, origin
from router.protocols.coding import Coding
from router.protocols.protocol import Prediction, Questions, Reader, Unreadable
from router.staging.contract import Answer, Row
from router.staging.latency import Timed
from router.staging.metrics import Answers

EXCHANGE_SECONDS = 30.0
"""From the first byte of a question to the last one of its answer."""

MOST_BYTES = 64 << 20
BATCH_ROWS = 1000
_AT_ONCE = 256
_FEW = 8
_JSON = {"content-type": "application/json"}


class Server:
    """One model server.

    Args:
        url: of the server, as the settings have endpoints.
        path: where it is asked.
        ready_path: that it answers with 200 when it is ready.
        reader: of its answers.
        tls: how it is trusted.

    Raises:
        ValueError: the URL is no address.
        OSError: a file of `tls` cannot be read.
    """

    def __init__(self, url: str, path: str, ready_path: str, reader: Reader, tls: Tls | None = None) -> None:
        place, tls = place_of(url), tls or Tls()
        self._base = origin(place) + place.base
        self._path = path
        self._ready_path = ready_path
        self._reader = reader
        self._named = named(tls)
        self._http = http_client(place, tls, _AT_ONCE, EXCHANGE_SECONDS)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ready(self, within_seconds: float) -> bool:
        """Whether it says within this time that it is ready."""
        until = time.monotonic() + within_seconds
        while True:
            try:
                async with asyncio.timeout(5.0):
                    answer = await self._http.get(self._base + self._ready_path, extensions=self._named)
                if answer.status_code == 200:
                    return True
            except (httpx.HTTPError, TimeoutError):
                pass
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(0.2)

    async def ask(self, body: bytes) -> Answer:
        """One request; what takes longer than EXCHANGE_SECONDS, drop by drop or not at all, is no answer."""
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                status, found = await self._exchange(body)
        except (httpx.HTTPError, TimeoutError):
            return Answer(None)
        if found is None:
            return Answer(None)
        return Answer(status, found, self._read(found) if status == 200 else None)

    async def _exchange(self, body: bytes) -> tuple[int, bytes | None]:
        request = {"content": body, "headers": _JSON, "extensions": self._named}
        async with self._http.stream("POST", self._base + self._path, **request) as response:  # type: ignore[arg-type]
            found = bytearray()
            async for piece in response.aiter_bytes():
                found += piece
                if len(found) > MOST_BYTES:
                    return response.status_code, None
            return response.status_code, bytes(found)

    def _read(self, body: bytes) -> tuple[Prediction, ...] | None:
        try:
            return tuple(self._reader(body))
        except Unreadable:
            return None

    async def ask_all(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Several requests, a few at a time; their answers in order."""
        slots = asyncio.Semaphore(_FEW)

        async def one(body: bytes) -> Answer:
            async with slots:
                return await self.ask(body)

        return list(await asyncio.gather(*(one(body) for body in bodies)))

    async def predict(
        self,
        questions: Questions,
        names: Sequence[str],
        rows: Sequence[Row],
        tell: Callable[[int], None] = lambda _: None,
    ) -> tuple[list[Prediction] | None, str]:
        """A prediction for each row; None: one batch was not answered with one for each, and how it was instead."""
        found: list[Prediction] = []
        for low in range(0, len(rows), BATCH_ROWS):
            piece = rows[low : low + BATCH_ROWS]
            answer = await self.ask(questions.of(names, piece))
            if not answer.has(len(piece)):
                return None, f"rows {low + 1:,} to {low + len(piece):,} got {answer.told}"
            found += answer.predictions or ()
            tell(len(found))
        return found, ""

    async def at_rate(
        self, bodies: Sequence[bytes], rate: float, count: int, tell: Callable[[int], None] = lambda _: None
    ) -> Timed:
        """Ask so often, each when it is due, whether or not the ones before have been answered."""
        began = time.monotonic()
        seconds: list[float] = []
        late: list[float] = []
        failed = 0

        async def one(number: int) -> None:
            nonlocal failed
            due = began + number / rate
            late.append(time.monotonic() - due)
            answer = await self.ask(bodies[number % len(bodies)])
            if answer.status == 200:
                seconds.append(time.monotonic() - due)
            else:
                failed += 1
            tell(len(seconds) + failed)

        async with asyncio.TaskGroup() as sent:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                sent.create_task(one(number))
        return Timed(seconds, late, failed)


def as_answers(predictions: Sequence[Prediction], coding: Coding) -> Answers:
    """As arrays, coded as live answers are."""
    coded = np.array([coding.prediction(each) for each in predictions]).reshape(-1, 2)
    return Answers(np.where(np.isfinite(coded[:, 0]), coded[:, 0], np.nan), coded[:, 1])
