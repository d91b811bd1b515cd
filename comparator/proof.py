"""A decision with the state of the evidence that it was made from, and the same decision made from it again.

Whatever the evidence was weighed from may be gone by then: the state and the recorded decisions before are enough.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comparator.checkpoint import LAYOUT, Unusable, canonical, freeze, thaw
from comparator.checks import Checks
from comparator.events import JUDGE, Decision, DecisionKind, VersionFacts
from comparator.evidence import Evidence
from comparator.phases import COMPARED
from comparator.rollout import IllegalTransition, Rollout, Subject

if TYPE_CHECKING:
    from comparator.policy import Policy
    from comparator.report import Report
    from comparator.title import Title

FROM_EVIDENCE = frozenset(
    {
        DecisionKind.ADVANCE,
        DecisionKind.AWAIT_SIGN_OFF,
        DecisionKind.SIGNED,
        DecisionKind.UNSIGNED,
        DecisionKind.REJECT,
        DecisionKind.PROMOTE,
        DecisionKind.ROLL_BACK,
        DecisionKind.FINISH,
        DecisionKind.NOTIFY,
    }
)
"""Decisions that go by the evidence; a person's are made beside it, and its state is kept all the same."""

BEGINS_UNDER = frozenset({DecisionKind.HOLD, DecisionKind.START, DecisionKind.GATED})
"""Decisions whose policy is recorded before them; those of a rollout that follow name the same."""

BREAKER = "breaker"
"""The trigger of a rollback by a circuit breaker: the judge's part of it, or that of a proxy."""

SAME = 1e-9
"""Two figures are the same within this, relatively: another processor may round the last digits otherwise."""

_SENTENCES = frozenset({"reason", "missing"})
"""What a later version may word otherwise, while the figures and verdicts are the same."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A decision as it is recorded, and the state that its `state_digest` is of; b"": it was made from none."""

    decision: Decision
    state: bytes = b""


def proven(title: Title, decision: Decision) -> Proven:
    """What is to be recorded of a proposal; to be asked for before the title receives anything more."""
    rollout = title.rollout
    if (
        rollout is None
        or not (decision.kind in FROM_EVIDENCE or (decision.kind is DecisionKind.ABORT and decision.actor == JUDGE))
        or decision.rollout_id != rollout.rollout_id
        or rollout.phase not in COMPARED
    ):
        return Proven(decision)
    checks = {"checks": freeze(rollout.checks)} if rollout.policy.outside.checks else {}
    state = canonical({"layout": LAYOUT, "evidence": freeze(rollout.evidence), **checks})
    return Proven(replace(decision, state_digest=digest_of(state)), state)


def digest_of(state: bytes) -> str:
    """What `state_digest` says of a state."""
    return hashlib.sha256(state).hexdigest()


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a decision's evidence comes to when it is looked at again.

    Args:
        report: the evidence at the decision's moment.
        decision: what the judge decides on it; None: nothing.
        differences: what is not as it was recorded, in words; none: all is.
    """

    report: Report
    decision: Decision | None
    differences: tuple[str, ...]


def recompute(before: Sequence[Decision], decision: Decision, state: bytes, policy: Policy) -> Recomputed:
    """Decide again.

    Args:
        before: the recorded decisions of the model up to this one, in order; those of other rollouts are left out.
        decision: as it was recorded.
        state: of its evidence.
        policy: the one that it was made under.

    Raises:
        Unusable: the state or what was recorded before cannot be read by this version.
    """
    try:
        return _recompute(before, decision, state, policy)
    except Unusable:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unusable(f"what was recorded is not what a judge records: {error or type(error).__name__}") from error


def _recompute(before: Sequence[Decision], decision: Decision, state: bytes, policy: Policy) -> Recomputed:
    rollout = _rollout(before, decision, policy)
    try:
        data = json.loads(state)
        layout = data["layout"]
    except (ValueError, LookupError, TypeError) as error:
        raise Unusable(f"not a state of the judge: {error}") from error
    if layout != LAYOUT:
        raise Unusable(f"written in layout {layout}; this titleshot reads layout {LAYOUT}: use the one that wrote it")
    parts = [data.get("evidence"), data.get("checks") if policy.outside.checks else freeze(rollout.checks)]
    evidence, checks = thaw(parts, policy, like=(rollout.evidence, rollout.checks))
    if not isinstance(evidence, Evidence) or not isinstance(checks, Checks):
        raise Unusable("not a state of the judge: no evidence in it")
    rollout.evidence, rollout.checks = evidence, checks
    report = rollout.report(decision.at)
    again = rollout.propose(decision.at)
    found = [f"{where} was {then}, is {now}" for where, then, now in _differ(decision.evidence, report.as_data(), "")]
    return Recomputed(report, again, (*found, *_decided_otherwise(decision, again)))


def _rollout(before: Sequence[Decision], decision: Decision, policy: Policy) -> Rollout:
    """The decision's rollout as it stood, but for its evidence."""
    rollout: Rollout | None = None
    try:
        for each in before:
            if each.rollout_id != decision.rollout_id:
                continue
            if each.kind in (DecisionKind.HOLD, DecisionKind.START):
                subject = Subject.from_data(each.evidence)
                challenger = VersionFacts(each.version, subject.offline)
                rollout = Rollout(each.rollout_id, policy, challenger, subject.reference)
            if rollout is not None:
                rollout.apply(each)
    except (IllegalTransition, LookupError, TypeError, ValueError) as error:
        raise Unusable(f"the decisions before it do not lead to it: {error}") from error
    if rollout is None or rollout.phase not in COMPARED:
        raise Unusable("the decisions before it do not lead to it: its rollout was not under way")
    return rollout


def _decided_otherwise(decision: Decision, again: Decision | None) -> Iterator[str]:
    if decision.actor != JUDGE or decision.trigger == BREAKER:
        return  # called for by a person, or by a proxy's breaker, whose answers are not all among the evidence
    if again is None:
        yield f"the decision was to {_words(decision.kind.value)}, now nothing is decided"
        return
    for name in ("kind", "version", "phase", "step", "trigger", "move"):
        then, now = getattr(decision, name), getattr(again, name)
        if then != now:
            yield f"{name} was {then}, is {now}"


def _differ(then: object, now: object, where: str) -> Iterator[tuple[str, object, object]]:
    """Each figure that is another, with where it is: as a path of names."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted((then.keys() & now.keys()) - _SENTENCES):  # a later version may tell more, or less
            yield from _differ(then[key], now[key], f"{where}.{key}" if where else str(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (one, two) in enumerate(zip(then, now, strict=True)):
            yield from _differ(one, two, f"{where}.{_name(one, index)}")
    elif not _same(then, now):
        yield where, then, now


def _name(value: object, index: int) -> Any:  # noqa: ANN401 - a text or a number
    return value["name"] if isinstance(value, Mapping) and "name" in value else index


def _same(then: object, now: object) -> bool:
    if isinstance(then, bool) or isinstance(now, bool) or not isinstance(then, int | float):
        return then == now
    return isinstance(now, int | float) and math.isclose(then, now, rel_tol=SAME, abs_tol=1e-300)


def _words(name: str) -> str:
    return name.replace("_", " ")
