"""Each guardrail's figures, what is proven, what is missing, and about how long that takes, in words."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from comparator.buckets import WIDER
from comparator.difference import DifferenceTest
from comparator.events import Mode
from comparator.guardrail import PRECEDENCE, Estimate, GuardrailReport
from comparator.policy import Guardrail, Policy
from comparator.ratio import RatioTest
from comparator.scoreboard import ratio_estimate
from comparator.sequence import as_e, log_e_below, quantile_ranks
from comparator.sketch import Sketch
from comparator.words import amount, evidence, percents, plain, points, seconds, worse_by

_FAR = 1e5
"""A pass that takes more than so many times the time so far is not told in seconds."""

_TIMES = tuple(1.1**power for power in range(math.ceil(math.log(_FAR, 1.1))))
"""Multiples of the time so far, up to there: a wait is told to a tenth of the whole."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When, and in which mode, a guardrail is looked at."""

    at: float
    mode: Mode
    mode_began_at: float
    rollout_began_at: float

    @property
    def in_mode(self) -> float:
        """Seconds in this mode."""
        return max(self.at - self.mode_began_at, 0.0)

    @property
    def in_rollout(self) -> float:
        """Seconds since the rollout's first step."""
        return max(self.at - self.rollout_began_at, 0.0)

    @property
    def reference(self) -> str:
        """Whom the version on trial is compared with, in words."""
        return "the previous champion's" if self.mode is Mode.WATCH else "the champion's"


@dataclass(slots=True)
class Counts:
    """One version's answers in a mode."""

    answers: int = 0
    failed: int = 0
    latency: Sketch = field(default_factory=Sketch)


@dataclass(slots=True)
class Finding:
    """One guardrail before the combined evidence is known."""

    rail: Guardrail
    what: str  # the figures in words
    champion: Estimate | None
    challenger: Estimate | None
    log_e: float
    harm: float | None  # in the margin's units
    worse: str  # the harm in words
    harmful: bool  # the estimated harm is at least half the margin
    proven: bool
    beyond: str  # the margin in words
    missing: list[str] = field(default_factory=list)
    waits: list[float | None] = field(default_factory=list)  # seconds for each of `missing`

    def need(self, text: str, seconds: float | None) -> None:
        """Something is missing."""
        self.missing.append(text)
        self.waits.append(seconds)

    def report(self, *, harmed: bool, threshold: float, alpha: float) -> GuardrailReport:
        """The guardrail's report; `harmed`: it is a reason to roll back; `alpha`: the rollout's false-alarm rate."""
        verdict = PRECEDENCE[harmed, bool(self.missing)]
        e = as_e(self.log_e)
        if harmed:
            said = (
                f"{self.worse}, evidence {evidence(e)} (alone it needs {threshold:,.0f}), "
                f"false-alarm rate {alpha * 100:g} %"
            )
        elif self.missing:
            said = "waiting for " + " and ".join(self.missing)
        elif self.proven:
            said = f"not worse by {self.beyond}"
        else:
            said = "no harm found"
        return GuardrailReport(
            name=self.rail.name,
            verdict=verdict,
            reason=f"{self.what}: {said}",
            champion=self.champion,
            challenger=self.challenger,
            margin=self.rail.margin,
            harm_e=e,
            harm_threshold=threshold,
            harm=self.harm,
            proven=self.proven,
            missing=tuple(self.missing),
            seconds_left=longest(self.waits),
        )


