"""Quantiles within 1 % from log-spaced counts.

Masson, Rim, Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (VLDB 12).
The span of keys is fixed, so that a sketch is one array: values outside [1 microsecond, 3 hours] count at its ends.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ACCURACY = 0.01
SMALLEST = 1e-6
LARGEST = 1e4
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
_OFFSET = math.floor(math.log(SMALLEST) / _LOG_GAMMA)
BINS = math.ceil(math.log(LARGEST) / _LOG_GAMMA) - _OFFSET + 1


class Sketch:
    """Counts of positive values in bins whose bounds grow by 2 %; about 9 KB."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.count = 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Count finite values, shape (n,), in seconds; negative ones count as the smallest."""
        if values.size:
            keys = np.ceil(np.log(np.clip(values, SMALLEST, LARGEST)) / _LOG_GAMMA).astype(np.int64) - _OFFSET
            self.counts += np.bincount(np.clip(keys, 0, BINS - 1), minlength=BINS)
            self.count += int(values.size)

    def merge(self, other: Sketch) -> None:
        """Add another sketch's counts."""
        self.counts += other.counts
        self.count += other.count

    def at_rank(self, rank: int) -> float:
        """The value with this rank (1: the smallest), within 1 %; NaN when empty."""
        if self.count == 0:
            return math.nan
        wanted = min(max(rank, 1), self.count)
        key = int(np.searchsorted(np.cumsum(self.counts), wanted)) + _OFFSET
        return float(2 * _GAMMA**key / (_GAMMA + 1))

    def quantile(self, q: float) -> float:
        """The q-quantile, within 1 % of the value with rank ceil(q n); NaN when empty."""
        return self.at_rank(math.ceil(q * self.count))
