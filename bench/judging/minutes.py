"""A trace as peers see it: what their metrics server has of each minute, of the champion and of the challenger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from judging.traces import Scenario, Trace
from numpy.typing import NDArray

MINUTE = 60.0


@dataclass(frozen=True)
class Minutes:
    """Columns of shape (2, minutes): champion, challenger. Ratios and quantiles are NaN where there was nothing."""

    answers: NDArray[np.float64]
    failed: NDArray[np.float64]
    p99: NDArray[np.float64]  # seconds
    latency_sum: NDArray[np.float64]
    latency_squares: NDArray[np.float64]
    slow: NDArray[np.float64]  # answers slower than `tau`
    labelled: NDArray[np.float64]  # predicted positives that got their label in this minute
    true: NDArray[np.float64]
    tau: float  # the champion's p99 over the whole trace without incidents: what an operator would have configured

    @property
    def count(self) -> int:
        """How many minutes."""
        return self.answers.shape[1]


def minutes_of(scenario: Scenario, trace: Trace) -> Minutes:
    """Add a trace up by the minute."""
    count = int(scenario.seconds // MINUTE)
    shape = (2, count)
    answers, failed, sums, squares, slow, labelled, true = (np.zeros(shape) for _ in range(7))
    p99 = np.full(shape, np.nan)
    tau = nominal_p99(scenario)
    for side in (0, 1):
        seen = ~np.isnan(trace.at[side])
        minute = (trace.at[side][seen] // MINUTE).astype(np.int64)
        latency = trace.latency[side][seen]
        keep = minute < count
        minute, latency = minute[keep], latency[keep]

        def add(weights: NDArray[np.float64] | None = None, minute: NDArray[np.int64] = minute) -> NDArray[np.float64]:
            return np.bincount(minute, weights=weights, minlength=count)

        answers[side], failed[side] = add(), add(trace.failed[side][seen][keep].astype(float))
        sums[side], squares[side], slow[side] = add(latency), add(latency**2), add((latency > tau).astype(float))
        order = np.lexsort((latency, minute))
        ends = np.searchsorted(minute[order], np.arange(count), side="right")
        ranks = ends - np.maximum(np.floor(answers[side] * 0.01), 0).astype(np.int64) - 1
        some = answers[side] > 0
        p99[side][some] = latency[order][ranks[some]]
        told = trace.positive[side] & np.isfinite(trace.label_at)
        when = np.maximum(trace.label_at[told], trace.at[side][told]) // MINUTE
        inside = when < count
        labelled[side] = np.bincount(when[inside].astype(np.int64), minlength=count)
        true[side] = np.bincount(
            when[inside].astype(np.int64), weights=trace.truth[told][inside].astype(float), minlength=count
        )
    return Minutes(answers, failed, p99, sums, squares, slow, labelled, true, tau)


def nominal_p99(scenario: Scenario) -> float:
    """The champion's p99 in seconds when nothing is wrong."""
    side = scenario.champion
    if side.pareto is not None:
        return side.median_seconds / 2 ** (1 / side.pareto) * 0.01 ** (-1 / side.pareto)
    return side.median_seconds * float(np.exp(2.326 * side.sigma))
