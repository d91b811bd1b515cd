"""One feature live beside its training: into which cell of the profile a value falls, and what counts say. Pure.

The population stability index of two samples of n and m rows of one distribution is about (1/n + 1/m) times a
chi-square variable with one degree of freedom less than there are cells (Yurdakul and Naranjo 2020): a small window has
a large PSI by chance alone. So a feature is named only where its PSI exceeds what is asked for and, besides, a quantile
of that distribution, whose tail is shared among all features that are compared (Bonferroni).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from comparator.chi_square import upper_quantile
from router.artifacts.profile import LEVELS, LONGEST_CATEGORY, SAMPLE_ROWS, is_missing, number_of

TAIL: Final = 0.001
"""Probability that any feature exceeds its quantile, at one look, while nothing has drifted. It is small because looks
are many: windows of 1 h that do not overlap are 24 a day."""

_LONGEST_SHOWN: Final = 60
_ABSENT: Final = 0
"""The cell of what has no value: null, and of numbers what is infinite or no number."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of a training profile, cut into cells.

    Args:
        name: of the column.
        rows: that its shares are known from.
        expected: the share of the training rows in each cell; shape (cells,).
        told: what is in each cell, in words.
        edges: of numbers; values up to one, and above the one before, share a cell.
        categories: of texts: category -> cell; the last cell has all others.
    """

    name: str
    rows: int
    expected: NDArray[np.float64]
    told: tuple[str, ...]
    edges: tuple[float, ...] = ()
    categories: Mapping[str, int] | None = None

    def cell(self, value: object) -> int:
        """Into which a live value falls."""
        if is_missing(value):
            return _ABSENT
        if self.categories is not None:
            text = str(value)[:LONGEST_CATEGORY]
            found = self.categories.get(text)
            if found is None and isinstance(value, bool):  # the training's file had it as JSON has it
                found = self.categories.get(text.lower())
            return len(self.told) - 1 if found is None else found
        number = number_of(value)
        if number is None or not math.isfinite(number):
            return _ABSENT
        return 1 + bisect_left(self.edges, number)


def feature(name: str, rows: int, column: Mapping[str, Any]) -> Feature | None:
    """A feature from its part of a profile; None: an earlier profile, which does not say what its quantiles reach."""
    absent = float(column["missing"]) + float(column.get("infinite", 0.0))
    there = max(0.0, 1 - absent)
    if column["kind"] != "number":
        top = [(str(category), float(share)) for category, share in column["top"]]
        shares = [absent, *(share * there for _, share in top)]
        expected = np.array([*shares, max(0.0, 1 - sum(shares))])
        told = ("no value", *(_shown(category) for category, _ in top), "any other value")
        return Feature(name, rows, expected, told, categories={each: 1 + at for at, (each, _) in enumerate(top)})
    if "reached" not in column:
        return None
    edges, reached = _edges({float(column["quantiles"][str(at)]): float(column["reached"][str(at)]) for at in LEVELS})
    least = min(map(float, column["quantiles"].values()))
    lows = (least, *edges[1:-1])
    between = (f"{low:.4g} to {high:.4g}" for low, high in zip(lows, edges[1:], strict=True))
    told = ("no number", f"below {least:.4g}", *between, f"above {edges[-1]:.4g}")
    expected = np.array([absent, *(np.diff([0.0, *reached, 1.0]) * there)])
    return Feature(name, min(rows, SAMPLE_ROWS), expected, told, edges=tuple(edges))


def _edges(reached: Mapping[float, float]) -> tuple[list[float], list[float]]:
    """The upper edges of cells, and the share of the training rows up to each: from quantile -> share.

    The first one is right below the least value, so that what training never had is in a cell of its own, as is what is
    above the last one. Values that many rows have are edges once, however many quantiles they are.
    """
    values = sorted(reached)
    edges, shares = [math.nextafter(values[0], -math.inf)], [0.0]
    for value in values[:-1]:
        if reached[value] > shares[-1]:
            edges.append(value)
            shares.append(reached[value])
    return [*edges, values[-1]], [*shares, 1.0]


@dataclass(frozen=True, slots=True)
class Compared:
    """One feature at one moment.

    Args:
        name: of the column.
        rows: live ones in the window.
        psi: the population stability index, all cells together.
        by_chance: its mean while nothing has drifted.
        threshold: what it has to exceed to be named: what is asked for, or the quantile, whichever is more.
        skewed: whether it does; None: there are too few rows to say.
        ks: largest difference of the two distribution functions at the edges, of numbers.
        ks_bound: about the probability of so large a one by chance, at most (Dvoretzky, Kiefer, Wolfowitz; Massart).
        where: the cell that differs most, in words.
        live: its share of the live rows.
        training: its share of the training rows.
    """

    name: str
    rows: int
    psi: float
    by_chance: float
    threshold: float
    skewed: bool | None
    ks: float | None
    ks_bound: float | None
    where: str
    live: float
    training: float


def compared(feature: Feature, counts: NDArray[np.int64], *, limit: float, least_rows: int, among: int) -> Compared:
    """Live counts, one per cell and some above 0, against the training profile.

    Args:
        feature: the training.
        counts: live rows in each cell; shape (cells,).
        limit: the PSI that matters.
        least_rows: fewer say nothing.
        among: so many features are compared with this one.
    """
    rows = int(counts.sum())
    noise = 1 / rows + 1 / feature.rows
    live = counts / rows
    # no share is less than one row's: the logarithm of nothing is no figure, and that of hardly anything is chance
    floor = max(1 / rows, 1 / feature.rows)
    ours, theirs = np.maximum(live, floor), np.maximum(feature.expected, floor)
    parts = (ours - theirs) * np.log(ours / theirs)
    psi = float(parts.sum())
    degrees = max(1, int(np.count_nonzero(feature.expected * rows >= 1)) - 1)
    threshold = max(limit, noise * upper_quantile(degrees, TAIL / among))
    ks = _ks(feature, counts) if feature.categories is None else None
    most = int(np.argmax(parts))
    return Compared(
        name=feature.name,
        rows=rows,
        psi=psi,
        by_chance=degrees * noise,
        threshold=threshold,
        skewed=psi > threshold if rows >= least_rows else None,
        ks=ks,
        ks_bound=min(1.0, 2 * math.exp(-2 * ks * ks / noise)) if ks is not None else None,
        where=feature.told[most],
        live=float(live[most]),
        training=float(feature.expected[most]),
    )


def _ks(feature: Feature, counts: NDArray[np.int64]) -> float | None:
    """Of the values that are numbers on both sides."""
    live, there = counts[1:], feature.expected[1:]
    if not live.sum() or not there.sum():
        return None
    return float(np.max(np.abs(np.cumsum(live) / live.sum() - np.cumsum(there) / there.sum())))


def _shown(category: str) -> str:
    """A category that anybody may have written, for people."""
    return category if category.isprintable() and len(category) <= _LONGEST_SHOWN else "a category that cannot be shown"
