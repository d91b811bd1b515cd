"""A restart that need not weigh everything again: a title's checkpoint, and how to go on from it.

A checkpoint holds what was counted up to a cursor in the record. To go on, receive the recorded decisions up to the
cursor as ever, `rejoin` the traffic of the label retention up to it, `go_on`, and receive what comes after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comparator.agreement import Agreement
from comparator.checkpoint import LAYOUT, Unusable, freeze, thaw
from comparator.checks import Checks
from comparator.events import CheckResult, Labels, Observations
from comparator.evidence import Evidence
from comparator.scoreboard import Scoreboard

if TYPE_CHECKING:
    from comparator.title import Title


def checkpoint(title: Title) -> dict[str, Any] | None:
    """What was counted so far, as plain data; None: there is no rollout to go on with, or a fault in it.

    Not the rows that wait for a label, nor what recorded decisions tell.
    """
    rollout = title.rollout
    if rollout is None or title.fault:
        return None  # who has not taken all of it says nothing of it: the checkpoint before stands
    return {
        "layout": LAYOUT,
        "rollout_id": rollout.rollout_id,
        "policy": rollout.policy.digest,
        "looked": rollout.looked,
        "clock": freeze(title.pairing.clock),
        "evidence": freeze(rollout.evidence),
        **({"checks": freeze(rollout.checks)} if rollout.policy.outside.checks else {}),
        "scoreboard": freeze(title.scoreboard),
        "agreement": freeze(title.agreement),
        "pairing": dict(title.pairing.totals),
    }


def rejoin(title: Title, fact: Observations | Labels | CheckResult) -> None:
    """Take traffic that a checkpoint counts already: only to know what waits for what."""
    if isinstance(fact, Observations):
        title.pairing.observe(fact.columns)
    elif isinstance(fact, Labels):
        title.pairing.label(fact.columns)


def go_on(title: Title, checkpoint: Mapping[str, Any]) -> None:
    """Take over what a checkpoint counted.

    Raises:
        Unusable: damaged, of another layout or other fields, or not of the rollout under way; nothing was changed.
    """
    rollout = title.rollout
    if checkpoint.get("layout") != LAYOUT:
        raise Unusable(f"of layout {checkpoint.get('layout')}, expected {LAYOUT}")
    if rollout is None or (rollout.rollout_id, rollout.policy.digest) != (
        checkpoint.get("rollout_id"),
        checkpoint.get("policy"),
    ):
        raise Unusable("of another rollout")
    parts = [checkpoint.get(name) for name in ("evidence", "scoreboard", "clock")]
    parts.append(checkpoint.get("checks") if rollout.policy.outside.checks else freeze(rollout.checks))
    parts.append(checkpoint.get("agreement") or freeze(Agreement()))  # none in those of before there was one
    like = (rollout.evidence, title.scoreboard, rollout.checks, title.agreement)
    evidence, scoreboard, clock, checks, agreement = thaw(parts, rollout.policy, like=like)
    looked, totals = checkpoint.get("looked"), checkpoint.get("pairing")
    if (
        not isinstance(evidence, Evidence)
        or not isinstance(scoreboard, Scoreboard)
        or not isinstance(checks, Checks)
        or not isinstance(agreement, Agreement)
        or not isinstance(looked, int)
        or not isinstance(clock, float)
        or not isinstance(totals, dict)
        or totals.keys() != title.pairing.totals.keys()
        or not all(isinstance(count, int) for count in totals.values())
    ):
        raise Unusable("without all of its parts")
    rollout.go_on(evidence, looked)
    rollout.checks = checks
    title.scoreboard, title.agreement = scoreboard, agreement
    title.pairing.come_due(clock)  # counted already
    title.pairing.totals = totals
