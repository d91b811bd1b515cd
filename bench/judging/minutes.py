"""A trace as a monitoring system sees it: figures by minute and side. All that the rules of peers get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from judging.traces import Scenario, Trace, make
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINUTE = 60.0


@dataclass(frozen=True)
class Minutes:
    """Figures by side (0 champion, 1 challenger) and minute in which they became known: shapes (2, m).

    Args:
        count: answers.
        failed: failed answers.
        mean: seconds; NaN: no answer.
        p99: seconds; NaN: no answer.
        slow: answers slower than the champion usually is at its p99.
        positives: labelled predicted positives, in the minute of their label (or of the answer, if that is later).
        true: those that are.
    """

    count: Floats
    failed: Floats
    mean: Floats
    p99: Floats
    slow: Floats
    positives: Floats
    true: Floats


@dataclass(frozen=True)
class Usual:
    """The champion's usual figures, bursts and day cycle included: error rate, p99 and mean latency in seconds."""

    errors: float
    p99: float
    mean: float

    @property
    def most_errors(self) -> float:
        """The threshold on the error rate: the documented 1 %, or half a point above the usual, if that is more."""
        return max(0.01, self.errors + 0.005)


@cache
def usual(scenario: Scenario) -> Usual:
    """What the champion alone was like in the days before."""
    alone = make(replace(scenario, percent=None, seconds=6 * 3600.0), repetition=-1 % 2**31)
    latency = alone.latency[0]
    return Usual(float(alone.failed[0].mean()), float(np.quantile(latency, 0.99)), float(latency.mean()))


def even(scenario: Scenario, trace: Trace) -> Trace:
    """The same trace with the side that has more traffic thinned at random to the other's share."""
    if scenario.percent is None or scenario.percent == 50:
        return trace
    large = int(scenario.percent > 50)
    ratio = min(scenario.percent, 100 - scenario.percent) / max(scenario.percent, 100 - scenario.percent)
    at, positive = trace.at.copy(), trace.positive.copy()
    out = np.random.default_rng(trace.asked.size).random(trace.asked.size) >= ratio
    at[large][out], positive[large][out] = np.nan, False
    return replace(trace, at=at, positive=positive)


def minutes_of(scenario: Scenario, trace: Trace) -> Minutes:
    """Cut a trace into whole minutes."""
    m = int(scenario.seconds // MINUTE)
    count, failed, mean, p99, slow, positives, true = (np.zeros((2, m)) for _ in range(7))
    for side in (0, 1):
        with np.errstate(invalid="ignore"):
            known = np.flatnonzero(trace.at[side] < m * MINUTE)
        index = (trace.at[side][known] / MINUTE).astype(np.int64)
        latency = trace.latency[side][known]
        count[side] = np.bincount(index, minlength=m)
        failed[side] = np.bincount(index, weights=trace.failed[side][known], minlength=m)
        with np.errstate(invalid="ignore"):
            mean[side] = np.bincount(index, weights=latency, minlength=m) / count[side]
        p99[side] = _quantiles(index, latency, count[side])
        slow[side] = np.bincount(index, weights=latency > usual(scenario).p99, minlength=m)
        with np.errstate(invalid="ignore"):
            met = np.maximum(trace.at[side], trace.label_at)
            acted = np.flatnonzero(trace.positive[side] & (met < m * MINUTE))
        when = (met[acted] / MINUTE).astype(np.int64)
        positives[side] = np.bincount(when, minlength=m)
        true[side] = np.bincount(when, weights=trace.truth[acted], minlength=m)
    return Minutes(count, failed, mean, p99, slow, positives, true)


def _quantiles(index: NDArray[np.int64], latency: Floats, count: Floats) -> Floats:
    """The 99th percentile of each minute's latencies (rank ceil(0.99 n))."""
    values = np.append(latency[np.lexsort((latency, index))], np.nan)
    ends = np.cumsum(count).astype(np.int64)
    ranks = ends - count.astype(np.int64) + np.ceil(0.99 * count).astype(np.int64) - 1
    return np.where(count > 0, values[np.clip(ranks, 0, latency.size)], np.nan)


def nominal_p99(scenario: Scenario) -> float:
    """The champion's p99 in seconds when nothing is wrong."""
    side = scenario.champion
    if side.pareto is not None:
        return side.median_seconds / 2 ** (1 / side.pareto) * 0.01 ** (-1 / side.pareto)
    return side.median_seconds * float(np.exp(2.326 * side.sigma))
