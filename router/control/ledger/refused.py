"""Attempts to act that were refused: their statements. They are no facts: nothing is rebuilt from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from router.control.ledger.schema import REFUSED_ACTS

MOST_KEPT = 50_000
"""Rows, of all models: beyond, the oldest are deleted."""


@dataclass(frozen=True, slots=True)
class RefusedAct:
    """Somebody asked for something that would have changed something, and was refused. Never holds what they showed."""

    at: float
    """Seconds since the epoch."""
    actor: str
    """Who, as far as they were recognised; "": nobody known."""
    origin: str
    """Where the request came from: this machine, the network, through a proxy."""
    act: str
    """What was asked for, as the admin port names it: rollback, sign-off, gate, labels, alerts."""
    model: str
    """"": none that is known here, or it is about no single one."""
    why: str
    times: int = 1
    """So many attempts: more than one where they were too many to be kept one by one."""


def add(connection: Connection, acts: Sequence[RefusedAct]) -> None:
    """Keep these, and forget the oldest of too many."""
    last = 0
    for act in acts:
        last = connection.execute(insert(REFUSED_ACTS).values(asdict(act)).returning(REFUSED_ACTS.c.seq)).scalar_one()
    connection.execute(REFUSED_ACTS.delete().where(REFUSED_ACTS.c.seq <= last - MOST_KEPT))


def newest(connection: Connection, model: str, limit: int) -> list[RefusedAct]:
    """The latest about a model, or about none, the newest first."""
    wanted = (
        select(*(REFUSED_ACTS.c[name] for name in RefusedAct.__dataclass_fields__))
        .where(REFUSED_ACTS.c.model.in_((model, "")))
        .order_by(REFUSED_ACTS.c.seq.desc())
        .limit(limit)
    )
    return [RefusedAct(*row) for row in connection.execute(wanted).all()]
