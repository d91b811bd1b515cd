"""Live values of the last so many seconds, counted in the cells of their features. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router.control.skew.drift import Feature
from router.protocols.protocol import Table

SLICES: Final = 12
"""That the window is cut into: the oldest one goes as a whole."""


class Window:
    """Counts of all features of one version.

    Args:
        features: which.
        seconds: how long; what was counted is kept for at least so long, and for at most a slice more.
        known: whether the features are those of a signature: then a request without one of them lacks it. Else a
            column that no request has had is none of the model's.
    """

    def __init__(self, features: Sequence[Feature], seconds: float, *, known: bool) -> None:
        self.features = tuple(features)
        self._begins = list(accumulate((each.expected.size for each in self.features), initial=0))
        self._slice_seconds = seconds / SLICES
        self._slices: deque[tuple[int, list[int]]] = deque()
        self._seen = [known] * len(self.features)

    def take(self, table: Table, at: float) -> None:
        """Count the rows of a request that was taken at `at` (of any clock that never runs backwards)."""
        counts = self._now(at)
        read = min(table.rows, max(map(len, table.columns.values()), default=0))
        for index, (feature, begin) in enumerate(zip(self.features, self._begins, strict=False)):
            values = table.columns.get(feature.name)
            if values is not None:
                self._seen[index] = True
                for value in values:
                    counts[begin + feature.cell(value)] += 1
            elif self._seen[index]:
                counts[begin + feature.cell(None)] += read

    def counts(self, at: float) -> list[NDArray[np.int64]]:
        """Of each feature, in order: shape (its cells,)."""
        self._forget(at)
        whole = np.zeros(self._begins[-1], dtype=np.int64)
        for _, counts in self._slices:
            whole += np.array(counts, dtype=np.int64)
        return [whole[begin:end] for begin, end in pairwise(self._begins)]

    def _now(self, at: float) -> list[int]:
        number = int(at / self._slice_seconds)
        if not self._slices or self._slices[-1][0] != number:
            self._forget(at)
            self._slices.append((number, [0] * self._begins[-1]))
        return self._slices[-1][1]

    def _forget(self, at: float) -> None:
        oldest = int(at / self._slice_seconds) - SLICES
        while self._slices and self._slices[0][0] < oldest:
            self._slices.popleft()
