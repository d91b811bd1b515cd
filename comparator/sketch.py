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


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value, shape (n,), in seconds; those out of the span count at its ends."""
    keys = np.ceil(np.log(np.clip(values, SMALLEST, LARGEST)) / _LOG_GAMMA).astype(np.int64) - _OFFSET
    return np.clip(keys, 0, BINS - 1)


class Sketch:
    """Counts of positive values in bins whose bounds grow by 2 %; about 9 KB."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.count = 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Count finite values, shape (n,), in seconds; negative ones count as the smallest."""
        self.add_bins(bins_of(np.asarray(values, dtype=np.float64)))

    def add_bins(self, bins: NDArray[np.int64]) -> None:
        """Count values by their bins, shape (n,)."""
        if bins.size:
            self.counts += np.bincount(bins, minlength=BINS)
            self.count += int(bins.size)

    def merge(self, other: Sketch) -> None:
        """Add another sketch's counts."""
        self.counts += other.counts
        self.count += other.count

    def remove(self, other: Sketch) -> None:
        """Take away counts that were merged before."""
        self.counts -= other.counts
        self.count -= other.count

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
