"""Metrics on holdout rows, of one server and of two on the same rows, with intervals. Pure.

Each metric is a ratio of two sums over rows (`comparator.label_metric`). Its interval, and that of the difference of two
on the same rows, is by the delta method: the variance of a ratio is that of its influence values (n - R d) / mean d
(Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics"). For hundreds of rows and more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from router.staging.check import Check

Floats = NDArray[np.float64]

Z = 1.6449
"""Of a one-sided bound at 95 %."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric on holdout rows: its value with bounds, each one-sided at 95 %, and the influence of each row."""

    value: float
    lower: float
    upper: float
    influence: Floats


@dataclass(frozen=True, slots=True)
class Answers:
    """What one server predicted for the holdout rows, shape (rows,); NaN: nothing."""

    prediction: Floats
    score: Floats


def figure(metric: LabelMetric, labels: Floats, answers: Answers) -> Figure | None:
    """The metric of one server; None: no row counts for it."""
    legal = metric.legal_label(labels)
    n, d = metric.quantities(labels[legal][:, None], answers.prediction[legal][:, None], answers.score[legal][:, None])
    n, d = n[:, 0], d[:, 0]
    if not d.sum():
        return None
    ratio = float(n.sum() / d.sum())
    influence = (n - ratio * d) / d.mean()
    spread = Z * float(influence.std()) / math.sqrt(influence.size)
    width, low = metric.rail.width, metric.rail.range[0] if metric.rail.range is not None else 0.0
    return Figure(
        low + ratio * width, low + (ratio - spread) * width, low + (ratio + spread) * width, influence * width
    )


def minimum(metric: LabelMetric, found: Figure | None, least: float) -> Check:
    """Whether the staged server reaches what the policy asks for."""
    name, better = f"{metric.rail.name}.minimum", metric.sign > 0
    asked = f"at {'least' if better else 'most'} {least:g}"
    if found is None:
        return Check(name, Verdict.INCONCLUSIVE, f"no holdout row counts for {metric.name}; expected {asked}")
    reached = found.value >= least if better else found.value <= least
    return Check(
        name,
        Verdict.PASS if reached else Verdict.FAIL,
        f"{metric.name} {found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}] through the staged server, expected {asked}",
        {"value": found.value, "lower": found.lower, "upper": found.upper, "asked": least},
    )


def no_regression(metric: LabelMetric, ours: Figure | None, theirs: Figure | None, margin: float) -> Check:
    """Whether the staged server is no worse than the champion by the margin, on the same rows."""
    name = f"{metric.rail.name}.no_regression"
    if ours is None or theirs is None:
        who = "the staged server" if ours is None else "the champion"
        return Check(name, Verdict.INCONCLUSIVE, f"no holdout row counts for {metric.name} of {who}")
    rows = ours.influence.size
    loss = metric.sign * (theirs.value - ours.value)
    spread = Z * float((theirs.influence - ours.influence).std()) / math.sqrt(rows)
    numbers = {"loss": loss, "lower": loss - spread, "upper": loss + spread, "margin": margin}
    text = (
        f"{metric.name} {ours.value:.3f} against the champion's {theirs.value:.3f} on the same {rows:,} rows: "
        f"worse by {loss:+.3f} [{loss - spread:+.3f}, {loss + spread:+.3f}], the margin is {margin:g}"
    )
    if loss - spread > margin:
        return Check(name, Verdict.FAIL, text, numbers)
    if loss + spread <= margin:
        return Check(name, Verdict.PASS, text, numbers)
    needed = math.ceil(rows * (spread / (margin - loss)) ** 2) if loss < margin else None
    more = f"; about {needed:,} rows would tell" if needed is not None and needed < 10**9 else ""
    return Check(name, Verdict.INCONCLUSIVE, text + more, numbers)


def reproduced(metric: LabelMetric, found: Figure | None, offline: float | None, tolerance: float) -> Check:
    """Whether the registry's offline figure is what the staged server shows: a leaked evaluation is not."""
    name = f"{metric.rail.name}.reproduced"
    if offline is None:
        return Check(name, Verdict.INCONCLUSIVE, f"no offline {metric.name} is recorded on the version")
    if found is None:
        return Check(name, Verdict.INCONCLUSIVE, f"no holdout row counts for {metric.name}")
    gap = metric.sign * (offline - found.value)
    best = found.upper if metric.sign > 0 else found.lower
    numbers = {"offline": offline, "value": found.value, "lower": found.lower, "upper": found.upper, "tolerance": tolerance}
    text = (
        f"offline {metric.name} {offline:.3f}, measured {found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}]; "
        f"it may be worse by {tolerance:g}"
    )
    if gap <= tolerance:
        return Check(name, Verdict.PASS, text, numbers)
    if metric.sign * (offline - best) > tolerance:
        return Check(name, Verdict.FAIL, f"{text}: the evaluation in the registry does not hold", numbers)
    return Check(name, Verdict.INCONCLUSIVE, text, numbers)
