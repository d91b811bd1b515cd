"""How far two distributions of scores lie apart: the population stability index, beside what chance alone makes of it.

Scores from 0 to 1 fall into cells of equal width. The index of two samples of n and m scores of one distribution is
about (1/n + 1/m) times a chi-square variable with one degree of freedom less than there are cells with scores (Yurdakul
and Naranjo 2020): a small window has a large index by chance. Scores of the same requests vary together, so that
theirs by chance is smaller still: what exceeds the threshold does so all the more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from comparator.chi_square import upper_quantile

CELLS: Final = 20
TAIL: Final = 0.001
"""Probability of exceeding the threshold at one look, while both have one distribution."""

_HALF: Final = 0.5  # of a score in every cell: an empty one has a logarithm then

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shift:
    """The index of two samples.

    Args:
        psi: of all cells that have scores.
        by_chance: its mean while both have one distribution.
        threshold: what chance alone exceeds with probability TAIL.
    """

    psi: float
    by_chance: float
    threshold: float


def cells_of(scores: NDArray[np.float64]) -> Counts:
    """How many of the scores, each from 0 to 1, are in each cell: shape (CELLS,)."""
    at = np.minimum((scores * CELLS).astype(np.intp), CELLS - 1)
    return np.bincount(at, minlength=CELLS).astype(np.int64)


def shift(one: Counts, two: Counts) -> Shift | None:
    """Of two samples, each shape (CELLS,); None: one of them has no scores, or all are in one cell."""
    there = (one + two) > 0
    n, m, cells = int(one.sum()), int(two.sum()), int(np.count_nonzero(there))
    if not n or not m or cells < 2:
        return None
    p = (one[there] + _HALF) / (n + _HALF * cells)
    q = (two[there] + _HALF) / (m + _HALF * cells)
    noise = 1 / n + 1 / m
    return Shift(float(np.sum((p - q) * np.log(p / q))), noise * (cells - 1), noise * upper_quantile(cells - 1, TAIL))
