"""How long requests are held in titleshot, apart from the time in the model: a histogram that proxies keep."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

OVERHEAD_BOUNDS: Final = tuple(float(f"{1e-5 * 1.5**i:.3g}") for i in range(30))
"""Upper bounds of the buckets, in seconds: 10 us to 1.3 s in steps of 50 %."""


class Overhead(msgspec.Struct, array_like=True):
    """Of one model, since the worker's start: requests by bucket (the last one: beyond all bounds), and their sum."""

    counts: list[int]
    seconds: float = 0.0

    @classmethod
    def none(cls) -> Overhead:
        """Nothing yet."""
        return cls([0] * (len(OVERHEAD_BOUNDS) + 1))

    def add(self, seconds: float) -> None:
        """Count one request."""
        self.counts[bisect_left(OVERHEAD_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def copy(self) -> Overhead:
        """As it is now."""
        return Overhead(list(self.counts), self.seconds)
