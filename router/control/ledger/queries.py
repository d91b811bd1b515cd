"""The ledger's statements: the same SQL for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine, func, insert, or_, select

from comparator.events import Decision
from router.control.ledger.chain import Head
from router.control.ledger.chaining import extend, keep_states
from router.control.ledger.codec import (
    CHECK,
    DECISION,
    LABELS,
    OBSERVATIONS,
    Recorded,
    Row,
    Unreadable,
    decode,
    decode_decision,
)
from router.control.ledger.engine import reading
from router.control.ledger.errors import LedgerUnavailable
from router.control.ledger.lease import check_term
from router.control.ledger.schema import CHECKPOINTS, FACTS, POLICIES

PAGE = 32
"""Facts read at once: at most 36 MB of observations."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader stands.

    Args:
        after: the last sequence number read.
        batches_from: batches with a smaller sequence number are left out.
        batches_at: batches that end before this are left out (seconds since the epoch).
    """

    after: int
    batches_from: int
    batches_at: float

    def past(self, seq: int) -> Cursor:
        """The cursor after `seq` was read."""
        return replace(self, after=seq)


def append(
    connection: Connection, model: str, rows: Sequence[Row], term: int | None, states: Mapping[str, bytes]
) -> tuple[int, Head | None]:
    """Insert facts, decisions with their place in the chain, and packed states that those were made from.

    Returns the last sequence number of the model, and the last decision's place (None: there was none among the facts).
    Raises Fenced.
    """
    check_term(connection, term)
    keep_states(connection, states)
    last: int | None = None
    head: Head | None = None
    for row in rows:
        values = {
            "model": model,
            "kind": row.kind,
            "layout": row.layout,
            "row_count": row.rows,
            "last_at": row.last_at,
            "rollout_id": row.rollout_id,
            "term": term,
            "batch": row.batch,
            "decision": row.decision,
        }
        last = connection.execute(insert(FACTS).values(values).returning(FACTS.c.seq)).scalar_one()
        if row.decision is not None:
            head = extend(connection, model, last, term, row.decision)
    if last is None:
        last = connection.execute(select(func.max(FACTS.c.seq)).where(FACTS.c.model == model)).scalar()
    return int(last or 0), head


def page(engine: Engine, model: str, cursor: Cursor) -> list[tuple[int, Recorded]]:
    """The next facts in order; none: there are no more.

    Raises:
        LedgerUnavailable: it cannot be read now, or a fact is damaged or of a newer schema.
    """
    wanted = (
        select(FACTS.c.seq, FACTS.c.kind, FACTS.c.layout, FACTS.c.row_count, FACTS.c.batch, FACTS.c.decision)
        .where(FACTS.c.model == model, FACTS.c.seq > cursor.after)
        .where(
            or_(
                FACTS.c.kind == DECISION,
                (FACTS.c.seq >= cursor.batches_from) & (FACTS.c.last_at >= cursor.batches_at),
            )
        )
        .order_by(FACTS.c.seq)
        .limit(PAGE)
    )
    with reading(engine) as connection:
        rows = connection.execute(wanted).all()
    facts: list[tuple[int, Recorded]] = []
    for row in rows:
        try:
            facts.append((row.seq, decode(row.kind, row.layout, row.row_count, row.batch, row.decision)))
        except Unreadable as error:
            raise LedgerUnavailable(f"fact {row.seq}: {error}") from error
    return facts


def decisions(engine: Engine, model: str, limit: int | None) -> list[Decision]:
    """The latest decisions, the newest first. Raises LedgerUnavailable."""
    wanted = (
        select(FACTS.c.seq, FACTS.c.decision)
        .where(FACTS.c.model == model, FACTS.c.kind == DECISION)
        .order_by(FACTS.c.seq.desc())
        .limit(limit)
    )
    with reading(engine) as connection:
        rows = connection.execute(wanted).all()
    found: list[Decision] = []
    for row in rows:
        try:
            found.append(decode_decision(row.decision))
        except Unreadable as error:
            raise LedgerUnavailable(f"fact {row.seq}: {error}") from error
    return found


def rollout_start(connection: Connection, model: str) -> int:
    """The sequence number of the first decision of the rollout that was decided about last; 0: none."""
    about_rollouts = (FACTS.c.model == model) & (FACTS.c.kind == DECISION) & (FACTS.c.rollout_id != 0)
    latest = connection.execute(
        select(FACTS.c.rollout_id).where(about_rollouts).order_by(FACTS.c.seq.desc()).limit(1)
    ).scalar()
    if latest is None:
        return 0
    first = select(func.min(FACTS.c.seq)).where(about_rollouts, FACTS.c.rollout_id == latest)
    return int(connection.execute(first).scalar_one())


def prune(connection: Connection, before: float, most: int) -> int:
    """Delete up to `most` batches, and results of checks, that end before `before`; return how many."""
    old = (
        select(FACTS.c.seq)
        .where(FACTS.c.kind.in_((OBSERVATIONS, LABELS, CHECK)), FACTS.c.last_at < before)
        .order_by(FACTS.c.seq)
        .limit(most)
    )
    return connection.execute(FACTS.delete().where(FACTS.c.seq.in_(old.scalar_subquery()))).rowcount


def save_checkpoint(connection: Connection, model: str, state: bytes, term: int | None) -> int:
    """Keep a model's state as it is after its last fact, in place of an earlier one; return that fact's number.

    Raises Fenced.
    """
    check_term(connection, term)
    cursor = int(connection.execute(select(func.max(FACTS.c.seq)).where(FACTS.c.model == model)).scalar() or 0)
    connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.model == model))
    connection.execute(insert(CHECKPOINTS).values(model=model, cursor=cursor, state=state))
    return cursor


def checkpoint(connection: Connection, model: str) -> tuple[int, bytes] | None:
    """The number of the last fact that a model's checkpoint counts, and the state."""
    found = connection.execute(
        select(CHECKPOINTS.c.cursor, CHECKPOINTS.c.state).where(CHECKPOINTS.c.model == model)
    ).one_or_none()
    return None if found is None else (int(found.cursor), bytes(found.state))


def save_policy(connection: Connection, digest: str, canonical: str) -> None:
    """Keep a policy that is not known yet."""
    known = connection.execute(select(POLICIES.c.digest).where(POLICIES.c.digest == digest)).first()
    if known is None:
        connection.execute(insert(POLICIES).values(digest=digest, canonical=canonical))


def policies(connection: Connection) -> dict[str, str]:
    """Digest -> canonical JSON; SQLite keeps in a column whatever is put there, and what is no text is none."""
    rows = connection.execute(select(POLICIES.c.digest, POLICIES.c.canonical)).all()
    return {row.digest: row.canonical for row in rows if isinstance(row.digest, str) and isinstance(row.canonical, str)}
