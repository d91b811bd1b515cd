"""Sends a recording's requests to both servers, each when it is due, whether or not those before have been answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from comparator.columns import CHALLENGER_VERSION, CHAMPION_VERSION, key_bytes
from comparator.events import OBSERVATION, Columns, Mode, Role
from router.control.extract import extract
from router.link.messages import BODY_NONE, BODY_WHOLE, EXCHANGE_ROW, Exchanges
from router.protocols.coding import Coding
from router.protocols.protocol import Reader
from router.recordings.lines import Asked
from router.resending.target import Reply, Target

BATCH = 512
"""Answers whose predictions are read together."""

VERSIONS = {Role.CHAMPION: CHAMPION_VERSION, Role.CHALLENGER: CHALLENGER_VERSION}
"""Of a and of b, in what is told."""


@dataclass(slots=True)
class Resent:
    """What came of it.

    Args:
        late_seconds: how much later than due requests were sent, the worst.
        seconds: that it took.
        unsent: requests that were left when it was stopped.
    """

    late_seconds: float = 0.0
    seconds: float = 0.0
    unsent: int = 0
    _parts: list[Columns] = field(default_factory=list)

    @property
    def observations(self) -> Columns:
        """Dtype OBSERVATION: a is the champion, b the challenger, of a shadow; times are those of the recording."""
        return np.concatenate([np.zeros(0, OBSERVATION), *self._parts])

    def add(self, columns: Columns) -> None:
        """More of it."""
        self._parts.append(columns)


class Resending:
    """One run.

    Args:
        a: asked as the champion.
        b: asked as the challenger.
        read: the predictions in an answer.
        coding: how they become numbers.
        speed: recorded seconds a second; None: as fast as `at_once` lets it go.
        at_once: requests under way at most; what is due beyond waits, and is late.
    """

    def __init__(
        self,
        a: Target,
        b: Target,
        *,
        read: Reader,
        coding: Coding,
        speed: float | None,
        at_once: int,
    ) -> None:
        self._targets = (a, b)
        self._read, self._coding = read, coding
        self._speed = speed
        self._slots = asyncio.Semaphore(at_once)
        self._done: list[tuple[Asked, tuple[Reply, Reply]]] = []
        self._resent = Resent()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Send no more; what is under way is waited for."""
        self._stopped.set()

    async def run(self, requests: Sequence[Asked], tell: Callable[[int], None] = lambda _: None) -> Resent:
        """Send all, in order of their times; `tell` is told how many have been answered."""
        began, answered = time.monotonic(), 0
        first = requests[0].at if requests else 0.0

        async def one(asked: Asked, turn: int) -> None:
            nonlocal answered
            order = (turn % 2, 1 - turn % 2)  # who is asked second finds warm caches, and a busy client
            try:
                replies = await asyncio.gather(*(self._targets[side].ask(asked) for side in order))
            finally:
                self._slots.release()
            self._done.append((asked, (replies[order[0]], replies[order[1]])))
            answered += 1
            tell(answered)
            if len(self._done) >= BATCH:
                await self._extract()

        async with asyncio.TaskGroup() as sent:
            for index, asked in enumerate(requests):
                due = began + (asked.at - first) / self._speed if self._speed is not None else 0.0
                await self._until(due)
                await self._slots.acquire()
                if self._stopped.is_set():
                    self._resent.unsent = len(requests) - index
                    break
                if self._speed is not None:
                    self._resent.late_seconds = max(self._resent.late_seconds, time.monotonic() - due)
                sent.create_task(one(asked, index))
        self._resent.seconds = time.monotonic() - began
        await self._extract()
        return self._resent

    async def _until(self, due: float) -> None:
        """Until this moment, or until it is stopped."""
        wait = due - time.monotonic()
        if wait <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stopped.wait()

    async def _extract(self) -> None:
        """As live traffic is read, by the same code; in a thread, since what is under way is timed."""
        done, self._done = self._done, []
        rows: list[bytes] = []
        bodies: list[bytes] = []
        for asked, replies in done:
            for role, reply in zip((Role.CHAMPION, Role.CHALLENGER), replies, strict=True):
                rows.append(_row(asked, role, reply))
                bodies.append(reply.body)
        if rows:
            exchanges = Exchanges("resent", b"".join(rows), b"".join(bodies))
            found = await asyncio.to_thread(extract, exchanges, self._read, self._coding)
            self._resent.add(found.columns)


def _row(asked: Asked, role: Role, reply: Reply) -> bytes:
    key = key_bytes(asked.request_id)
    state = BODY_WHOLE if reply.status else BODY_NONE
    return EXCHANGE_ROW.pack(
        asked.at + reply.latency,
        0,
        int.from_bytes(key[:8], "big"),
        int.from_bytes(key[8:], "big"),
        VERSIONS[role],
        len(reply.body),
        reply.first_byte,
        reply.latency,
        0,
        reply.status,
        role,
        Mode.SHADOW,
        True,
        reply.outcome,
        state,
    )
