"""The test behind a mean over classes (macro precision, macro recall): what is tested, and why it holds.

Of a side, r_c is the probability that a row which counts for class c (predicted c; of recall: labelled c) is right, and
M = sum of r_c / K over the K classes of the guardrail. Tested is M itself, against "M_B >= M_A" (harm) and "M_B <= M_A
- margin" (no harm): neither each class by itself, nor the ratio of sums, which is accuracy.

No sum over all rows has the mean M: it is a mean of ratios, whose denominators are random. But the first m rows of a
side that count for class c, from any moment on that was chosen without looking ahead, are right with probability r_c
each, whatever came between: x_c, the share of them that is right, has the mean r_c exactly. So a block goes on until
both sides have their m_c rows of every class, and

    W = sum (x_Ac - x_Bc) / K,    E[W] = M_A - M_B,    -1 <= W <= 1

is bet on as ever (`ratio`). The next block begins with the next row. How many rows of a class a block takes is set
before it, from the rows before: as many as come while the rarest class of the two sides comes once, 16 at most. In
shadow, rows on which both sides say the same count alike for both and cancel out. In a canary a row is of its side.

A class that a side never predicts has no precision, and M none: no block ends, and nothing is said. A block's means are
rounded to multiples of 2^-24, as all that is summed here. The bounds of an estimate are means of the classes' bounds,
each at alpha / K.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from comparator.coverage import either
from comparator.guardrail import Estimate
from comparator.label_metric import GRAIN, LabelMetric
from comparator.policy import Guardrail, Policy
from comparator.rail import Metric, code
from comparator.ratio import RatioTest, Rows
from comparator.sequence import Floats, ratio_bounds

MOST_ROWS = 16
"""Of one class and side in a block."""

Grid = list[list[int]]
"""A number for each side (reference, trial) and class."""


def _grid(classes: int) -> Grid:
    return [[0] * classes for _ in range(2)]


class MacroBlock:
    """The block under way, of pairs or of a canary."""

    def __init__(self, classes: int) -> None:
        self.seen = _grid(classes)  # rows that counted, in this block and before
        self.have = _grid(classes)
        self.right = _grid(classes)
        self.need = [1] * classes

    def take(self, kinds: NDArray[np.int64], right: NDArray[np.bool_]) -> list[tuple[int, float, float]]:
        """The blocks that rows complete: by which of them, and the mean of each side.

        Args:
            kinds: the class that a row counts for, -1: none; shape (rows, sides).
            right: whether it is right there; the same shape.
        """
        classes = range(len(self.need))
        at = [[np.flatnonzero(kinds[:, side] == each).tolist() for each in classes] for side in (0, 1)]
        hits = [
            [[0, *accumulate(right[at[side][each], side].astype(int).tolist())] for each in classes] for side in (0, 1)
        ]
        begin = _grid(len(self.need))
        found: list[tuple[int, float, float]] = []
        cells = [(side, each) for side in (0, 1) for each in classes]
        while True:
            end = self._end(at, begin, cells)
            for side, each in cells:
                first, places = begin[side][each], at[side][each]
                past = bisect_right(places, end) if end is not None else len(places)
                wanted = min(past, first + self.need[each] - self.have[side][each])
                self.right[side][each] += hits[side][each][wanted] - hits[side][each][first]
                self.have[side][each] += wanted - first
                self.seen[side][each] += past - first
                begin[side][each] = past
            if end is None:
                return found
            found.append((end, *self._means()))
            self._begin()

    def _end(self, at: list[Grid], begin: Grid, cells: list[tuple[int, int]]) -> int | None:
        """The row that completes the block; None: it is not among these."""
        end = -1
        for side, each in cells:
            wanted = self.need[each] - self.have[side][each]
            last = begin[side][each] + wanted - 1
            if wanted and last >= len(at[side][each]):
                return None
            if wanted:
                end = max(end, at[side][each][last])
        return end

    def _means(self) -> tuple[float, float]:
        """Of each side, to a multiple of 2^-24."""
        theirs, ours = (
            round(sum(right / need for right, need in zip(side, self.need, strict=True)) / len(self.need) * GRAIN)
            / GRAIN
            for side in self.right
        )
        return theirs, ours

    def _begin(self) -> None:
        classes = len(self.need)
        self.have, self.right = _grid(classes), _grid(classes)
        least = [min(one, other) for one, other in zip(*self.seen, strict=True)]
        self.need = [min(max(each // min(least), 1), MOST_ROWS) for each in least]


class MacroBlocks:
    """Cuts rows into blocks in which both sides have rows of every class; keeps the one under way."""

    def __init__(self, metric: LabelMetric) -> None:
        classes = metric.rail.classes or ()
        self._codes = np.sort(np.array([code(each) for each in classes]))
        self._of_prediction = metric.rail.metric is Metric.PRECISION
        self._pairs, self._canary = MacroBlock(len(classes)), MacroBlock(len(classes))
        self._clock = -math.inf
        self.right = np.zeros((2, len(classes)), dtype=np.int64)  # of all rows, by side and class
        self.count = np.zeros((2, len(classes)), dtype=np.int64)

    def cut(self, rows: Rows) -> tuple[Floats, NDArray[np.bool_], Floats, Floats, Floats]:
        """The blocks that these rows complete, in order: as `Blocks.cut`; the sums are 1 and the mean, of each side."""
        kinds, right = self._kinds(rows)
        for side in (0, 1):
            for told, which in ((self.count, kinds[:, side]), (self.right, kinds[right[:, side], side])):
                told[side] += np.bincount(which[which >= 0], minlength=self._codes.size)
        found = []
        for block, mine in ((self._pairs, rows.pair), (self._canary, ~rows.pair)):
            which = np.flatnonzero(mine & rows.counts)
            ended = block.take(kinds[which], right[which])
            found += [(int(which[last]), block is self._pairs, theirs, ours) for last, theirs, ours in ended]
        found.sort()
        index = np.array([each[0] for each in found], dtype=np.int64)
        at = np.maximum.accumulate(np.maximum(rows.at[index], self._clock))
        if at.size:
            self._clock = float(at[-1])
        pair = np.array([each[1] for each in found], dtype=np.bool_)
        means = np.array([each[2:] for each in found], dtype=np.float64).reshape(-1, 2)
        ones = np.ones(len(found))
        return at, pair, means[:, 0] - means[:, 1], ones, np.column_stack([ones, means[:, 0], ones, means[:, 1]])

    def _kinds(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The class that each row counts for, and whether it is right, of the reference and of the trial version."""
        kinds, right = [], []
        for d, n, mine in ((rows.d_ref, rows.n_ref, rows.theirs), (rows.d_trial, rows.n_trial, rows.ours)):
            said = either(np.where(mine, rows.prediction, 0.0)) if self._of_prediction else rows.label
            kinds.append(np.where(d > 0, np.searchsorted(self._codes, np.where(d > 0, said, 0.0)), -1))
            right.append(n > 0)
        return np.column_stack(kinds), np.column_stack(right)


