"""What was in production when: the reigns of a model's champions, told by its recorded decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from comparator.events import AliasMove, Decision, DecisionKind


@dataclass(frozen=True, slots=True)
class Reign:
    """One version's time as the champion, whose endpoint answers the clients.

    Args:
        version: of the model.
        since: seconds since the epoch; None: from before the record began.
        until: likewise; None: it still is.
        by: who decided: the judge, a person by name, "registry" (somebody moved the alias there); "": it is not told.
        reason: why, in the words of the decision.
        decision: which of the decisions it was, counted from 0; None: it is not told.
    """

    version: int
    since: float | None
    until: float | None = None
    by: str = ""
    reason: str = ""
    decision: int | None = None


def reigns(decisions: Iterable[Decision]) -> list[Reign]:
    """The reigns, the latest first.

    A promotion counts from the moment when the registry had confirmed it, which is when the traffic moved; a rollback
    from its decision, since routes go first.

    Args:
        decisions: all recorded decisions of one model, in order.
    """
    found: list[Reign] = []
    asked: dict[AliasMove, tuple[int, Decision]] = {}  # moves that were decided: what they are asked for by
    for index, decision in enumerate(decisions):
        move, kind = decision.move, decision.kind
        if kind in (DecisionKind.HOLD, DecisionKind.START):
            reference = decision.evidence.get("reference")
            if isinstance(reference, int):
                _follow(found, Reign(reference, decision.at if found else None))
        if move is None:
            continue
        if kind in (DecisionKind.PROMOTE, DecisionKind.ROLL_BACK):
            asked[move] = index, decision
        if kind in (DecisionKind.ROLL_BACK, DecisionKind.FOREIGN_MOVE, DecisionKind.MOVED):
            if not found:
                found.append(Reign(move.expected, None))
            at, by = asked.get(move, (index, decision)) if kind is DecisionKind.MOVED else (index, decision)
            _follow(found, Reign(move.to, decision.at, None, by.actor, by.reason, at))
    return found[::-1]


def _follow(found: list[Reign], after: Reign) -> None:
    """One reign follows another, unless it is of the same version: then it goes on."""
    if found and found[-1].version == after.version:
        return
    if found:
        found[-1] = replace(found[-1], until=after.since)
    found.append(after)
