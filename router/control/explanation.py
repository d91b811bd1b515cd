"""A decision in the words of someone who has to answer for it at night. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comparator import words
from comparator.confirming import WEBHOOK
from comparator.events import JUDGE, Decision, DecisionKind
from comparator.guardrail import Estimate
from comparator.patience import DEADLINE, NO_DATA
from comparator.policy import Policy, StepKind
from comparator.proof import BREAKER, Recomputed
from comparator.title import REGISTRY
from router.control.ledger.audit import Numbered
from router.control.ledger.chain import Finding, entry_id

WHO: Mapping[str, str] = {JUDGE: "the judge", REGISTRY: "by hand in the registry", "": "-"}

Moment = Callable[[object], str]
"""How a time since the epoch is said: the terminal's local time, or the console's UTC."""

_LABEL = 12
_MOST_FINDINGS = 5
_TRIGGERS = {
    "operator": "a person",
    "alert": "an alert",
    BREAKER: "the circuit breaker",
    WEBHOOK: "a webhook",
    DEADLINE: "a deadline",
    NO_DATA: "silence of the challenger",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one decision.

    Args:
        model: whose.
        found: the decision.
        before: the model's decisions before it, the oldest first.
        policy: that it was made under; None: it is not in the ledger.
        again: what its evidence comes to now; None: it was not made from any, or see `trouble`.
        trouble: why it cannot be decided again, where it should be; "": nothing.
        from_evidence: it rests on the evidence.
        findings: what is wrong with the record up to it.
    """

    model: str
    found: Numbered
    before: tuple[Numbered, ...]
    policy: Policy | None
    again: Recomputed | None
    trouble: str
    from_evidence: bool
    findings: tuple[Finding, ...]

    @property
    def id(self) -> str:
        """As `titleshot history` prints it."""
        return entry_id(self.model, self.found.number) or self.model

    @property
    def stands(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.findings and not self.trouble and not (self.again is not None and self.again.differences)

    @property
    def asked(self) -> Numbered | None:
        """Where a promotion waited for a sign-off: the decision that asked for it."""
        decision = self.found.decision
        if decision.kind is not DecisionKind.PROMOTE:
            return None
        return next(
            (each for each in reversed(self._rollout) if each.decision.kind is DecisionKind.AWAIT_SIGN_OFF), None
        )

    @property
    def began(self) -> Numbered | None:
        """The start of its rollout."""
        return next((each for each in self._rollout if each.decision.kind is DecisionKind.START), None)

    @property
    def _rollout(self) -> tuple[Numbered, ...]:
        mine = self.found.decision.rollout_id
        return tuple(each for each in self.before if mine and each.decision.rollout_id == mine)


def who(actor: object) -> str:
    """Who decided, in words."""
    return WHO.get(str(actor), str(actor))


def in_words(told: Explanation, moment: Moment) -> list[str]:
    """A line each."""
    decision = told.found.decision
    lines = [
        f"{told.id}: {_what(decision)}",
        *(f"  {label + ':':<{_LABEL}}{text}" for label, text in _facts(told, moment)),
    ]
    if isinstance(decision.evidence.get("guardrails"), list):
        lines += ["", *_told(lambda: _evidence(decision, told.policy), "the evidence")]
    if decision.kind is DecisionKind.GATED:
        lines += ["", *_told(lambda: _checks(decision), "the report")]
    return [*lines, "", *_again(told)]


def _told(tell: Callable[[], list[str]], what: str) -> list[str]:
    """A record that somebody wrote into can have anything in it."""
    try:
        return tell()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return [f"  {what} in its record is not as titleshot writes it, and cannot be told in words"]


def _what(decision: Decision) -> str:
    verb = decision.kind.value.replace("_", " ")
    moves = f"; @champion moves from version {decision.move.expected} to {decision.move.to}" if decision.move else ""
    return f"{verb}, version {decision.version}{moves}"


def _facts(told: Explanation, moment: Moment) -> Iterator[tuple[str, str]]:
    decision, began = told.found.decision, told.began
    yield "when", moment(decision.at)
    yield "by", who(decision.actor)
    yield "because", decision.reason
    if decision.trigger:
        yield (
            "tipped by",
            _TRIGGERS.get(decision.trigger, f"the {_kind(decision)} {decision.trigger}"),
        )
    if decision.kind is DecisionKind.PROMOTE:
        yield "sign-off", _sign_off(told, moment)
    if began is not None:
        reference = began.decision.evidence.get("reference")
        yield "rollout", f"of version {decision.version} against version {reference}, since {moment(began.decision.at)}"
    elif "reference" in decision.evidence:
        yield "rollout", f"of version {decision.version} against version {decision.evidence['reference']}"
        offline = decision.evidence.get("offline")
        if isinstance(offline, Mapping) and offline:
            yield "offline", ", ".join(f"{name} {_number(value)}" for name, value in offline.items())
    if decision.phase:
        yield "leads to", decision.phase.replace("_", " ") + _step(decision, told.policy)
    if decision.policy_digest:
        alpha = f", false-alarm rate {told.policy.alpha * 100:g} %" if told.policy is not None else ""
        yield "policy", f"{decision.policy_digest[:12]}{alpha}"
    if told.found.number:
        yield "record", f"entry {told.found.number} of the chain of {told.model}, hash {told.found.hash[:12]}"
    for finding in told.findings[:_MOST_FINDINGS]:
        where = "" if finding.entry == told.id else f"{finding.entry} before it: "
        yield "RECORD", f"{where}{finding.kind}: {finding.text} (see `titleshot audit verify {told.model}`)"
    if len(told.findings) > _MOST_FINDINGS:
        yield "RECORD", f"and {len(told.findings) - _MOST_FINDINGS} more"


def _kind(decision: Decision) -> str:
    checks = decision.evidence.get("checks")
    names = [check.get("name") for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    return "check" if decision.trigger in names else "guardrail"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _sign_off(told: Explanation, moment: Moment) -> str:
    decision, asked = told.found.decision, told.asked
    if asked is not None:
        return (
            f"asked for by {entry_id(told.model, asked.number)}, {moment(asked.decision.at)}; given by {decision.actor}"
        )
    return "none was asked for" if decision.actor == JUDGE else f"none was asked for; {decision.actor} did not wait"


def _step(decision: Decision, policy: Policy | None) -> str:
    if policy is None or not 0 <= decision.step < len(policy.steps):
        return ""
    step = policy.steps[decision.step]
    share = f" {step.percent} %" if step.kind is not StepKind.PROMOTE else ""
    return f"{share} (step {decision.step + 1} of {len(policy.steps)})"


def _evidence(decision: Decision, policy: Policy | None) -> list[str]:
    evidence: Mapping[str, Any] = decision.evidence
    mode, answers = evidence.get("mode"), evidence.get("answers", 0)
    lines = [f"  the evidence then, in {mode}, on {answers:,} answers of version {decision.version} in this step:"]
    for rail in evidence["guardrails"]:
        lines += _rail(rail, policy)
    lines.append(
        f"    all guardrails together: evidence of harm {words.e_value(evidence['combined_e'])} (1 or less is none), "
        f"rolls back from {words.e_value(evidence['threshold'])} on"
    )
    for check in evidence.get("checks", []):
        lines += [f"    {check['name']}: {str(check['verdict']).upper()}", f"      {check['reason']}"]
    missing = [str(each) for each in evidence.get("missing", [])]
    if missing:
        lines.append(f"    besides them a pass needed {'; '.join(missing)}")
    return lines


def _checks(decision: Decision) -> list[str]:
    """What the gate's report says of each check."""
    report = decision.evidence.get("report")
    if not isinstance(report, Mapping) or not isinstance(report.get("checks"), list):
        return ["  its report cannot be read"]
    made = f"made by {report.get('made_by', 'an unknown program')}, of the server {report.get('staging', 'unknown')}"
    lines = [f"  the report, {made}, on data {report.get('data_hash', 'unknown')}:"]
    return [*lines, *(f"    {each['name']}: {each['verdict']}: {each['reason']}" for each in report["checks"])]


def _rail(rail: Mapping[str, Any], policy: Policy | None) -> list[str]:
    name, verdict = str(rail["name"]), str(rail["verdict"]).upper()
    challenger, champion = (_figure(name, rail[side]) for side in ("challenger", "champion"))
    harm_e, threshold = (words.e_value(rail[key]) for key in ("harm_e", "harm_threshold"))
    proven = "; proven: not worse by more" if rail["proven"] else ""
    lines = [
        f"    {name}: {verdict}",
        f"      challenger {challenger}, champion {champion}",
        f"      {_harm(name, rail['harm'], policy)}; allowed: {_amount(name, rail['margin'], policy)}{proven}",
        f"      evidence of harm {harm_e}, rolls back alone from {threshold} on",
    ]
    if rail["missing"]:
        lines.append(f"      a pass needed {' and '.join(rail['missing'])}")
    return lines


def _figure(name: str, data: Mapping[str, Any] | None) -> str:
    """The figure with its bounds and what it rests on."""
    return "unknown" if data is None else words.figure(name, Estimate.from_data(data))


def _harm(name: str, harm: float | None, policy: Policy | None) -> str:
    if harm is None:
        return "how much worse: unknown"
    verb = "worse" if harm > 0 else "better"
    return f"{verb} by {_amount(name, abs(harm), policy)}" if harm else "no difference"


def _amount(name: str, harm: float, policy: Policy | None) -> str:
    """In the margin's units."""
    rails = policy.guardrails if policy is not None else ()
    rail = next((rail for rail in rails if rail.name == name), None)
    if name.endswith("_latency"):
        return f"{harm * 100:.3g} %"
    return words.amount(harm, rail) if rail is not None else f"{harm:.3g}"


def _again(told: Explanation) -> list[str]:
    decision, again = told.found.decision, told.again
    if told.trouble:
        return [f"  NOT recomputed: {told.trouble}"]
    if again is None:
        if not told.from_evidence:
            return ["  nothing to recompute: this was not decided from the evidence"]
        return ["  not recomputed: it was decided before titleshot kept the evidence with its decisions"]
    state = f"the recorded evidence ({decision.state_digest[:12]})"
    if again.differences:
        return [f"  recomputed from {state}: DIFFERENT", *(f"    {each}" for each in again.differences)]
    verdict = again.report.verdict.value.upper()
    if told.findings:
        state += ", from a record that is NOT as it was written"
    if decision.actor != JUDGE:
        would = again.decision.kind.value.replace("_", " ") if again.decision is not None else "nothing yet"
        return [
            f"  recomputed from {state}: the same numbers, verdict {verdict}",
            f"    {decision.actor} decided; the judge by itself would have decided: {would}",
        ]
    if decision.trigger == BREAKER and (again.decision is None or again.decision.trigger != BREAKER):
        return [
            f"  recomputed from {state}: the same numbers, verdict {verdict}",
            "    the circuit breaker of a proxy called for it, which no evidence outvotes",
        ]
    return [f"  recomputed from {state}: the same numbers, verdict {verdict}, and the same decision"]