class MacroTest(RatioTest):
    """The same evidence as of any metric from labels, of a mean over classes."""

    def __init__(self, policy: Policy, rail: Guardrail, versions: tuple[int, int], offline: float | None) -> None:
        super().__init__(policy, rail, versions, offline)
        self._macro = MacroBlocks(self.metric)

    def _weigh(self, rows: Rows) -> None:
        at, pair, w, allowed, sums = self._macro.cut(rows)
        self._keep(sums[:, 3], sums[:, 2])
        self._bet(at, pair, w, allowed, sums)

    @property
    def unseen(self) -> int:
        """How many classes one of the two has no row of yet."""
        return int(np.count_nonzero(self._macro.count.min(axis=0) == 0))

    def estimate(self, side: int, alpha: float) -> Estimate | None:
        """The figure of a side in its own units; None: of some class there is no row yet."""
        count, right = self._macro.count[side].tolist(), self._macro.right[side].tolist()
        if not min(count):
            return None
        bounds = [ratio_bounds(hits, rows, alpha / len(count)) for hits, rows in zip(right, count, strict=True)]
        lower, upper = (sum(each) / len(count) for each in zip(*bounds, strict=True))
        value = sum(hits / rows for hits, rows in zip(right, count, strict=True)) / len(count)
        return Estimate(value, lower, upper, self.counts[side])
