"""Sequential tests that hold at any moment, and confidence sequences: bounds that hold at all moments together.

A *test martingale* (e-process) is nonnegative, starts at 1 and has mean <= 1 while the null hypothesis holds, so that
P(it is ever >= 1 / alpha) <= alpha (Ville's inequality). Products are kept as logarithms. A running sum is always
continued from its last value in order (numpy's cumsum, never a pairwise sum), so that the way the data was cut into
batches does not show, not even in the last digit.

Sources: Ramdas, Gruenwald, Vovk, Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference";
Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"; Howard, Ramdas, McAuliffe,
Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"; Howard and Ramdas 2022, "Sequential
estimation of quantiles"; Shin, Ramdas, Rinaldo 2024, "E-detectors" (restarts).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_LOG_E = 690.0
"""e-values are shown up to exp(690): the logarithm goes on."""


def log_mean_exp(logs: Floats) -> Floats:
    """log(mean(exp(logs))) over the first axis, without overflow."""
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).sum(axis=0) / logs.shape[0]))  # np.mean, in half its time


def as_e(log_e: float) -> float:
    """A finite e-value to show."""
    return math.exp(min(log_e, MAX_LOG_E))


class Mixture:
    """The mean of several products of bets, and whether it ever reached a threshold.

    Args:
        bets: how many products.
        log_threshold: `reached` is set, and stays, once log(mean of the products) is at least this.
    """

    def __init__(self, bets: int, log_threshold: float) -> None:
        self._logs: Floats = np.zeros(bets)
        self._log_threshold = log_threshold
        self.reached = False
        self.count = 0

    def multiply(self, log_factors: Floats) -> None:
        """Take the next factors in order, shape (n, bets), as logarithms."""
        if log_factors.shape[0] == 0:
            return
        path = np.cumsum(np.vstack([self._logs[None, :], log_factors]), axis=0)
        self._logs = path[-1]
        self.count += log_factors.shape[0]
        if not self.reached:
            self.reached = bool(np.max(self._mean(path.T)) >= self._log_threshold)

    @property
    def log_e(self) -> float:
        """The logarithm of the e-process now."""
        return float(self._mean(self._logs))

    def _mean(self, logs: Floats) -> Floats:
        """What the products come to together, shape (bets, ...) -> (...)."""
        return log_mean_exp(logs)


START_WEIGHT = 0.5
"""Most harm is there from the start."""

EARLY = np.array([1 / 8, 1 / 4, 1 / 2])
"""Restarts before the first whole one, as shares of the time between restarts: a harm that begins in the fifth minute
should not wait for the twentieth."""

EARLY_WEIGHT = 1 / 16
"""Of each of them. A restart's weight is the price of what it finds: a factor of 16 is four or five buckets of clear
harm."""


def weight_until(restarts: int) -> float:
    """The weight of the start and of so many restarts: of the whole ones after the early ones 1 / (j (j + 1))."""
    early = min(restarts, EARLY.size)
    late = 1 - START_WEIGHT - EARLY_WEIGHT * EARLY.size
    return START_WEIGHT + EARLY_WEIGHT * early + late * (1 - 1 / (restarts - early + 1))


class RestartingMixture:
    """The same, with restarts: sum over restarts j and bets of w_j * product since restart j.

    The weights (see `weight_until`) sum to 1, and the products of restarts to come count as 1 each, so that the whole
    is an e-process that finds a late regression at the price of a factor. O(1) in memory for any number of restarts:
    products of the same bet differ only by where they began.

    Args:
        bets: how many products.
        every_seconds: how often a restart falls due, in data time from the first `begin`, and before the first one at
            the shares EARLY of it.
        sums: how many running sums to remember at each restart, for `since_leader`.
    """

    def __init__(self, bets: int, every_seconds: float, sums: int) -> None:
        self._every = every_seconds
        self._began: float | None = None
        self._restarts = 0
        self._logs: Floats = np.full(bets, math.log(START_WEIGHT))  # of sum_j w_j * product since j
        self._whole: Floats = np.zeros(bets)  # of the product since the start
        self._lead: Floats = np.zeros(bets)  # max over j of -(whole at j): which restart's product is the largest now
        self._lead_sums: Floats = np.zeros((bets, sums))  # the sums at that restart
        self.peak = 0.0
        """The largest `log_e` since `look`."""

    def begin(self, at: float) -> None:
        """Data time starts here, unless it has started."""
        if self._began is None:
            self._began = at

    def due(self, at: Floats) -> NDArray[np.int64]:
        """How many restarts have fallen due at each moment of data time."""
        if self._began is None:
            return np.zeros(at.shape, dtype=np.int64)
        passed = (at - self._began) / self._every
        whole = np.maximum(np.floor(passed), 0).astype(np.int64)
        return whole + np.searchsorted(EARLY, passed, side="right")

    def restart(self, number: int, sums: Floats) -> None:
        """Restarts up to this number have fallen due; `sums` are the running sums now. Earlier numbers do nothing."""
        first = self._restarts + 1
        if number < first:
            return
        self._restarts = number
        self._logs = np.logaddexp(self._logs, math.log(weight_until(number) - weight_until(first - 1)))
        later = -self._whole >= self._lead  # of equal products the latest: what came before said nothing
        self._lead = np.where(later, -self._whole, self._lead)
        self._lead_sums[later] = sums

    def multiply(self, log_factors: Floats) -> None:
        """Take the next factors in order, shape (n, bets), as logarithms; no restart falls due among them."""
        if log_factors.shape[0] == 0:
            return
        if log_factors.shape[0] == 1:  # the same sums, in a fifth of the time
            self._logs = self._logs + log_factors[0]
            self._whole = self._whole + log_factors[0]
            self.peak = max(self.peak, self.log_e)
            return
        path = np.cumsum(np.vstack([self._logs[None, :], log_factors]), axis=0)
        self._logs = path[-1]
        self._whole = np.cumsum(np.vstack([self._whole[None, :], log_factors]), axis=0)[-1]
        self.peak = max(self.peak, float(np.logaddexp(np.max(self._mean(path[1:].T)), self._to_come)))

    def look(self) -> None:
        """What comes from here on makes the next `peak`."""
        self.peak = self.log_e

    @property
    def _to_come(self) -> float:
        """The logarithm of the weight of the restarts to come."""
        return math.log(1 - weight_until(self._restarts))

    @property
    def log_e(self) -> float:
        """The logarithm of the e-process now."""
        return float(np.logaddexp(self._mean(self._logs), self._to_come))

    def _mean(self, logs: Floats) -> Floats:
        """What the products come to together, shape (bets, ...) -> (...)."""
        return log_mean_exp(logs)

    @property
    def since_leader(self) -> Floats:
        """The running sums at the restart since which the evidence is largest, shape (sums,).

        By the product, not by its weight: it tells when the harm began, as a CUSUM does, so that a late regression is
        not diluted by the good hours before it.
        """
        sums: Floats = self._lead_sums[int(np.argmax(self._lead + self._whole))]
        return sums


def mixture_radius(variance: float, alpha: float, tuned: float = 30.0) -> float:
    """How far a sum may rise above its mean, at any time, given its intrinsic variance.

    The one-sided normal mixture boundary (Robbins 1970; Howard et al. 2021, proposition 6), tightest about `tuned`:
    the x = radius / sqrt(variance + tuned) with sqrt(tuned / (variance + tuned)) 2 Phi(x) exp(x^2 / 2) = 1 / alpha.
    With an estimated variance it is asymptotic in the number of summands.
    """
    square = 2 * math.log(1 / (2 * alpha)) + math.log((variance + tuned) / tuned)
    x = 1.0
    for _ in range(8):  # for alpha <= 0.05 a contraction by 0.1 or less
        x = math.sqrt(square - 2 * math.log(0.5 * math.erfc(-x / math.sqrt(2))))
    return x * math.sqrt(variance + tuned)


BELOW_BETS = (0.5, 0.95)  # as shares of the largest bet allowed


def log_e_below(successes: float, count: float, bound: float) -> float:
    """The e-process against "each success has at least this probability", by betting on failures.

    Where there was none, it needs about 1.3 times the answers of the best test of fixed size (the "rule of three").
    """
    if bound >= 1:
        return MAX_LOG_E
    failures = count - successes
    logs = [failures * math.log1p(bet * bound / (1 - bound)) + successes * math.log1p(-bet) for bet in BELOW_BETS]
    return float(log_mean_exp(np.array(logs)))


# ---- confidence sequences for counts


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def log_e_of_ratio(successes: float, count: float, ratio: float) -> float:
    """The e-process against "each success has this probability": the beta(1/2, 1/2) mixture of likelihood ratios.

    Robbins 1970; Howard et al. 2021, section 3 (beta-binomial mixture).
    """
    return _log_mixed(successes, count) - _log_null(successes, count, ratio)


def _log_mixed(successes: float, count: float) -> float:
    return _log_beta(successes + 0.5, count - successes + 0.5) - _log_beta(0.5, 0.5)


def _log_null(successes: float, count: float, ratio: float) -> float:
    failures = count - successes
    return (successes * math.log(ratio) if successes else 0.0) + (failures * math.log1p(-ratio) if failures else 0.0)


@lru_cache(1024)  # look after look asks for the same counts, where no label has come in between
def ratio_bounds(successes: float, count: int, alpha: float) -> tuple[float, float]:
    """Bounds for a probability (or the mean of shares) that hold at all times together with probability 1 - alpha."""
    if count == 0:
        return 0.0, 1.0
    least = _log_mixed(successes, count) - math.log(1 / alpha)  # of the log likelihood within the bounds
    centre = successes / count

    def edge(inside: float, outside: float) -> float:
        for _ in range(36):
            middle = (inside + outside) / 2
            if _log_null(successes, count, middle) > least:
                inside = middle
            else:
                outside = middle
        return outside

    lower = edge(centre, 1e-12) if successes > 0 else 0.0
    upper = edge(centre, 1 - 1e-12) if successes < count else 1.0
    return lower, upper


@lru_cache(1024)  # as above
def quantile_ranks(count: int, q: float, alpha: float) -> tuple[int, int]:
    """Ranks (1: the smallest) between which the q-quantile lies at all times, with probability 1 - alpha.

    The number of values below the true quantile is a count with probability q: those numbers that `log_e_of_ratio`
    does not speak against (Howard and Ramdas 2022, by the beta-binomial mixture). 0 and count + 1: no bound yet.
    """
    limit = math.log(1 / alpha)
    middle = round(q * count)

    def edge(outside: int) -> int:
        inside = middle
        if log_e_of_ratio(outside, count, q) < limit:
            return outside
        while abs(outside - inside) > 1:
            between = (outside + inside) // 2
            if log_e_of_ratio(between, count, q) < limit:
                inside = between
            else:
                outside = between
        return inside

    low, high = edge(0), edge(count)
    return low, high + 1
