"""The metrics from labels: each is a ratio of two quantities of a side's rows, sum n over sum d.

    precision  n = l p             d = p                of what is predicted positive
    recall     n = l p             d = l                of what is labelled positive
    accuracy   n = [p = l]         d = 1
    f1         n = 2 l p           d = p + l            2 TP / (2 TP + FP + FN)
    brier      n = (score - l)^2   d = 1                a loss
    mae        n = |p - l| / r     d = 1                a loss; an error beyond r counts as r
    rmse       n = |p - l|^2 / r^2 d = 1                a loss; the same; shown as the root, see below
    reward     n = (l - low) / w   d = 1                the label is the reward of the action taken; w = high - low

(and means over classes, see `macro`: of those n / d here is only their accuracy.)

l is the label and p the prediction, of classes 0 or 1. Of one class of several, l and p are 1 where they are that class
and 0 where they are another; accuracy then is of all of them: micro precision, micro recall and micro F1 are the same.
Where a side has no prediction (brier: no legal score), its n and d are 0: its ratio is of the rows that it predicted.
Always 0 <= n <= d, and d is 0, 1 or 2.

n is rounded to multiples of 2^-24: sums over some 10^8 rows are then exact, in any order and however they are cut.

Bounds. As n <= d, n_A d_B - n_B d_A <= n_A (d_B - n_B) <= max n * max (d - n), which is 2 for f1 and 1 for all others.
Of a block of m rows, without its diagonal, (m - 1) / m of that is left. Of precision n > 0 needs a true label and
d - n > 0 a false one: with k true labels the sum is at most k (m - k), a quarter of m^2.

An RMSE is no ratio, but rises with one, the mean squared error: RMSE_B <= (1 + m) RMSE_A is MSE_B <= (1 + m)^2 MSE_A.
So its margin is relative, and what it adds to a bet is ((1 + m)^2 - 1) n_A d_B in the place of a margin times d_A d_B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparator.rail import CLASS_METRICS, NUMBER_METRICS, RELATIVE, SCORE_METRICS, Guardrail, Metric, code, said

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Parts = tuple[Any, Any]

GRAIN = 2.0**24


def _precision(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    positive = prediction == 1.0
    return label * positive, positive


def _recall(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    return label * (prediction == 1.0), label * ~np.isnan(prediction)


def _accuracy(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    return prediction == label, ~np.isnan(prediction)


def _f1(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    positive = prediction == 1.0
    return 2 * label * positive, (positive + label) * ~np.isnan(prediction)


def _brier(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    legal = (score >= 0) & (score <= 1)
    return np.where(legal, (np.where(legal, score, 0.0) - label) ** 2, 0.0), legal


def _calibration(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    """The rows that count; what it is of them is told in `calibration`."""
    legal = (score >= 0) & (score <= 1)
    return np.zeros(score.shape), legal


def _mae(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    legal = np.isfinite(prediction)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.where(legal, prediction, 0.0) / rail.width - label / rail.width)
    return np.where(legal, np.fmin(error, 1.0), 0.0), legal


def _rmse(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:
    error, legal = _mae(label, prediction, score, rail)
    return error**2, legal


def _reward(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    low, high = rail.range or (0.0, 1.0)
    return (np.clip(label, low, high) - low) / rail.width, np.ones(label.shape)


def _macro(label: Floats, prediction: Floats, score: Floats, rail: Guardrail) -> Parts:  # noqa: ARG001
    """Of a mean over classes: the rows that count for one of them, and those that are right."""
    codes = [code(each) for each in rail.classes or ()]
    counts = np.isin(prediction, codes)
    if rail.metric is Metric.RECALL:
        counts = np.isin(label, codes) & ~np.isnan(prediction)
    return counts & (prediction == label), counts


_QUANTITIES: Mapping[Metric, Callable[[Floats, Floats, Floats, Guardrail], Parts]] = {
    Metric.PRECISION: _precision,
    Metric.RECALL: _recall,
    Metric.ACCURACY: _accuracy,
    Metric.F1: _f1,
    Metric.BRIER: _brier,
    Metric.CALIBRATION: _calibration,
    Metric.MAE: _mae,
    Metric.RMSE: _rmse,
    Metric.REWARD: _reward,
}

_WORDS: Mapping[Metric, tuple[str, str]] = {
    Metric.PRECISION: ("precision", "labelled positives"),
    Metric.RECALL: ("recall", "requests labelled positive"),
    Metric.ACCURACY: ("accuracy", "labelled requests"),
    Metric.F1: ("F1", "labelled requests that are positive by label or prediction"),
    Metric.BRIER: ("Brier score", "labelled requests with a score"),
    Metric.CALIBRATION: ("calibration error", "labelled requests with a score"),
    Metric.MAE: ("mean absolute error", "labelled requests"),
    Metric.RMSE: ("root mean squared error", "labelled requests"),
    Metric.REWARD: ("reward", "labelled requests"),
}

_WORDS_OF_A_CLASS: Mapping[Metric, str] = {
    Metric.PRECISION: "labelled predictions of {}",
    Metric.RECALL: "requests labelled {}",
    Metric.F1: "labelled requests that are {} by label or prediction",
}


@dataclass(frozen=True, slots=True)
class LabelMetric:
    """One guardrail's metric from labels.

    Args:
        rail: the guardrail.
        multiclass: labels and predictions are classes of which none is the positive one.
    """

    rail: Guardrail
    multiclass: bool = False

    def quantities(self, label: Floats, prediction: Floats, score: Floats) -> tuple[Floats, Floats]:
        """(n, d) of each row and side.

        Args:
            label: shape (n, 1), legal.
            prediction: shape (n, sides); NaN: none.
            score: shape (n, sides); NaN: none.
        """
        quantities = _QUANTITIES[self.rail.metric] if self.rail.classes is None else _macro
        n, d = quantities(self.coded(label), self.coded(prediction), score, self.rail)
        shape = prediction.shape
        return (
            np.broadcast_to(np.round(np.asarray(n, dtype=np.float64) * GRAIN) / GRAIN, shape),
            np.broadcast_to(np.asarray(d, dtype=np.float64), shape),
        )

    def coded(self, classes: Floats) -> Floats:
        """Of one class of several: 1 where it is that class, 0 where it is another; else as they are."""
        if self.rail.of is None:
            return classes
        return np.where(np.isnan(classes), np.nan, classes == code(self.rail.of))

    def legal_label(self, label: Floats) -> Mask:
        """Which labels say something: of two classes 0 and 1, else every finite number."""
        if self.rail.metric in CLASS_METRICS and not self.multiclass:
            return np.asarray((label == 0.0) | (label == 1.0))
        return np.asarray(np.isfinite(label))

    def bad_score(self, score: Floats) -> Mask:
        """Which scores are there and cannot be a probability; only metrics of scores read them."""
        if self.rail.metric not in SCORE_METRICS:
            return np.zeros(score.shape, dtype=np.bool_)
        return ~np.isnan(score) & ~((score >= 0) & (score <= 1))

    # ---- bounds and direction

    @property
    def sign(self) -> float:
        """1 where more is better, -1 of a loss."""
        return -1.0 if self.rail.metric in NUMBER_METRICS | SCORE_METRICS else 1.0

    @property
    def relative(self) -> bool:
        """Whether the margin is relative to the reference's figure."""
        return self.rail.metric in RELATIVE

    @property
    def allowance(self) -> float:
        """The margin, as a part of d_A d_B, of a relative one of n_A d_B."""
        return (1 + self.rail.margin) ** 2 - 1 if self.relative else self.rail.margin / self.rail.width

    @property
    def canary_bound(self) -> float:
        """Max n * max (d - n)."""
        return 2.0 if self.rail.metric is Metric.F1 else 1.0

    def block(self, precision: int) -> int:
        """How many pairs make a block: `precision` of precision, whose bound does not grow with it; else 2.

        Where both sides have the same denominators, two rows lose nothing and their bound is half: to prove equal
        models no worse then takes half the labels or fewer that blocks of 8 take, to find a loss never more.
        """
        return precision if self.rail.metric is Metric.PRECISION else 2

    def pair_bound(self, size: int) -> float:
        """The same without the diagonal of `size` rows; of precision a quarter."""
        if self.rail.classes is not None:
            return 1.0
        if self.rail.metric is Metric.PRECISION:
            return 0.25
        return self.canary_bound * (size - 1) / size

    @property
    def in_pairs(self) -> bool:
        """Whether both sides of a shadow pair have the metric: of a reward only the action taken does."""
        return self.rail.metric is not Metric.REWARD

    @property
    def by_prediction(self) -> bool:
        """Whether a side's own prediction decides what rows its metric is of."""
        return self.rail.metric in (Metric.PRECISION, Metric.F1) and self.rail.classes is None

    @property
    def apart(self) -> float:
        """Predictions that differ by no more are as good as the same."""
        margin = self.rail.margin * (self.rail.width if self.relative else 1.0)
        return margin if self.rail.metric in NUMBER_METRICS else 0.0

    # ---- as people see it

    @property
    def name(self) -> str:
        """In a sentence."""
        name = _WORDS[self.rail.metric][0]
        if self.rail.classes is not None:
            return f"macro {name}"
        return name if self.rail.of is None else f"{name} of {said(self.rail.of)}"

    @property
    def rows(self) -> str:
        """What it is counted in, in a sentence."""
        if self.rail.classes is not None:
            return "labelled predictions" if self.rail.metric is Metric.PRECISION else "labelled requests"
        if self.rail.of is None:
            return _WORDS[self.rail.metric][1]
        return _WORDS_OF_A_CLASS[self.rail.metric].format(said(self.rail.of))

    def share(self, n: float) -> float:
        """A sum of n as a number of successes, at most one of each row with d > 0."""
        return n / self.canary_bound

    def shown(self, share: float) -> float:
        """The metric in its own units, from the share of successes among rows with d > 0; rising."""
        if self.rail.metric is Metric.F1:
            return 2 * share / (1 + share)  # of TP / (TP + FP + FN)
        if self.rail.metric is Metric.RMSE:
            return math.sqrt(share) * self.rail.width
        low = self.rail.range[0] if self.rail.range is not None else 0.0
        return low + share * self.rail.width

    def worse(self, theirs: float, ours: float) -> float:
        """How much worse the trial version's figure is than the reference's, in the margin's units."""
        if not self.relative:
            return self.sign * (theirs - ours)
        least = math.sqrt(1 / GRAIN) * self.rail.width  # of a reference without any error: it has no ratio
        return ours / max(theirs, least) - 1
