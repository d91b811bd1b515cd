"""Whether labels reach, in shadow, what only one side would have acted on: else a metric cannot be told.

The classic trap is a label that exists only where the champion acted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from comparator.events import Mode

if TYPE_CHECKING:
    from comparator.events import Columns
    from comparator.label_metric import LabelMetric
    from comparator.pairing import Joined

ENOUGH_TO_COMPARE = 10
"""Rows that the trial version alone found (or that the two disagree on), below which nothing is said."""


Column = TypeVar("Column", NDArray[np.float64], NDArray[np.bool_])


def either(sides: Column) -> Column:
    """Of whichever side there is: shape (n, 2) -> (n,). Columns are much faster than sums of two."""
    return np.asarray(sides[:, 0] + sides[:, 1])


class Coverage:
    """Counts shadow pairs, and those of them that met their label.

    Of a metric by prediction: the reference's positives, and those of the trial version alone. Of any other: the rows
    on which the two agree, and those on which the trial version says more, and less, each for itself: together, labels
    of one kind would hide that the other has none. Classes disagree where they differ, numbers beyond
    the margin (of an RMSE: that part of its range).

    Args:
        metric: of which the coverage is asked.
        versions: (trial, reference).
    """

    def __init__(self, metric: LabelMetric, versions: tuple[int, int]) -> None:
        self._metric = metric
        self._versions = versions
        self._seen = np.zeros(3, dtype=np.int64)
        self._labelled = np.zeros(3, dtype=np.int64)

    def take(self, joined: Joined) -> None:
        """Take rows of which both sides came, and rows that are complete."""
        if self._metric.in_pairs:
            self._seen += self._counts(joined.paired)
            self._labelled += self._counts(joined.completed)

    def _counts(self, rows: Columns) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Rows by kind: (to compare with, only the trial version or says more, says less), shape (3,)."""
        if not rows.size:
            return np.zeros(3, dtype=np.int64)
        rows = rows[(rows["mode"] == Mode.SHADOW) & (rows["sides"] == 2)]
        version, prediction = rows["version"], self._metric.coded(rows["prediction"])
        ours, theirs = (version == each for each in self._versions)
        mine = either(ours) & either(theirs)
        if self._metric.by_prediction:
            positive = prediction == 1.0
            trial, reference = either(positive & ours), either(positive & theirs)
            kinds = (mine & reference, mine & trial & ~reference, np.zeros(mine.shape, dtype=bool))
        else:
            trial, reference = (either(np.where(side, prediction, 0.0)) for side in (ours, theirs))
            least = self._metric.apart
            more = trial - reference
            kinds = (mine & (np.abs(more) <= least), mine & (more > least), mine & (more < -least))
        return np.array([np.count_nonzero(kind) for kind in kinds], dtype=np.int64)

    @property
    def shares(self) -> tuple[float, float] | None:
        """Shares labelled: of what is compared with, and of what only one side says (the lesser); None: too few."""
        told = [self._labelled[kind] / self._seen[kind] for kind in (1, 2) if self._seen[kind] >= ENOUGH_TO_COMPARE]
        if self._seen[0] == 0 or not told:
            return None
        return float(self._labelled[0] / self._seen[0]), float(min(told))
