"""What must stand in the registry, and of the gate in staging in the ledger, before a rollout may start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from comparator.policy import LABEL_METRICS, Gate, Guardrail, Metric, Policy
from comparator.rail import NUMBER_METRICS, class_name
from comparator.words import amount

if TYPE_CHECKING:
    from comparator.events import VersionFacts
    from comparator.gated import Outcome

_ALIASES = {
    Metric.PRECISION: ("precision", "precision_score"),
    Metric.RECALL: ("recall", "recall_score"),
    Metric.ACCURACY: ("accuracy", "accuracy_score"),
    Metric.F1: ("f1", "f1_score"),
    Metric.BRIER: ("brier", "brier_score", "brier_score_loss"),
    Metric.MAE: ("mae", "mean_absolute_error"),
    Metric.RMSE: ("rmse", "root_mean_squared_error"),
}

OFFLINE_NAMES = {
    metric: (name, f"eval_{name}", f"test_{name}", *others, f"val_{name}")
    for metric, (name, *others) in _ALIASES.items()
}
"""The names under which a metric's offline figure is looked for, in this order; of a reward there is none."""


def offline_names(rail: Guardrail) -> tuple[str, ...]:
    """The same for a guardrail: of one class precision_of_CLASS or precision_CLASS, of the mean precision_macro."""
    if not rail.of_classes:
        return OFFLINE_NAMES.get(rail.metric, ())
    metric = rail.metric.value
    names = (rail.name,) if rail.of is None else (rail.name, f"{metric}_{class_name(rail.of)}")
    return tuple(f"{before}{name}" for before in ("", "eval_", "test_", "val_") for name in names)


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether a challenger may start, and each check with its outcome in words."""

    verdict: Verdict
    reason: str
    checks: tuple[tuple[str, Verdict, str], ...] = ()  # (name, verdict, what was found)


def offline_figure(metric: Metric | Guardrail, offline: Mapping[str, float]) -> float | None:
    """The offline figure of a metric among a version's; None: there is none (between 0 and 1, but for numbers)."""
    names, metric = (
        (offline_names(metric), metric.metric)
        if isinstance(metric, Guardrail)
        else (OFFLINE_NAMES.get(metric, ()), metric)
    )
    most = math.inf if metric in NUMBER_METRICS else 1.0
    for name in names:
        value = offline.get(name)
        if value is not None and math.isfinite(value) and 0 <= value <= most:
            return value
    return None


def judge(
    policy: Policy, challenger: VersionFacts, champion: VersionFacts, staged: Outcome | None = None
) -> GateReport:
    """Check what registry and ledger have of the challenger. What is missing is INCONCLUSIVE, and holds.

    Args:
        policy: says what is checked.
        challenger: what the registry knows of it.
        champion: the same.
        staged: what the ledger has of the gate in staging, for this version, policy and champion; None: nothing.
    """
    if policy.gate is Gate.OFF:
        return GateReport(Verdict.PASS, "the gate is off: nothing was checked before the start")
    checks = (
        _present("git_sha", "git SHA", challenger.git_sha),
        _present("data_hash", "data hash", challenger.data_hash),
        *(
            (_staged(staged, challenger.version, champion.version),)
            if policy.gate is Gate.REQUIRED
            else _offline(policy, challenger, champion)
        ),
    )
    for wanted in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = [text for _, verdict, text in checks if verdict is wanted]
        if found:
            word = "failed" if wanted is Verdict.FAIL else "cannot be judged"
            return GateReport(wanted, f"the gate {word} for version {challenger.version}: {'; '.join(found)}", checks)
    return GateReport(Verdict.PASS, f"the gate passed: {'; '.join(text for _, _, text in checks)}", checks)


def _staged(found: Outcome | None, version: int, champion: int) -> tuple[str, Verdict, str]:
    if found is None:
        missing = f"no report of the gate in staging against version {champion} under this policy"
        return "staging", Verdict.INCONCLUSIVE, f"{missing}: run `titleshot gate MODEL {version}`"
    return "staging", found.verdict, found.reason


def _present(name: str, text: str, value: str | None) -> tuple[str, Verdict, str]:
    if value:
        return name, Verdict.PASS, f"{text} is recorded"
    return name, Verdict.INCONCLUSIVE, f"no {text} is recorded"


def _offline(policy: Policy, challenger: VersionFacts, champion: VersionFacts) -> tuple[tuple[str, Verdict, str], ...]:
    """A check for each guardrail from labels; without one, some offline precision has to be there."""
    rails = [rail for rail in policy.guardrails if rail.metric in LABEL_METRICS]
    if not rails:
        ours = offline_figure(Metric.PRECISION, challenger.offline)
        if ours is None:
            return (("precision", Verdict.INCONCLUSIVE, "no offline precision is recorded"),)
        return (("precision", Verdict.PASS, f"offline precision {ours:.3f} (no guardrail on precision)"),)
    return tuple(_no_worse(rail, challenger, champion) for rail in rails if rail.metric in OFFLINE_NAMES)


def _no_worse(rail: Guardrail, challenger: VersionFacts, champion: VersionFacts) -> tuple[str, Verdict, str]:
    metric, name = LabelMetric(rail), LabelMetric(rail).name
    ours, theirs = (offline_figure(rail, facts.offline) for facts in (challenger, champion))
    if ours is None:
        return rail.name, Verdict.INCONCLUSIVE, f"no offline {name} is recorded"
    if theirs is None:
        missing = f"no offline {name} is recorded for the champion, version {champion.version}"
        return rail.name, Verdict.INCONCLUSIVE, missing
    text = f"offline {name} {ours:.3f} against the champion's {theirs:.3f}"
    limit = theirs * (1 + rail.margin) if metric.relative else theirs - metric.sign * rail.margin
    if (ours < limit) if metric.sign > 0 else (ours > limit):
        return rail.name, Verdict.FAIL, f"{text}: worse by more than {amount(rail.margin, rail)}"
    return rail.name, Verdict.PASS, text
