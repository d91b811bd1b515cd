"""Refused attempts to act, on their way to the ledger: bounded, and never waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from router.control.ledger import LedgerUnavailable, RefusedAct

log = logging.getLogger(__name__)

MOST_A_MINUTE = 30
"""Kept one by one of each actor, and of all who are not known; the rest of a minute is one row for each kind of act."""

WRITE_SECONDS = 1.0
SECONDS = 60


class Book(Protocol):
    """What keeps them."""

    async def add_refused(self, acts: list[RefusedAct]) -> None:
        """Record these. Raises LedgerUnavailable."""


class Sieve:
    """Who floods us gets so many rows a minute, and hides nobody else. Pure: time is that of what comes."""

    def __init__(self) -> None:
        self._minute = 0
        self._kept: Counter[str] = Counter()  # by actor
        self._beyond: Counter[str] = Counter()
        self._rows: list[RefusedAct] = []

    def add(self, refused: RefusedAct) -> None:
        """One more."""
        self._turn(refused.at)
        if self._kept[refused.actor] < MOST_A_MINUTE:
            self._kept[refused.actor] += 1
            self._rows.append(refused)
        else:
            self._beyond[refused.act] += 1

    def take(self, now: float) -> list[RefusedAct]:
        """What is to be recorded by now: each once; the rest of a minute when that is over."""
        self._turn(now)
        rows, self._rows = self._rows, []
        return rows

    def take_all(self) -> list[RefusedAct]:
        """The rest of this minute, too."""
        return self.take((self._minute + 1.0) * SECONDS)

    def _turn(self, now: float) -> None:
        minute = int(now // SECONDS)
        if minute == self._minute:
            return
        at = float(self._minute * SECONDS)
        self._rows += [
            RefusedAct(at, "", "", act, "", f"more in the minute from here on than the {MOST_A_MINUTE} kept", times)
            for act, times in self._beyond.items()
        ]
        self._minute = minute
        self._kept.clear()
        self._beyond.clear()


class Refusals:
    """Takes what was refused, at once, and records it about every second. While the ledger is away it is only counted.

    Args:
        book: the ledger.
        count: told of every refused act, by its name.
        lost: told of how many attempts the ledger did not take.
    """

    def __init__(self, book: Book, count: Callable[[str], None], lost: Callable[[int], None]) -> None:
        self._book = book
        self._count = count
        self._lost = lost
        self._sieve = Sieve()

    def add(self, refused: RefusedAct) -> None:
        """Somebody was refused."""
        self._count(refused.act)
        self._sieve.add(refused)

    async def run(self) -> None:
        """Record what comes, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write(self._sieve.take(time.time()))

    async def finish(self) -> None:
        """Record what is left."""
        await self._write(self._sieve.take_all())

    async def _write(self, rows: list[RefusedAct]) -> None:
        if not rows:
            return
        try:
            await self._book.add_refused(rows)
        except LedgerUnavailable as error:
            lost = sum(row.times for row in rows)
            self._lost(lost)
            log.warning("%d refused attempts to act are not in the ledger: %s", lost, error)
