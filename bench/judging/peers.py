"""The rules of peers, on figures by the minute. Ideas only, written from their documentation and public source.

Every rule is a function of (Minutes, Usual) that says after which minute (0: the first) it would roll back, or None.
A peer that has not rolled back by the step's end promotes: none of them asks for proof of no harm.

Thresholds stand where a careful operator would put them who knows the champion's usual figures (`Usual`, bursts and
day cycle included): errors at the documented 1 %, or half a point above the champion's, if that is more; p99 and mean
latency at 1.25 times the champion's. Rules that compare both sides need none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from judging.minutes import Floats, Minutes, Usual

ALPHA = 0.05
ROOM = 1.25


Rule = Callable[[Minutes, Usual], int | None]


def _first(bad: np.ndarray) -> int | None:
    found = np.flatnonzero(bad)
    return int(found[0]) if found.size else None


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _merged(values: Floats, length: int) -> Floats:
    """Sums of whole spans of `length` minutes: shape (2, m) -> (2, m // length)."""
    spans = values.shape[1] // length
    return values[:, : spans * length].reshape(2, spans, length).sum(axis=2)


# ---- thresholds


def flagger(minutes: Minutes, usual: Usual) -> int | None:
    """Flagger: each minute success rate and p99 of the last minute against thresholds; the 5th failed check rolls back.

    Source: docs, "How it works" (061c179) and "Metrics analysis" (interval 1m, request-success-rate min 99,
    request-duration max P99, threshold 5 as in the tutorials); scheduler.go: failed checks add up over the analysis,
    whatever passes between.
    """
    errors = _ratio(minutes.failed[1], minutes.count[1]) > usual.most_errors
    slow = minutes.p99[1] > ROOM * usual.p99
    return _first(np.cumsum(errors | slow) >= 5)


def argo(minutes: Minutes, usual: Usual) -> int | None:
    """Argo Rollouts: every 5 minutes success rate and p99 of the last 5; fails once a metric failed more than 3 times.

    Source: docs, "Analysis & Progressive Delivery" (010ad55: interval 5m, failureLimit 3); analysis.go: failed >
    failureLimit, added up per metric. The p99 of 5 minutes is taken as the median of the five minutes' (a shade too
    kind to noise).
    """
    count, failed = _merged(minutes.count, 5), _merged(minutes.failed, 5)
    spans = count.shape[1]
    with np.errstate(all="ignore"):
        by_span = minutes.p99[1, : spans * 5].reshape(spans, 5)
        p99 = np.where(np.isnan(by_span).all(axis=1), np.nan, np.nanmedian(np.nan_to_num(by_span), axis=1))
    bad = [_ratio(failed[1], count[1]) > usual.most_errors, p99 > ROOM * usual.p99]
    found = [each for each in (_first(np.cumsum(one) > 3) for one in bad) if each is not None]
    return min(found) * 5 + 4 if found else None


def sagemaker(minutes: Minutes, usual: Usual) -> int | None:
    """SageMaker deployment guardrails: an alarm on the new fleet during the baking period rolls back.

    Source: docs, "Auto-rollback configuration and monitoring" (0a58b94): errors, average over a period of 600 s, 2
    periods in a row; ModelLatency, average over 300 s, 2 periods in a row; missing data is not breaching.
    """
    found = []
    for length, part, threshold in (
        (10, minutes.failed, usual.most_errors),
        (5, np.nan_to_num(minutes.mean) * minutes.count, ROOM * usual.mean),
    ):
        bad = _ratio(_merged(part, length)[1], _merged(minutes.count, length)[1]) > threshold
        first = _first(bad[1:] & bad[:-1])
        if first is not None:
            found.append((first + 2) * length - 1)
    return min(found) if found else None


# ---- tests


def kayenta(minutes: Minutes, _usual: Usual) -> int | None:
    """Kayenta (NetflixACAJudge): Mann-Whitney on the minutes' error rates and p99s, judged every 30 minutes.

    Source: MannWhitneyClassifier.scala (5e8bc1a: High where the 98 % confidence interval of the Hodges-Lehmann shift
    lies above 0.25 times its absolute estimate; identical data pass), NetflixACAJudge.scala (8a754a1); Spinnaker docs:
    score thresholds 95 and 75, step 60 s, growing lookback, an interval of at least 30 minutes. With two metrics one
    High is a score of 50: below marginal, so the canary fails. Their docs want a baseline of the canary's size, so it
    gets figures in which the side with more traffic is thinned to the other's share.
    """
    m = minutes.count.shape[1]
    errors = _ratio(minutes.failed, minutes.count)
    for until in range(30, m + 1, 30):
        if any(_high(metric[1, :until], metric[0, :until]) for metric in (errors, minutes.p99)):
            return until - 1
    return None


def _high(experiment: Floats, control: Floats) -> bool:
    x, y = experiment[~np.isnan(experiment)], control[~np.isnan(control)]
    if x.size == 0 or y.size == 0 or np.array_equal(np.sort(x), np.sort(y)):
        return False
    shifts = np.sort(np.subtract.outer(x, y).ravel())
    spread = NormalDist().inv_cdf(0.99) * math.sqrt(x.size * y.size * (x.size + y.size + 1) / 12)
    lower = shifts[max(math.floor(x.size * y.size / 2 - spread), 0)]
    return bool(lower > 0.25 * abs(np.median(shifts)))


def _cumulative(minutes: Minutes) -> list[tuple[Floats, Floats]]:
    """Of errors, latency and precision: bad ones and all so far, by side, shapes (2, m). Slow: than the usual p99."""
    count = np.cumsum(minutes.count, axis=1)
    positives, true = np.cumsum(minutes.positives, axis=1), np.cumsum(minutes.true, axis=1)
    return [
        (np.cumsum(minutes.failed, axis=1), count),
        (np.cumsum(minutes.slow, axis=1), count),
        (positives - true, positives),
    ]


def peeked(minutes: Minutes, _usual: Usual) -> int | None:
    """A one-sided two-proportion z-test (pooled variance) on each of three metrics, looked at every minute.

    The dashboard of the textbook: alpha 5 %, shared by the metrics (Bonferroni), from 30 answers (or labelled
    positives) a side on. p99: the share of answers slower than the champion's usual p99, known from days before.
    """
    critical = NormalDist().inv_cdf(1 - ALPHA / 3)
    bad_at = []
    for bad, count in _cumulative(minutes):
        pooled = _ratio(bad.sum(axis=0), count.sum(axis=0))
        with np.errstate(all="ignore"):
            error = np.sqrt(pooled * (1 - pooled) * (1 / count[0] + 1 / count[1]))
            z = (_ratio(bad[1], count[1]) - _ratio(bad[0], count[0])) / error
        bad_at.append((z > critical) & (count.min(axis=0) >= 30))
    return _first(np.any(bad_at, axis=0))


def growthbook(minutes: Minutes, _usual: Usual) -> int | None:
    """GrowthBook's sequential test: asymptotic confidence sequences, every request taken as independent.

    Source: docs, "Sequential testing", 2026 (Waudby-Smith et al., asymptotic confidence sequences; tuning N* = 5000;
    two-sided, alpha 5 % for each guardrail, as by default). Absolute differences; p99 as in `peeked`. It says harm once
    the whole interval is on the harmful side; as there, nothing is said while a side has no variance (so never of a
    challenger that always fails). The minimum of 150 conversions before results are shown, which would slow it, is not
    applied. Looked at every minute, which it allows.
    """
    log_alpha = math.log(ALPHA)
    rho2 = (-2 * log_alpha + math.log(-2 * log_alpha + 1)) / 5000
    bad_at = []
    for bad, count in _cumulative(minutes):
        n = count.sum(axis=0)
        share = _ratio(bad, count)
        with np.errstate(all="ignore"):
            each = share * (1 - share) / count
            variance = each.sum(axis=0)
            width = np.sqrt(variance * 2 * (n * rho2 + 1) / (n * rho2) * np.log(np.sqrt(n * rho2 + 1) / ALPHA))
            low = share[1] - share[0] - width
        bad_at.append((low > 0) & (each.min(axis=0) > 0))
    return _first(np.any(bad_at, axis=0))


OPERATIONS = ("error_rate", "p99_latency")
EVERYTHING = (*OPERATIONS, "precision")

PEERS: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "Kayenta": (kayenta, OPERATIONS),
    "Flagger": (flagger, OPERATIONS),
    "Argo Rollouts": (argo, OPERATIONS),
    "SageMaker": (sagemaker, OPERATIONS),
    "GrowthBook": (growthbook, EVERYTHING),
    "z-test": (peeked, EVERYTHING),
}
"""By name: the rule, and the guardrails whose harm it can see."""