def errors(
    policy: Policy, rail: Guardrail, test: DifferenceTest, counts: tuple[Counts, Counts], now: Moment
) -> Finding:
    """The error rate.

    Two tests of no harm share alpha, and either proves it: that of `DifferenceTest`, and that the trial version's own
    error rate is below the margin (then it is not worse by the margin, whatever the reference did).
    """
    theirs, ours = (ratio_estimate(side.failed, side.answers, policy.alpha) for side in counts)
    harm = test.harm
    bursts = test.dispersion
    log_below = log_e_below(counts[1].failed / bursts, counts[1].answers / bursts, rail.margin)
    enough = math.log(2 / policy.alpha)
    below = log_below >= enough
    found = Finding(
        rail,
        f"error rate {percents(ours)} against {now.reference} {percents(theirs)} on {counts[1].answers:,} answers",
        theirs,
        ours,
        test.log_e,
        harm,
        worse_by(harm, rail),
        harmful=harm is not None and harm >= rail.margin / 2,
        proven=test.no_harm or below,
        beyond=points(rail.margin),
    )
    if now.mode is not Mode.WATCH:
        _need_buckets(policy, found, test, now)
        if test.no_harm and not below:
            _need_agreement(found, test)
        elif not below:
            waits = [_until(test.slack, now.in_mode), _growth(log_below, enough, now.in_mode)]
            known = [wait for wait in waits if wait is not None]
            least = test.least_allowed
            or_else = f" (or a margin of {points(_up(least, 0.001))})" if least is not None and least < 1 else ""
            found.need(f"proof that it is not worse by {found.beyond}{or_else}", min(known) if known else None)
    return found


def latency(
    policy: Policy, rail: Guardrail, test: DifferenceTest, counts: tuple[Counts, Counts], now: Moment
) -> Finding:
    """A quantile of the latency."""
    q = rail.quantile or 0.5
    theirs, ours = (_quantile(side.latency, q, policy.alpha) for side in counts)
    harm = test.harm
    slower = ours.value / theirs.value - 1 if ours is not None and theirs is not None and theirs.value > 0 else None
    quantile = rail.name.removesuffix("_latency").replace("_", ".")
    found = Finding(
        rail,
        f"{quantile} latency {seconds(ours)} against {now.reference} {seconds(theirs)} on "
        f"{counts[1].latency.count:,} answers",
        theirs,
        ours,
        test.log_e,
        slower,
        # the figures are of the whole mode: a late harm may not show in them, or with the wrong sign
        f"worse by {slower * 100:.0f} %"
        if slower is not None and slower >= rail.margin / 2
        else f"worse by {rail.margin * 50:g} % or more since the harm began",
        harmful=harm is not None
        and harm >= 0,  # slower than tau by half the margin at least as often as the reference than tau
        proven=test.no_harm,
        beyond=f"{rail.margin * 100:g} %",
    )
    if now.mode is not Mode.WATCH:
        _need_buckets(policy, found, test, now)
        if test.no_harm:
            _need_agreement(found, test)
        else:
            wide = test.slack(wider=True) < 0
            or_else = f" (or a margin of {rail.margin * WIDER * 100:g} %)" if wide else ""
            found.need(f"proof that it is not worse by {found.beyond}{or_else}", _until(test.slack, now.in_mode))
    return found


def labelled(policy: Policy, rail: Guardrail, test: RatioTest, now: Moment) -> Finding:
    """A metric from labels, and the offline promise. What was proven stands while the present estimate agrees."""
    theirs, ours = (test.estimate(side, policy.alpha) for side in (0, 1))
    harm, metric = test.harm, test.metric
    found = Finding(
        rail,
        f"{metric.name} {plain(ours)} against {now.reference} {plain(theirs)} on {test.counts[1]:,} {metric.rows}",
        theirs,
        ours,
        test.log_e,
        harm,
        worse_by(harm, rail),
        harmful=harm is not None and harm >= rail.margin / 2,
        proven=test.no_harm.reached,
        beyond=amount(rail.margin, rail),
    )
    if now.mode is Mode.WATCH:
        return found
    if now.mode is Mode.SHADOW and not metric.in_pairs:
        found.need(f"a canary: in shadow the challenger's answers are not acted upon, and have no {metric.name}", None)
        return found
    have, need = test.counts[1], policy.min_labelled_positives
    if have < need:
        found.need(f"{need - have:,} more {metric.rows} of {need:,}", _until_count(have, need, now.in_rollout))
    if test.unseen:
        found.need(f"{metric.rows} of every class on both sides: {test.unseen} have none yet", None)
    enough = math.log(1 / policy.alpha)
    if not test.no_harm.reached:
        wait = _growth(test.no_harm.log_e, enough, now.in_rollout)
        found.need(f"proof that it is not worse by {found.beyond}", wait)
    elif theirs is not None and ours is not None and metric.worse(theirs.value, ours.value) > rail.margin:
        # Labels can come in an order that depends on the truth (confirmed cases first): the proof then was of those.
        found.need(f"an estimate that is not worse by {found.beyond}: labels have turned since the proof", None)
    _need_promise(found, test, now, enough)
    coverage = test.coverage
    if now.mode is Mode.SHADOW and coverage is not None and coverage[1] < policy.coverage_ratio * coverage[0]:
        few, many = (f"{share:.0%}" for share in (coverage[1], coverage[0]))
        reach = (
            f"{few} of the positives that only the challenger predicted and {many} of the champion's"
            if metric.by_prediction
            else f"{few} of the requests on which the two disagree and {many} of the others"
        )
        found.need(f"labels: they reach {reach}, so its {metric.name} cannot be told in shadow (use a canary)", None)
    return found


