"""What must stand in the registry before a rollout may start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparator.guardrail import Verdict
from comparator.policy import Gate, Metric, Policy

if TYPE_CHECKING:
    from comparator.events import VersionFacts

OFFLINE_PRECISION = ("precision", "eval_precision", "test_precision", "precision_score", "val_precision")
"""The names under which an offline precision is looked for, in this order."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether a challenger may start, and each check with its outcome in words."""

    verdict: Verdict
    reason: str
    checks: tuple[tuple[str, Verdict, str], ...] = ()  # (name, verdict, what was found)


def offline_precision(offline: Mapping[str, float]) -> float | None:
    """The offline precision among a version's metrics, or None where there is none between 0 and 1."""
    for name in OFFLINE_PRECISION:
        value = offline.get(name)
        if value is not None and math.isfinite(value) and 0 <= value <= 1:
            return value
    return None


def judge(policy: Policy, challenger: VersionFacts, champion: VersionFacts) -> GateReport:
    """Check what the registry has of the challenger. What is missing is INCONCLUSIVE, and holds."""
    if policy.gate is Gate.OFF:
        return GateReport(Verdict.PASS, "the gate is off: nothing was checked before the start")
    checks = (
        _present("git_sha", "git SHA", challenger.git_sha),
        _present("data_hash", "data hash", challenger.data_hash),
        _precision(policy, challenger, champion),
    )
    for wanted in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = [text for _, verdict, text in checks if verdict is wanted]
        if found:
            word = "failed" if wanted is Verdict.FAIL else "cannot be judged"
            return GateReport(
                wanted, f"the offline gate {word} for version {challenger.version}: {'; '.join(found)}", checks
            )
    return GateReport(Verdict.PASS, f"the offline gate passed: {'; '.join(text for _, _, text in checks)}", checks)


def _present(name: str, text: str, value: str | None) -> tuple[str, Verdict, str]:
    if value:
        return name, Verdict.PASS, f"{text} is recorded"
    return name, Verdict.INCONCLUSIVE, f"no {text} is recorded"


def _precision(policy: Policy, challenger: VersionFacts, champion: VersionFacts) -> tuple[str, Verdict, str]:
    ours, theirs = offline_precision(challenger.offline), offline_precision(champion.offline)
    if ours is None:
        return "precision", Verdict.INCONCLUSIVE, "no offline precision is recorded"
    rail = policy.guardrail(Metric.PRECISION)
    if rail is None:
        return "precision", Verdict.PASS, f"offline precision {ours:.3f} (no guardrail on precision)"
    if theirs is None:
        return (
            "precision",
            Verdict.INCONCLUSIVE,
            f"no offline precision is recorded for the champion, version {champion.version}",
        )
    text = f"offline precision {ours:.3f} against the champion's {theirs:.3f}"
    if ours < theirs - rail.margin:
        return "precision", Verdict.FAIL, f"{text}: worse by more than {rail.margin * 100:g} points"
    return "precision", Verdict.PASS, text
