"""Bounds that hold for any number of rows, however few. Pure.

Of counts they are exact (Clopper and Pearson 1934). Of means of bounded values, and of the difference of two ratios on
the same rows, they are by betting: for a bet x >= 0 that cannot lose more than all, the mean of prod(1 + x z_i) is at
most 1 while the mean of z is at most 0, so that it reaches 1 / alpha with probability alpha at most (Markov;
Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"). Nothing is asymptotic in it,
and rows may come in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comparator.calibration import differences, error_of, least_of_means, mean_of_least
from comparator.sequence import log_mean_exp

Floats = NDArray[np.float64]

ALPHA = 0.05
"""Of each bound by itself: of a hundred versions that lie just beyond it, five at most get past."""

NUISANCE_ALPHA = 0.005
"""Of it, for not knowing the other side's ratio (Berger and Boos 1994)."""

_BETS = 0.99 * 2.0 ** -np.arange(13)  # as shares of the largest bet allowed
_STEPS = 44
_FEW_STEPS = 12


def binomial_bounds(successes: int, count: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper bound of a probability, each by itself at 1 - alpha."""
    if not 0 <= successes <= count:
        raise ValueError(f"expected 0 to {count} successes, not {successes}")
    log_choices = _log_choices(count)
    lower = _edge(lambda p: _log_tail(log_choices, p, successes, count) <= math.log(alpha)) if successes else 0.0
    upper = 1.0
    if successes < count:  # the same of the failures
        failures = count - successes
        upper = 1 - _edge(lambda p: _log_tail(log_choices, p, failures, count) <= math.log(alpha))
    return lower, upper


def quantile_ranks(count: int, q: float, alpha: float = ALPHA) -> tuple[int, int]:
    """Ranks (1: the smallest) below and above which the q-quantile does not lie, each by itself at 1 - alpha.

    0 and count + 1: there are too few values for that bound.
    """
    log_p = _log_probabilities(_log_choices(count), q)
    below = np.logaddexp.accumulate(log_p)  # below[k]: at most k of the values lie below the quantile
    above = np.logaddexp.accumulate(log_p[::-1])[::-1]  # above[k]: at least k of them
    low = int(np.searchsorted(below, math.log(alpha), side="right"))  # P(at most low - 1) <= alpha
    high = int(np.argmax(above <= math.log(alpha))) if above[-1] <= math.log(alpha) else count + 1
    return low, high


@dataclass(frozen=True, slots=True)
class Rows:
    """Distinct rows of (n, d) of one side, or of both, and how often each came."""

    values: Floats  # shape (distinct, 2) or (distinct, 4): n, d of the champion, then of the version
    times: Floats

    @classmethod
    def of(cls, *columns: Floats) -> Rows:
        """Of all rows."""
        values, times = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
        return cls(values, times.astype(np.float64))

    @property
    def sums(self) -> Floats:
        """Of each column."""
        return np.asarray(self.times @ self.values)


def mean_bounds(rows: Rows, alpha: float = ALPHA) -> tuple[float, float]:
    """Bounds for sum n / sum d of one side, where 0 <= n <= d and d is 0 or 1; each by itself at 1 - alpha."""
    n, d = rows.values.T

    def too_low(r: float) -> bool:
        return _log_e(n - r * d, rows.times, r) >= -math.log(alpha)

    def too_high(r: float) -> bool:
        return _log_e(r * d - n, rows.times, 1 - r) >= -math.log(alpha)

    return _edge(too_low), 1 - _edge(lambda r: too_high(1 - r))


@dataclass(frozen=True, slots=True)
class Loss:
    """How much lower the version's ratio is than the champion's on the same rows, with bounds by themselves."""

    value: float
    lower: float
    upper: float


class PairedLoss:
    """The champion's ratio less the version's, on the same rows.

    With a the champion's ratio and a - x the version's, z = (n' - (a - x) d') - (n - a d) has mean 0: what both share
    cancels out. a is not known: the bets have to win wherever it may lie.

    Args:
        rows: n, d of the champion and n, d of the version; 0 <= n <= d.
        bound: of max n * max (d - n), see `comparator.label_metric`: what a row can lose at most.
        ratio: bounds of the champion's ratio, each at 1 - NUISANCE_ALPHA / (2 parts).
        parts: this is one of so many that have to hold together: each bound has a part of alpha.
    """

    def __init__(self, rows: Rows, bound: float, ratio: tuple[float, float], parts: int = 1) -> None:
        self._rows = rows
        self._parts = parts
        self._bound = bound
        self._ratio = ratio
        n, d, n_ours, d_ours = rows.sums
        self.value = float(n / d - n_ours / d_ours)

    def loss(self) -> Loss:
        """The bounds."""
        upper = 1 - 2 * _edge(lambda t: self.less_than(1 - 2 * t))
        lower = 2 * _edge(lambda t: self.more_than(2 * t - 1)) - 1
        return Loss(self.value, min(lower, self.value), max(upper, self.value))

    def less_than(self, x: float) -> bool:
        """Whether the rows show that the loss is less than x."""
        return _reached(self.logs(x, 1.0), self._parts)

    def more_than(self, x: float) -> bool:
        """Whether the rows show that the loss is more than x."""
        return _reached(self.logs(x, -1.0), self._parts)

    def times_needed(self, x: float) -> float:
        """How often rows like these would have to come to tell on which side of x the loss is; infinite: never."""
        return min(_times(self.logs(x, 1.0)), _times(self.logs(x, -1.0)))

    def logs(self, x: float, sign: float) -> Floats:
        """The logarithm of each bet's product against "the loss is x or more" (sign -1: "x or less")."""
        n, d, n_ours, d_ours = self._rows.values.T
        worst = self._bound * (1 + max(0.0, -sign * x))
        found = []
        for a in self._ratio:  # a product of such factors is smallest at an end of a: its logarithm is concave
            z = sign * ((n_ours - (a - x) * d_ours) - (n - a * d))
            found.append(_logs(z, self._rows.times, worst))
        return np.asarray(np.minimum(*found))


class PairedRatio:
    """The version's ratio as a multiple of the champion's, on the same rows: of a loss, so that less is better.

    With a the champion's ratio and k a the version's, z = k (n - a d) - (n' - k a d') has mean 0; where both have the
    same rows, a cancels out and z = k n - n'.

    Args:
        rows: n, d of the champion and n, d of the version; 0 <= n <= d, and d is 0 or 1.
        ratio: bounds of the champion's ratio, each at 1 - NUISANCE_ALPHA / 2.
    """

    def __init__(self, rows: Rows, ratio: tuple[float, float]) -> None:
        self._rows = rows
        self._ratio = ratio
        n, d, n_ours, d_ours = rows.sums
        self.value = float((n_ours / d_ours) / (n / d)) if n else math.inf

    def multiple(self) -> Loss:
        """The bounds; infinite: there is none from above."""
        low = _edge(lambda t: self.more_than(t / (1 - t)))
        high = _edge(lambda t: self.less_than((1 - t) / t))
        upper = (1 - high) / high if high else math.inf
        return Loss(self.value, min(low / (1 - low), self.value), max(upper, self.value))

    def less_than(self, k: float) -> bool:
        """Whether the rows show that the version's ratio is less than k times the champion's."""
        return _reached(self.logs(k, 1.0))

    def more_than(self, k: float) -> bool:
        """Whether the rows show that it is more than that."""
        return _reached(self.logs(k, -1.0))

    def times_needed(self, k: float) -> float:
        """How often rows like these would have to come to tell on which side of k it is; infinite: never."""
        return min(_times(self.logs(k, 1.0)), _times(self.logs(k, -1.0)))

    def logs(self, k: float, sign: float) -> Floats:
        """The logarithm of each bet's product against "it is k or more" (sign -1: "k or less")."""
        n, d, n_ours, d_ours = self._rows.values.T
        found = []
        for a in self._ratio:  # as above: the product is smallest at an end of a
            z = sign * (k * (n - a * d) - (n_ours - k * a * d_ours))
            found.append(_logs(z, self._rows.times, max(1.0, k)))  # no z is below -1, nor below -k
        return np.asarray(np.minimum(*found))


class CalibrationLoss:
    """How much larger the version's calibration error is than the champion's, on the rows with both scores.

    Why the mean over signs of the least, and the least of the means, are e-values is told in `comparator.calibration`.

    Args:
        rows: g of the champion and of the version, each in the lower and in the upper half.
    """

    def __init__(self, rows: Rows) -> None:
        self._times = rows.times
        self._w = differences(rows.values[:, :2], rows.values[:, 2:]).reshape(-1, 16)
        theirs, ours = np.split(rows.sums / rows.times.sum(), 2)
        self.value = error_of(ours) - error_of(theirs)

    def loss(self) -> Loss:
        """The bounds, to a two-thousandth."""
        upper = 1 - 2 * _edge(lambda t: self.less_than(1 - 2 * t), _FEW_STEPS)
        lower = 2 * _edge(lambda t: self.more_than(2 * t - 1), _FEW_STEPS) - 1
        return Loss(self.value, min(lower, self.value), max(upper, self.value))

    def less_than(self, x: float) -> bool:
        """Whether the rows show that the loss is less than x."""
        return float(least_of_means(self._logs(x, -1.0))) >= -math.log(ALPHA)

    def more_than(self, x: float) -> bool:
        """Whether the rows show that the loss is more than x."""
        return float(mean_of_least(self._logs(x, 1.0))) >= -math.log(ALPHA)

    def _logs(self, x: float, sign: float) -> Floats:
        """The logarithm of the mean over bets on sign (W - x), for each pair of signs of both sides."""
        logs = [_log_e(sign * (w - x), self._times, 2 + abs(x)) for w in self._w.T]
        return np.array(logs).reshape(4, 4)


def _reached(logs: Floats, parts: int = 1) -> bool:
    return float(log_mean_exp(logs)) >= -math.log((ALPHA - NUISANCE_ALPHA) / parts)


def _times(logs: Floats) -> float:
    if logs.max() <= 0:
        return math.inf
    low, high = 0.0, 1.0
    while not _reached(high * logs):
        low, high = high, 2 * high
        if high > 1e9:
            return math.inf
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if _reached(middle * logs) else (middle, high)
    return high


def _logs(z: Floats, times: Floats, worst: float) -> Floats:
    """Of each bet: the logarithm of prod(1 + x z); no z is below -worst."""
    bets = _BETS / max(worst, 1e-12)
    return np.asarray(times @ np.log1p(z[:, None] * bets[None, :]))


def _log_e(z: Floats, times: Floats, worst: float) -> float:
    return float(log_mean_exp(_logs(z, times, worst)))


def _edge(beyond: Callable[[float], bool], steps: int = _STEPS) -> float:
    """The largest number in 0 to 1 up to which `beyond` holds; from below, so that the bound keeps its promise."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) else (low, middle)
    return low


def _log_choices(count: int) -> Floats:
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1, dtype=np.float64)))])
    return np.asarray(logs[-1] - logs - logs[::-1])


def _log_probabilities(log_choices: Floats, p: float) -> Floats:
    count = len(log_choices) - 1
    k = np.arange(count + 1)
    return np.asarray(log_choices + k * math.log(p) + (count - k) * math.log1p(-p))


def _log_tail(log_choices: Floats, p: float, least: int, count: int) -> float:
    """The logarithm of the probability of at least so many successes."""
    k = np.arange(least, count + 1)
    logs = log_choices[least:] + k * math.log(p) + (count - k) * math.log1p(-p)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))
