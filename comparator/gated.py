"""Reports of the gate in staging: what a policy's report must hold, and the decision that takes note of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comparator.acts import Refused
from comparator.events import Decision, DecisionKind, Gated
from comparator.gate import OFFLINE_NAMES
from comparator.guardrail import Verdict, overall
from comparator.policy import LABEL_METRICS, Guardrail, Metric, Policy

SCHEMA = 1
"""Of a report's data."""

CONTRACT = (
    "contract.signature",
    "contract.one_row",
    "contract.batch",
    "contract.batches_agree",
    "contract.shapes",
    "contract.columns",
    "contract.wrong_type",
    "contract.extra_column",
    "contract.empty_batch",
    "contract.malformed",
    "contract.same_schema",
)
"""What every version must show of how it answers."""

MOST_CHECKS = 200
LONGEST_REASON = 2000
_TOLD_IN_REASON = 600


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric that the gate measures on the holdout rows.

    Args:
        rail: the guardrail on it; of a metric that only a minimum names, its margin means nothing.
        guarded: whether the policy has that guardrail: then the version may be no worse than the champion.
        least: the policy's minimum; None: there is none.
    """

    rail: Guardrail
    guarded: bool
    least: float | None

    @property
    def name(self) -> str:
        """Of the metric."""
        return self.rail.name

    @property
    def promised(self) -> bool:
        """Whether the registry has an offline figure of such a metric, which is to be reproduced."""
        return self.rail.metric in OFFLINE_NAMES


def measured(policy: Policy) -> tuple[Measured, ...]:
    """The metrics that a policy's gate measures. Without any guardrail from labels: precision, as it was promised.

    A reward is left out: it tells of actions that were taken, which holdout rows have none of.
    """
    told = [rail for rail in policy.guardrails if rail.metric in LABEL_METRICS]
    rails = {rail.name: rail for rail in told if rail.metric is not Metric.REWARD}
    least = dict(policy.staging.minimum)
    wanted = rails.keys() | least.keys()
    if not wanted and not told:
        wanted = {(Metric.ACCURACY if policy.multiclass else Metric.PRECISION).value}
    return tuple(
        Measured(rails.get(name) or Guardrail(Metric(name), 1.0), name in rails, least.get(name))
        for name in sorted(wanted)
    )


def expected_checks(policy: Policy) -> tuple[str, ...]:
    """The names of the checks that a report under this policy must have to be a PASS."""
    return tuple(_expected(policy))


def _expected(policy: Policy) -> Iterator[str]:
    yield from CONTRACT
    yield from ("holdout.rows", "holdout.answered")
    for each in measured(policy):
        if each.least is not None:
            yield f"{each.name}.minimum"
        if each.guarded:
            yield f"{each.name}.no_regression"
        if each.promised:
            yield f"{each.name}.reproduced"
    if policy.staging.p50_seconds is not None:
        yield "latency.p50"
    if policy.staging.p99_seconds is not None:
        yield "latency.p99"


def reported(fact: Gated, champion: int | None, policy: Policy) -> Decision:
    """The decision that takes note of a report.

    Raises:
        Refused: it is no whole report, contradicts itself, or does not speak of what stands now.
    """
    try:
        verdict, checks = _read(fact.report)
    except _Unfit as why:
        raise Refused(f"this is no report of the gate: {why}") from None
    named = _whole_numbers(fact.report, ("version", "champion"))
    digest = fact.report.get("policy_digest")
    if named["champion"] != champion:
        stands = "there is no champion" if champion is None else f"the champion is version {champion}"
        raise Refused(f"the report compares with version {named['champion']}, and {stands}: run the gate again")
    if named["version"] == champion:
        raise Refused(f"version {champion} is the champion: it needs no gate")
    if digest != policy.digest:
        raise Refused(
            f"the report is of policy {str(digest)[:12]}, the policy here is {policy.digest[:12]}: run the gate again"
        )
    missing = [name for name in expected_checks(policy) if name not in checks]
    if verdict is Verdict.PASS and missing:
        raise Refused(f"the report says PASS without {', '.join(missing)}, which the policy asks for")
    return Decision(
        DecisionKind.GATED,
        fact.at,
        0,
        named["version"],
        _in_words(verdict, named["champion"], checks),
        fact.actor,
        policy_digest=policy.digest,
        evidence={"champion": named["champion"], "verdict": verdict.name, "report": fact.report},
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ledger has of one version's gate in staging."""

    verdict: Verdict
    reason: str


def outcome_of(decision: Decision) -> tuple[tuple[int, str, int], Outcome]:
    """(version, policy digest, champion) that a GATED decision is about, and what it says."""
    champion, verdict = decision.evidence.get("champion"), decision.evidence.get("verdict")
    known = isinstance(champion, int) and verdict in Verdict.__members__
    key = (decision.version, decision.policy_digest, champion if known and isinstance(champion, int) else 0)
    return key, Outcome(Verdict[str(verdict)] if known else Verdict.INCONCLUSIVE, decision.reason)


class _Unfit(Exception):
    """What is wrong with a report."""


def _read(report: Mapping[str, object]) -> tuple[Verdict, dict[str, tuple[Verdict, str]]]:
    """The verdict, and each check with its own and its reason. Raises _Unfit."""
    if report.get("schema") != SCHEMA:
        raise _Unfit(f"expected schema {SCHEMA}")
    listed = report.get("checks")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_CHECKS:
        raise _Unfit(f"expected 1 to {MOST_CHECKS} checks")
    checks: dict[str, tuple[Verdict, str]] = {}
    for each in listed:
        name, reason = (each.get("name"), each.get("reason")) if isinstance(each, Mapping) else (None, None)
        if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable() or name in checks:
            raise _Unfit("expected each check to have a name of its own")
        if not isinstance(reason, str) or not 0 < len(reason) <= LONGEST_REASON or not reason.isprintable():
            raise _Unfit(f"{name}: expected a reason of 1 to {LONGEST_REASON} printable characters")
        checks[name] = _verdict(each.get("verdict"), name), reason
    whole = _verdict(report.get("verdict"), "verdict")
    found = overall(verdict for verdict, _ in checks.values())
    if whole is not found:
        raise _Unfit(f"it says {whole.name}, and its checks come to {found.name}")
    for name in ("version", "champion"):
        _whole_number(report.get(name), name)
    return whole, checks


def _verdict(written: object, name: str) -> Verdict:
    if isinstance(written, str) and written in Verdict.__members__:
        return Verdict[written]
    raise _Unfit(f"{name}: expected one of {', '.join(Verdict.__members__)}")


def _whole_number(written: object, name: str) -> int:
    if isinstance(written, int) and not isinstance(written, bool) and 1 <= written < 2**31:
        return written
    raise _Unfit(f"{name}: expected the number of a version")


def _whole_numbers(report: Mapping[str, object], names: tuple[str, ...]) -> dict[str, int]:
    return {name: _whole_number(report.get(name), name) for name in names}


def _in_words(verdict: Verdict, champion: int, checks: Mapping[str, tuple[Verdict, str]]) -> str:
    """One line: the verdict, and what speaks against a pass."""
    head = f"the gate in staging says {verdict.name} against version {champion}"
    if verdict is Verdict.PASS:
        return f"{head}, by {len(checks)} checks"
    against = "; ".join(f"{name}: {reason}" for name, (each, reason) in checks.items() if each is verdict)
    return f"{head}: {against if len(against) <= _TOLD_IN_REASON else against[: _TOLD_IN_REASON - 3] + '...'}"