def _need_promise(found: Finding, test: RatioTest, now: Moment, enough: float) -> None:
    tolerance, metric = found.rail.offline_tolerance, test.metric
    if tolerance is None:
        return
    if test.offline is None or test.promise is None:
        found.need(f"an offline {metric.name} of this version in the registry", None)
        return
    promised = f"({test.offline:.3f} {'less' if metric.sign > 0 else 'and'} {points(tolerance)})"
    if not test.promise_kept:
        wait = _growth(test.kept.log_e, enough, now.in_rollout)
        found.need(f"proof that it keeps its offline promise {promised}", wait)
    elif found.challenger is not None and metric.sign * (found.challenger.value - test.promise) < 0:
        found.need(f"an estimate that keeps the offline promise {promised} again", None)


def _need_buckets(policy: Policy, found: Finding, test: DifferenceTest, now: Moment) -> None:
    have, need = test.buckets, policy.min_buckets
    if have < need:
        wait = _until_count(have, need, now.in_mode)
        found.need(f"{need - have} more time buckets of {need}", wait)


def _need_agreement(found: Finding, test: DifferenceTest) -> None:
    """What was shown stands while the estimate of the whole mode agrees: rare bad times may have come since."""
    if not test.agrees:
        found.need(f"an estimate well below {found.beyond}: answers have turned since the proof", None)


# ---- how long


def longest(waits: list[float | None]) -> float | None:
    """The longest of the waits that are known; None: nothing is missing, or one cannot be told."""
    known = [wait for wait in waits if wait is not None]
    return max(known) if known and len(known) == len(waits) else None


def _up(value: float, grain: float) -> float:
    """Rounded up to a multiple of the grain, and one more: a margin that is just enough now is not for long."""
    return (math.ceil(value / grain) + 1) * grain


def _until_count(have: int, need: int, elapsed: float) -> float | None:
    return elapsed * (need - have) / have if have and elapsed > 0 else None


def _growth(log_e: float, enough: float, elapsed: float) -> float | None:
    """How long a logarithm that grows in proportion to time takes to be enough."""
    return (enough / log_e - 1) * elapsed if log_e > enough / _FAR and elapsed > 0 else None


def _until(slack: Callable[[float], float], elapsed: float) -> float | None:
    """How long until the slack of data like those seen is negative: concave and positive at 0, so it then stays so."""
    found = bisect_left(_TIMES, True, key=lambda times: slack(times) < 0)
    return (_TIMES[found] - 1) * elapsed if found < len(_TIMES) and elapsed > 0 else None


def _quantile(sketch: Sketch, q: float, alpha: float) -> Estimate | None:
    if sketch.count == 0:
        return None
    low, high = quantile_ranks(sketch.count, q, alpha)
    value = sketch.quantile(q)
    lower = min(sketch.at_rank(low), value) if low >= 1 else 0.0
    upper = max(sketch.at_rank(high), value) if high <= sketch.count else math.inf
    return Estimate(value, lower, upper, sketch.count)
