"""The ledger's face to the event loop: every call runs, in order, in one thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Engine

from comparator.events import CheckResult, Decision
from router.control.ledger import chaining, queries, refused
from router.control.ledger.chain import Head
from router.control.ledger.codec import Recorded, Row, decode_state, encode, encode_state
from router.control.ledger.engine import connect, reading, writing
from router.control.ledger.errors import LedgerUnavailable
from router.control.ledger.lease import Lease
from router.control.ledger.refused import RefusedAct
from router.control.ledger.schema import migrate

T = TypeVar("T")

MOST_ROWS_A_BATCH = 16_384
"""A longer batch is stored in several rows (of one transaction), so that a page of facts stays small in memory."""

PRUNED_AT_ONCE = 256
"""Rows deleted in one transaction: appends get their turn in between."""


class Ledger:
    """The record of facts and decisions of all models, and the leader's lease.

    A call that is cancelled leaves the database alone: the thread finishes its transaction, so what a cancelled
    `append` was given may have been recorded. After an error the ledger stays usable; the same call may succeed later.
    """

    def __init__(self, engine: Engine, thread: ThreadPoolExecutor, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._thread = thread
        self._lease = Lease(monotonic)
        self._heads: dict[str, Head] = {}  # of the chains, once known: nobody else extends them
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, *, busy_seconds: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> Ledger:
        """Open or create a ledger, and bring it to the newest schema.

        Args:
            url: as SQLAlchemy reads it: sqlite:///relative.db, sqlite:////absolute.db, postgresql://...
            busy_seconds: how long a write waits for another process's write.
            monotonic: the clock that the lease is timed by.

        Raises:
            LedgerUnavailable: it cannot be opened, is not a ledger, or was written by a newer titleshot.
        """
        engine = connect(url, busy_seconds)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        ledger = cls(engine, thread, monotonic)

        def prepare() -> None:
            with writing(engine) as connection:
                migrate(connection)

        try:
            await ledger._run(prepare)
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        """Finish what was begun and let go of the database; every later call raises LedgerUnavailable."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)

    # ---- facts

    async def append(
        self,
        model: str,
        facts: Sequence[Recorded],
        term: int | None = None,
        states: Mapping[str, bytes] = MappingProxyType({}),
    ) -> int:
        """Record facts of one model, in order, in one transaction: on disk when this returns. Decisions are chained.

        Args:
            model: whose facts.
            facts: empty batches are left out.
            term: the leader's fencing term; None: whoever writes need not be the leader.
            states: of the evidence that decisions among the facts were made from, by their digest.

        Returns:
            The sequence number of the last fact of the model.

        Raises:
            LedgerUnavailable: nothing was recorded.
            Fenced: the term is no longer the lease's; nothing was recorded.
            TypeError: a batch of another dtype than OBSERVATION or LABEL; nothing was recorded.
        """

        def write() -> int:
            rows = [row for fact in facts for row in _rows(fact)]  # here: compressing takes time, too
            packed = {digest: chaining.pack(state) for digest, state in states.items()}
            with writing(self._engine) as connection:
                last, head = queries.append(connection, model, rows, term, packed)
            if head is not None:
                self._heads[model] = head
            return last

        return await self._run(write)

    async def since(self, model: str, seq: int = 0, at: float = 0.0) -> AsyncIterator[tuple[int, Recorded]]:
        """The facts of a model after `seq`, in order, a page at a time; batches that end before `at` are left out.

        Args:
            model: whose facts.
            seq: the last sequence number that the caller has; 0: from the beginning.
            at: seconds since the epoch; decisions are never left out.

        Yields:
            Sequence number and fact.

        Raises:
            LedgerUnavailable: nothing more can be read now, or a fact is damaged or of a newer schema.
        """
        async for item in self._pages(model, queries.Cursor(after=seq, batches_from=0, batches_at=at)):
            yield item

    async def resume(self, model: str, at: float = 0.0) -> AsyncIterator[tuple[int, Recorded]]:
        """What rebuilds a model's state after a restart, in order.

        All decisions of the model, and of its observations and labels those since the latest rollout's first decision
        that do not end before `at` (seconds since the epoch). Raises as `since` does.
        """
        start = await self.rollout_start(model)
        async for item in self._pages(model, queries.Cursor(after=0, batches_from=start, batches_at=at)):
            yield item

    async def decisions(self, model: str, limit: int | None = None) -> list[Decision]:
        """The latest `limit` decisions of a model (None: all of them), the newest first. Raises LedgerUnavailable."""
        return await self._run(lambda: queries.decisions(self._engine, model, limit))

    async def numbered(self, model: str, limit: int | None = None) -> list[tuple[int, Decision]]:
        """As `decisions`, each with its number in the chain (0: it has none). Raises LedgerUnavailable."""

        def read() -> list[tuple[int, Decision]]:
            with reading(self._engine) as connection:
                found = chaining.newest(connection, model, limit)
            return [(each.place.number if each.place is not None else 0, chaining.decision(each)) for each in found]

        return await self._run(read)

    async def head(self, model: str) -> Head | None:
        """The last entry of a model's chain, as far as this process knows it, which may be without asking the database.

        None: there is none. Raises LedgerUnavailable.
        """

        def read() -> Head | None:
            with reading(self._engine) as connection:
                head = chaining.head(connection, model)
            if head is not None:
                self._heads[model] = head
            return head

        return self._heads.get(model) or await self._run(read)

    async def rollout_start(self, model: str) -> int:
        """The sequence number of the latest rollout's first decision; 0: there was none. Raises LedgerUnavailable."""

        def read() -> int:
            with reading(self._engine) as connection:
                return queries.rollout_start(connection, model)

        return await self._run(read)

    async def prune(self, before: float) -> int:
        """Delete observations, labels and results of checks that end before `before` (seconds since the epoch).

        Decisions stay. The file does not shrink; later batches use the space.

        Returns:
            How many rows of the ledger were deleted.

        Raises:
            LedgerUnavailable: some or all of them are still there.
        """

        def delete() -> int:
            with writing(self._engine) as connection:
                return queries.prune(connection, before, PRUNED_AT_ONCE)

        deleted = 0
        while (count := await self._run(delete)) > 0:
            deleted += count
        return deleted

    # ---- checkpoints

    async def save_checkpoint(self, model: str, state: Mapping[str, Any], term: int | None = None) -> int:
        """Keep a model's state (plain data) as it is after its last fact, in place of an earlier one.

        Returns:
            The sequence number of that fact.

        Raises:
            LedgerUnavailable, Fenced: the earlier one stays.
        """

        def write() -> int:
            packed = encode_state(state)
            with writing(self._engine) as connection:
                return queries.save_checkpoint(connection, model, packed, term)

        return await self._run(write)

    async def checkpoint(self, model: str) -> tuple[int, Mapping[str, Any]] | None:
        """The last fact that a model's checkpoint counts, and the state; None: there is none that can be read.

        Raises LedgerUnavailable.
        """

        def read() -> tuple[int, Mapping[str, Any]] | None:
            with reading(self._engine) as connection:
                found = queries.checkpoint(connection, model)
            state = decode_state(found[1]) if found is not None else None
            return None if found is None or state is None else (found[0], state)

        return await self._run(read)

    # ---- policies

    async def save_policy(self, digest: str, canonical: str) -> None:
        """Keep a policy's canonical JSON under its digest, unless it is known. Raises LedgerUnavailable."""

        def write() -> None:
            with writing(self._engine) as connection:
                queries.save_policy(connection, digest, canonical)

        await self._run(write)

    async def policies(self) -> dict[str, str]:
        """Every policy kept: digest -> canonical JSON. Raises LedgerUnavailable."""

        def read() -> dict[str, str]:
            with reading(self._engine) as connection:
                return queries.policies(connection)

        return await self._run(read)

    # ---- refused acts

    async def add_refused(self, acts: Sequence[RefusedAct]) -> None:
        """Keep refused attempts to act; the oldest of too many go. Raises LedgerUnavailable: none is kept."""

        def write() -> None:
            with writing(self._engine) as connection:
                refused.add(connection, acts)

        await self._run(write)

    async def refused(self, model: str, limit: int) -> list[RefusedAct]:
        """The latest refused attempts to act on a model, or on none, the newest first. Raises LedgerUnavailable."""

        def read() -> list[RefusedAct]:
            with reading(self._engine) as connection:
                return refused.newest(connection, model, limit)

        return await self._run(read)

    # ---- the lease

    async def acquire(self, holder: str, ttl_seconds: float) -> int | None:
        """Try to become the leader.

        The lease is free after `release`, taken over at once by its own holder's name, and taken from another whose
        beat stood still for that holder's TTL while this process was watching: call again until it succeeds.

        Returns:
            The fencing term for `append`, or None: another is the leader.

        Raises:
            LedgerUnavailable: nothing changed.
        """

        def write() -> int | None:
            with writing(self._engine) as connection:
                return self._lease.acquire(connection, holder, ttl_seconds)

        return await self._run(write)

    async def renew(self, holder: str, term: int, ttl_seconds: float) -> None:
        """Stay the leader; to be called well within the TTL.

        Raises:
            Fenced: another has become the leader.
            LedgerUnavailable: nothing changed; the caller is the leader until somebody else could have taken over.
        """

        def write() -> None:
            with writing(self._engine) as connection:
                self._lease.renew(connection, holder, term, ttl_seconds)

        await self._run(write)

    async def release(self, holder: str, term: int) -> None:
        """Stop being the leader, so that another can follow at once; nothing happens where another is already."""

        def write() -> None:
            with writing(self._engine) as connection:
                self._lease.release(connection, holder, term)

        await self._run(write)

    # ---- inside

    async def _pages(self, model: str, cursor: queries.Cursor) -> AsyncIterator[tuple[int, Recorded]]:
        while page := await self._run(partial(queries.page, self._engine, model, cursor)):
            for item in page:
                yield item
            cursor = cursor.past(page[-1][0])

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _rows(fact: Recorded) -> list[Row]:
    if isinstance(fact, Decision | CheckResult):
        return [encode(fact)]
    columns, most = fact.columns, MOST_ROWS_A_BATCH
    return [encode(type(fact)(columns[start : start + most])) for start in range(0, len(columns), most)]
