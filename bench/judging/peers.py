"""The rules of well-known systems, as their documentation sets them up, on what their metrics server would have.

Each rule looks once a minute (or at its own interval) and says when it rolls back or promotes. All promote after the
same time as the judge may. Where a system leaves its thresholds to the operator, they are set as an operator who knows
the champion would: 1 % of errors, 1.5 times the champion's p99. None of them knows precision by itself; those that
compare any metric (Kayenta, GrowthBook, the z-test) get it as a metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from judging.minutes import Minutes
from numpy.typing import NDArray

MOST_ERRORS = 0.01
SLOWER = 1.5

Verdict = tuple[str, float]  # ("roll_back" | "promote" | "none", seconds)


def kayenta(minutes: Minutes, promote_at: int) -> Verdict:
    """Spinnaker Kayenta, NetflixACAJudge-v1.0: one point a minute and metric, Mann-Whitney at 98 %, every 5 minutes.

    A metric is High or Low where the confidence interval of the shift (Hodges-Lehmann) lies beyond a tolerance of 0.25
    of it about 0. The score is the share of metrics that pass; below 75 the run fails, and 95 passes at the end. The
    lookback grows, as in an analysis with one lifetime. A metric without data is skipped.
    """
    error = _ratio(minutes.failed, minutes.answers)
    precision = _ratio(minutes.true, minutes.labelled)
    for minute in range(5, promote_at + 1, 5):
        passed = counted = 0
        for series, up_is_bad in ((error, True), (minutes.p99, True), (precision, False)):
            ours, theirs = (side[np.isfinite(side)] for side in (series[1][:minute], series[0][:minute]))
            if min(ours.size, theirs.size) < 3:
                continue
            counted += 1
            shift = _shift(ours, theirs, z=2.326)
            passed += not (shift > 0 if up_is_bad else shift < 0)
        score = 100 * passed / counted if counted else 100.0
        if score < 75:
            return "roll_back", minute * 60.0
    return "promote", promote_at * 60.0


def _shift(ours: NDArray[np.float64], theirs: NDArray[np.float64], z: float) -> int:
    """1: higher, -1: lower, 0: neither, by Mann-Whitney with Kayenta's tolerance."""
    differences = np.sort((ours[:, None] - theirs[None, :]).ravel())
    if differences[0] == differences[-1]:
        return 0
    m, n = ours.size, theirs.size
    rank = m * n / 2 - z * math.sqrt(m * n * (m + n + 1) / 12)
    low = max(math.floor(rank), 0)
    lower, upper = differences[low], differences[differences.size - 1 - low]
    tolerance = 0.25 * abs(float(np.median(differences)))
    if lower > tolerance:
        return 1
    return -1 if upper < -tolerance else 0


def flagger(minutes: Minutes, promote_at: int) -> Verdict:
    """Flagger: every minute the success rate (at least 99 %) and the duration's p99; 5 failed checks roll back.

    A check without data of the canary fails, too.
    """
    failed = 0
    for minute in range(promote_at):
        if _beyond(minutes, minute, 1) is not False:
            failed += 1
            if failed >= 5:
                return "roll_back", (minute + 1) * 60.0
    return "promote", promote_at * 60.0


def argo_rollouts(minutes: Minutes, promote_at: int) -> Verdict:
    """Argo Rollouts' AnalysisTemplate: every 5 minutes, success and latency conditions over them; failureLimit 3."""
    failed = 0
    for minute in range(5, promote_at + 1, 5):
        if _beyond(minutes, minute - 5, 5) is True:
            failed += 1
            if failed > 3:
                return "roll_back", minute * 60.0
    return "promote", promote_at * 60.0


def sagemaker(minutes: Minutes, promote_at: int) -> Verdict:
    """SageMaker deployment guardrails: a CloudWatch alarm on one period of 60 s rolls back while the canary bakes."""
    for minute in range(promote_at):
        if _beyond(minutes, minute, 1) is True:
            return "roll_back", (minute + 1) * 60.0
    return "promote", promote_at * 60.0


def _beyond(minutes: Minutes, start: int, length: int) -> bool | None:
    """Whether the challenger was beyond a threshold; None: it had no answers."""
    span = slice(start, start + length)
    answers = minutes.answers[1][span].sum()
    if answers == 0:
        return None
    errors = minutes.failed[1][span].sum() / answers
    p99 = float(np.nanmean(minutes.p99[1][span]))
    return bool(errors > MOST_ERRORS or p99 > SLOWER * minutes.tau)


def growthbook(minutes: Minutes, promote_at: int) -> Verdict:
    """GrowthBook's sequential test: asymptotic confidence sequences, every request taken as independent.

    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, as in its statistics documentation; tuning parameter 5,000,
    alpha 5 % a metric, two-sided. Rolls back when a metric is worse for sure; at the end the rest is promoted.
    """
    return _peeked(minutes, promote_at, _always_valid)


def z_test(minutes: Minutes, promote_at: int) -> Verdict:
    """A one-sided z-test at 5 % on errors, slow answers and precision, looked at every minute."""
    return _peeked(minutes, promote_at, lambda difference, variance, _: difference > 1.645 * math.sqrt(variance))


def _always_valid(difference: float, variance: float, n: float) -> bool:
    rho = math.sqrt((-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 5000)
    sigma = math.sqrt(variance * n)
    width = sigma * math.sqrt(2 * (n * rho**2 + 1) / (n**2 * rho**2) * math.log(math.sqrt(n * rho**2 + 1) / 0.05))
    return difference > width


def _peeked(minutes: Minutes, promote_at: int, worse: Callable[[float, float, float], bool]) -> Verdict:
    sums = {
        name: np.cumsum(getattr(minutes, name), axis=1) for name in ("answers", "failed", "slow", "labelled", "true")
    }
    pairs = (("failed", "answers", 1), ("slow", "answers", 1), ("true", "labelled", -1))
    for minute in range(minutes.count):
        for good, of, sign in pairs:
            ours, theirs = sums[of][1][minute], sums[of][0][minute]
            if min(ours, theirs) < 20:
                continue
            a, b = sums[good][0][minute] / theirs, sums[good][1][minute] / ours
            variance = a * (1 - a) / theirs + b * (1 - b) / ours
            if variance > 0 and worse(sign * (b - a), variance, ours + theirs):
                return "roll_back", (minute + 1) * 60.0
        if minute + 1 == promote_at:
            return "promote", promote_at * 60.0
    return "none", math.inf


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


PEERS: dict[str, Callable[[Minutes, int], Verdict]] = {
    "Kayenta": kayenta,
    "Flagger": flagger,
    "Argo Rollouts": argo_rollouts,
    "SageMaker": sagemaker,
    "GrowthBook": growthbook,
    "z-test": z_test,
}
