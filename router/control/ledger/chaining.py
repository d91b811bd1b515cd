"""The statements of the chain and of the states that decisions were made from."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, Text, cast, insert, null, select

from comparator.events import Decision
from comparator.proof import digest_of
from router.control.ledger.chain import START, Entry, Head, Place, link
from router.control.ledger.codec import DECISION, Unreadable, decode_decision
from router.control.ledger.errors import LedgerUnavailable
from router.control.ledger.schema import CHAIN, EVIDENCE_STATES, FACTS

_BESIDE = (
    FACTS.c.layout,
    FACTS.c.row_count,
    FACTS.c.last_at,
    FACTS.c.rollout_id,
    cast(FACTS.c.batch.is_(None), BigInteger),
)

LARGEST_STATE = 64 * 1024 * 1024
"""A state unpacks to some tens of KiB; what unpacks to more than this is none."""


def head(connection: Connection, model: str) -> Head | None:
    """The last entry of a model's chain; None: it has none."""
    last = connection.execute(
        select(CHAIN.c.number, CHAIN.c.hash).where(CHAIN.c.model == model).order_by(CHAIN.c.number.desc()).limit(1)
    ).first()
    return None if last is None else Head(int(last.number), last.hash)


def extend(connection: Connection, model: str, seq: int, term: int | None, text: str) -> Head:
    """Add a decision to its model's chain, in the transaction that appended it and holds the lease's row."""
    last = head(connection, model)
    prev = last.hash if last is not None else START
    number = last.number + 1 if last is not None else 1
    added = Head(number, link(prev, model, number, seq, term, text))
    connection.execute(insert(CHAIN).values(seq=seq, model=model, number=number, prev=prev, hash=added.hash))
    return added


def keep_states(connection: Connection, states: Mapping[str, bytes]) -> None:
    """Keep states under their digests, those that are not known yet."""
    for digest, packed in states.items():
        known = connection.execute(select(EVIDENCE_STATES.c.digest).where(EVIDENCE_STATES.c.digest == digest)).first()
        if known is None:
            connection.execute(insert(EVIDENCE_STATES).values(digest=digest, state=packed))


def state(connection: Connection, digest: str) -> bytes | None:
    """The state under a digest, whole and as it was written; None: there is none, or it is another by now."""
    rows = connection.execute(select(EVIDENCE_STATES.c.state).where(EVIDENCE_STATES.c.digest == digest)).scalars()
    states = [unpack(packed) for packed in rows if isinstance(packed, bytes | memoryview)]
    return next((found for found in states if found is not None and digest_of(found) == digest), None)


def pack(state: bytes) -> bytes:
    """A state as it is kept."""
    return zlib.compress(state, 6)


def unpack(packed: bytes | memoryview) -> bytes | None:
    """What `pack` was given; None: damaged."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, LARGEST_STATE)
    except zlib.error:
        return None
    return found if unpacking.eof else None


def entries(connection: Connection, model: str) -> list[Entry]:
    """All decisions of a model, and all that stands in its chain, as one statement finds them."""
    rows = _decisions().where((FACTS.c.model == model) | (CHAIN.c.model == model))
    gone = _gone().where(CHAIN.c.model == model)
    return [_entry(row) for row in connection.execute(rows.union_all(gone)).all()]


def newest(connection: Connection, model: str, limit: int | None) -> list[Entry]:
    """The latest decisions of a model, the newest first."""
    wanted = _decisions().where(FACTS.c.model == model).order_by(FACTS.c.seq.desc()).limit(limit)
    return [_entry(row) for row in connection.execute(wanted).all()]


def decision(entry: Entry) -> Decision:
    """What was decided. Raises LedgerUnavailable: it cannot be read."""
    try:
        return decode_decision(entry.text or "")
    except Unreadable as error:
        raise LedgerUnavailable(f"fact {entry.seq}: {error}") from error


def models(connection: Connection) -> list[str]:
    """Every model that has decisions, or a chain."""
    of_facts = select(FACTS.c.model).where(FACTS.c.kind == DECISION)
    return sorted({str(name) for name in connection.execute(of_facts.union(select(CHAIN.c.model))).scalars()})


def _decisions() -> Select[Any]:
    return (
        select(FACTS.c.seq, FACTS.c.model, FACTS.c.term, FACTS.c.decision, *_BESIDE, *_place())
        .select_from(FACTS.outerjoin(CHAIN, CHAIN.c.seq == FACTS.c.seq))
        .where(FACTS.c.kind == DECISION)
    )


def _gone() -> Select[Any]:
    """What the chain has, and the record has not."""
    absent = (_null(Text), _null(BigInteger), _null(Text), *(_null(BigInteger) for _ in _BESIDE))
    mine = (FACTS.c.seq == CHAIN.c.seq) & (FACTS.c.kind == DECISION)
    return (
        select(CHAIN.c.seq, *absent, *_place()).select_from(CHAIN.outerjoin(FACTS, mine)).where(FACTS.c.seq.is_(None))
    )


def _place() -> tuple[ColumnElement[Any], ...]:
    return CHAIN.c.model.label("of"), CHAIN.c.number, CHAIN.c.prev, CHAIN.c.hash


def _null(kind: type[Text | BigInteger]) -> ColumnElement[Any]:
    """NULL of a type: PostgreSQL wants to know."""
    return cast(null(), kind())


def _entry(row: Row[Any]) -> Entry:
    seq, model, term, text, *beside, of, number, prev, hashed = tuple(row)
    placed = all(isinstance(each, str) for each in (of, prev, hashed)) and isinstance(number, int)
    place = Place(of, number, prev, hashed) if placed else None
    # SQLite keeps in a column whatever is put there; what is no text hashes to nothing that was written
    told = text if isinstance(text, str) or text is None else repr(text)
    as_written = term if isinstance(term, int) or term is None else -1
    return Entry(seq if isinstance(seq, int) else 0, place, model, as_written, told, tuple(beside))
