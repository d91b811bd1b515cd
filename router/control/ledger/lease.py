"""The leader's lease: one row, with a fencing term that grows with every change of holder.

No clock is compared with another machine's: a contender watches the row with its own monotonic clock, and takes over
when the holder's beat has stood still for as long as the holder promised to renew within.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, and_, select

from router.control.ledger.errors import Fenced
from router.control.ledger.schema import LEADER, LEASE


class Lease:
    """What one process has seen of the lease, and what it does to it.

    Args:
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: tuple[int, int] | None = None  # (term, beat)
        self._seen_at = 0.0

    def acquire(self, connection: Connection, holder: str, ttl_seconds: float) -> int | None:
        """Take the lease if it is free, ours already, or its holder has been silent for its TTL.

        A process that is started again under its old name takes over at once: the new term shuts out its old self.

        Returns:
            The fencing term, or None: another holds it.
        """
        row = connection.execute(select(LEASE).where(LEASE.c.name == LEADER).with_for_update()).one()
        now = self._monotonic()
        seen = (int(row.term), int(row.beat))
        if row.holder is not None and row.holder != holder:
            if seen != self._seen:
                self._seen, self._seen_at = seen, now
                return None
            if now - self._seen_at < row.ttl_seconds:
                return None
        term = seen[0] + 1
        connection.execute(
            LEASE.update()
            .where(LEASE.c.name == LEADER)
            .values(holder=holder, term=term, beat=seen[1] + 1, ttl_seconds=ttl_seconds)
        )
        return term

    def renew(self, connection: Connection, holder: str, term: int, ttl_seconds: float) -> None:
        """Keep the lease. Raises Fenced: it is another's."""
        renewed = connection.execute(
            LEASE.update().where(_held_by(holder, term)).values(beat=LEASE.c.beat + 1, ttl_seconds=ttl_seconds)
        )
        if renewed.rowcount != 1:
            raise Fenced(f"the lease is no longer held by {holder} under term {term}")

    def release(self, connection: Connection, holder: str, term: int) -> None:
        """Give the lease back, if it is still ours."""
        connection.execute(LEASE.update().where(_held_by(holder, term)).values(holder=None, beat=LEASE.c.beat + 1))


def check_term(connection: Connection, term: int | None) -> None:
    """Hold the lease's row until the end of the transaction; raise Fenced where `term` is not its holder's.

    The row is locked even without a term: on PostgreSQL that keeps concurrent appends in the order of their sequence
    numbers, so that a reader's cursor never passes over one that commits late. SQLite has one writer anyway.
    """
    row = connection.execute(select(LEASE.c.term, LEASE.c.holder).where(LEASE.c.name == LEADER).with_for_update()).one()
    if term is not None and (row.term != term or row.holder is None):
        now = "has been released" if row.holder is None else f"is at term {row.term}"
        raise Fenced(f"term {term} writes no more: the lease {now}")


def _held_by(holder: str, term: int) -> ColumnElement[bool]:
    return and_(LEASE.c.name == LEADER, LEASE.c.holder == holder, LEASE.c.term == term)
