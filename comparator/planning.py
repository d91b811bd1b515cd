"""About how long a policy's passes take at a rate of requests: an estimate for planning, before anything is seen.

It assumes equal versions, independent requests, errors at 0.1 %, lognormal latency with a sigma of 0.5 (and, as the
slow end, of 1), labels that come at once, and versions that disagree on a fifth of the rows that a metric counts. Real
traffic comes in bursts and takes longer; the evidence itself says how long is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from comparator.events import Mode
from comparator.label_metric import LabelMetric
from comparator.policy import LABEL_METRICS, Guardrail, Metric, Policy, Step, StepKind
from comparator.sequence import log_e_below, mixture_radius

ERROR_RATE = 0.001
SIGMAS = (0.5, 1.0)
DISAGREE = 0.2
SQUARES = 8.0
_MOST = 1e12
_NORMAL = NormalDist()
_MODES = {StepKind.SHADOW: Mode.SHADOW, StepKind.CANARY: Mode.CANARY}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a step waits for, and about how long: from, to (seconds; infinite: it is not had in this step)."""

    what: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of traffic: what it waits for, and about how long it takes altogether."""

    index: int  # of the step in the policy
    step: Step
    needs: tuple[Need, ...]

    @property
    def low(self) -> float:
        """Seconds, at best."""
        return max(need.low for need in self.needs)

    @property
    def high(self) -> float:
        """Seconds, in the slow case."""
        return max(need.high for need in self.needs)

    @property
    def longest(self) -> Need:
        """What takes the longest."""
        return max(self.needs, key=lambda need: need.high)


def plan(policy: Policy, rate: float, labelled: float = 0.1) -> tuple[StepPlan, ...]:
    """The steps before the promotion.

    Args:
        policy: what has to be shown.
        rate: requests a second.
        labelled: the share of requests that end as a row that a metric from labels counts (for precision: as a labelled
            positive prediction).
    """
    plans: list[StepPlan] = []
    mode: StepKind | None = None
    for index, step in enumerate(policy.steps):
        if step.kind not in _MODES:
            continue
        pairs = step.kind is StepKind.SHADOW
        share = step.percent / 100
        ours = rate * share  # the trial version's answers a second
        both = ours if pairs else rate * min(share, 1 - share)  # what is compared, a second
        needs = [
            Need("its minimum", step.min_seconds, step.min_seconds),
            _need(f"{policy.min_answers:,} answers", policy.min_answers, ours),
        ]
        if step.kind is not mode:  # proofs on errors and latency are had once in a mode
            length = max(policy.bucket_seconds, policy.bucket_min_answers / both)
            needs.append(_need(f"{policy.min_buckets} time buckets", policy.min_buckets, 1 / length))
            needs += [_of_traffic(policy, rail, both) for rail in policy.guardrails if rail.metric not in LABEL_METRICS]
        for rail in policy.guardrails:
            # what labels have proven stands for the whole rollout: the first step that can show it waits for it
            shown = mode is not None and (_in_pairs(rail) or mode is StepKind.CANARY)
            if rail.metric in LABEL_METRICS and not shown:
                needs.append(_of_labels(policy, rail, pairs, share, ours * labelled))
        plans.append(StepPlan(index, step, tuple(needs)))
        mode = step.kind
    return tuple(plans)


def pairs_for_latency(policy: Policy, rail: Guardrail, sigma: float) -> float:
    """Answers of each side until a quantile is shown to be no worse by the margin."""
    q = rail.quantile or 0.5
    usual = 1 - q
    slower = 1 - _NORMAL.cdf(_NORMAL.inv_cdf(q) + math.log1p(rail.margin) / sigma)

    def shown(answers: float) -> bool:
        radius = mixture_radius(answers * (usual + slower) + 1, policy.alpha)
        return answers * (usual - slower) > radius

    return _least(shown)


def answers_for_errors(policy: Policy, rail: Guardrail) -> float:
    """Answers of each side until the error rate is shown to be no worse by the margin, in either of two ways."""
    enough = math.log(2 / policy.alpha)

    def shown(answers: float) -> bool:
        radius = mixture_radius(2 * answers * ERROR_RATE + 1, policy.alpha / 2)
        failed = math.ceil(answers * ERROR_RATE)
        return answers * rail.margin > radius or log_e_below(failed, math.ceil(answers), rail.margin) >= enough

    return _least(shown)


def rows_for_labels(policy: Policy, rail: Guardrail, variance: float, margin: float) -> float:
    """The trial version's labelled rows until bets at this variance of a row have shown a difference of the margin."""
    allowed = margin / rail.width
    if rail.metric is Metric.RMSE:  # relative: of normal errors the square varies by twice its mean's
        variance, allowed = SQUARES * variance, (1 + margin) ** 2 - 1
    return max(policy.min_labelled_positives, 2 * math.log(1 / policy.alpha) * variance / allowed**2)


def _of_traffic(policy: Policy, rail: Guardrail, both: float) -> Need:
    if rail.metric is Metric.ERROR_RATE:
        return _need(rail.name, answers_for_errors(policy, rail), both)
    low, high = (pairs_for_latency(policy, rail, sigma) / both for sigma in SIGMAS)
    return Need(rail.name, low, high)


def _of_labels(policy: Policy, rail: Guardrail, pairs: bool, share: float, rows: float) -> Need:  # noqa: FBT001
    if pairs and not _in_pairs(rail):
        return Need(f"{rail.name}, which only a canary can show", math.inf, math.inf)
    odds = min(share, 1 - share) / max(share, 1 - share)
    count = rows_for_labels(policy, rail, DISAGREE if pairs else 0.25 * (1 + odds), rail.margin)
    if rail.offline_tolerance is not None:
        count = max(count, rows_for_labels(policy, rail, 0.25, rail.offline_tolerance))
    return _need(f"{rail.name} ({_round(count):,.0f} labelled)", count, rows)


def _in_pairs(rail: Guardrail) -> bool:
    return rail.metric not in LABEL_METRICS or LabelMetric(rail).in_pairs


def _need(what: str, count: float, rate: float) -> Need:
    return Need(what, count / rate, count / rate)


def _round(count: float) -> float:
    """To two digits: it is an estimate."""
    grain = math.pow(10, max(math.floor(math.log10(count)) - 1, 0))
    return math.ceil(count / grain) * grain


def _least(shown: Callable[[float], bool]) -> float:
    """The smallest count that is enough, to a hundredth; infinite: none is."""
    low, high = 1.0, 2.0
    while not shown(high):
        low, high = high, high * 2
        if high > _MOST:
            return math.inf
    while high - low > high / 100:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
