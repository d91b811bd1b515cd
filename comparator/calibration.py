"""The test behind the calibration error: how far scores are from what they promise, below 0.5 and from there on.

A row with score s and label l (0 or 1) lies in the lower or upper half of scores; g is s - l in its half and 0 in the
other. The calibration error of a side is |mean g_low| + |mean g_high|: the expected calibration error (ECE) of two
bins. Scores that are too bold make one negative and the other positive, and do not cancel out.

An absolute value is no mean, and that of a mean of few rows is too large. But |a| is the larger of a and -a, so the
error is the largest of s . mean g over the four pairs of signs s, and "B's is larger" is: for some s and every t,
s . g_B > t . g_A. Each of these 16 is a mean of W = s . g_B - t . g_A, between -2 and 2, which is bet on as ever:

    harm      mean over s of min over t of E(s, t),    E(s, t) against "mean W <= 0"
    no harm   min over s of mean over t of F(s, t),    F(s, t) against "mean W >= margin"

Where B's error is no larger, every s has a t with mean W <= 0 (the one of A's own signs): the minimum is at most that
one's E, whose mean is at most 1, and so is that of the mean over s. Where B's is larger by the margin or more, one s
has mean W >= margin for all t: the mean of their F is an e-process, and the minimum over s is at most that. More bins
would take 4^bins of them.

In shadow and watch each row with both scores is a block; in a canary the shortest run with both versions in it, and g
its means. Values are rounded to multiples of 2^-24.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from comparator.coverage import either
from comparator.guardrail import Estimate
from comparator.label_metric import GRAIN
from comparator.policy import Guardrail, Policy
from comparator.ratio import RatioTest, Rows
from comparator.sequence import Floats, Mixture, RestartingMixture, log_mean_exp, ratio_bounds

SIGNS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.float64)
BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8]) / 2  # as shares of the largest that cannot lose all
HALF = 0.5


def gaps(score: Floats, label: Floats) -> Floats:
    """G of each row, shape (rows, 2): in the half of its score, 0 in the other."""
    gap = np.round((score - label) * GRAIN) / GRAIN
    upper = score >= HALF
    return np.column_stack([np.where(upper, 0.0, gap), np.where(upper, gap, 0.0)])


def differences(theirs: Floats, ours: Floats) -> Floats:
    """W of each block for each pair of signs of B and of A, shape (blocks, 4, 4)."""
    return np.asarray((ours @ SIGNS.T)[:, :, None] - (theirs @ SIGNS.T)[:, None, :])


def error_of(means: Floats) -> float:
    """The calibration error from the means of g."""
    return float(np.abs(means).sum())


def mean_of_least(logs: Floats) -> Floats:
    """Mean over B's signs of the minimum over A's, of logarithms; the axes are signs of B, signs of A, others."""
    return np.asarray(log_mean_exp(logs.min(axis=1)))


def least_of_means(logs: Floats) -> Floats:
    """The other way round."""
    return np.asarray(log_mean_exp(np.swapaxes(logs, 0, 1)).min(axis=0))


def _by_signs(logs: Floats) -> Floats:
    """Of products by signs and bet, shape (16 bets, ...), the mean over the bets: shape (4, 4, ...)."""
    by_bet = logs.reshape(16, BETS.size, *logs.shape[1:])
    return np.asarray(log_mean_exp(np.moveaxis(by_bet, 1, 0))).reshape(4, 4, *logs.shape[1:])


class Larger(RestartingMixture):
    """Evidence that B's error is larger."""

    def _mean(self, logs: Floats) -> Floats:
        return mean_of_least(_by_signs(logs))

    @property
    def since_leader(self) -> Floats:
        """The running sums at the restart since which the evidence is largest, for the signs that it goes by."""
        by_signs = _by_signs(self._logs)
        ours = int(np.argmax(by_signs.min(axis=1)))
        first = (4 * ours + int(np.argmin(by_signs[ours]))) * BETS.size
        mine = slice(first, first + BETS.size)
        sums: Floats = self._lead_sums[mine][int(np.argmax((self._lead + self._whole)[mine]))]
        return sums


class NoLarger(Mixture):
    """Evidence that it is not larger by the margin."""

    def _mean(self, logs: Floats) -> Floats:
        return least_of_means(_by_signs(logs))


class CalibrationTest(RatioTest):
    """The same evidence as of any metric from labels, of the calibration error."""

    def __init__(self, policy: Policy, rail: Guardrail, versions: tuple[int, int], offline: float | None) -> None:
        super().__init__(policy, rail, versions, offline)
        self._harm = Larger(16 * BETS.size, policy.restart_seconds, sums=5)
        self._sums = np.zeros(5)  # blocks, and g of both sides
        self.no_harm = NoLarger(16 * BETS.size, math.log(1 / policy.alpha))
        self._gaps = np.zeros((2, 2))  # by side and half, of all rows
        self._run = np.zeros((2, 3))  # the canary's run under way, by side: g, rows
        self._clock = -math.inf

    def _weigh(self, rows: Rows) -> None:
        theirs, ours = (
            gaps(either(np.where(mine & (d > 0)[:, None], rows.score, 0.0)), rows.label) * d[:, None]
            for mine, d in ((rows.theirs, rows.d_ref), (rows.ours, rows.d_trial))
        )
        self._gaps += np.stack([theirs.sum(axis=0), ours.sum(axis=0)])
        both = np.flatnonzero(rows.pair & (rows.d_ref > 0) & (rows.d_trial > 0))
        ends, means = self._runs(rows, theirs, ours)
        index = np.concatenate([both, ends])
        order = np.argsort(index, kind="stable")
        sides = np.concatenate([np.hstack([theirs[both], ours[both]]), means])[order]
        at = np.maximum.accumulate(np.maximum(rows.at[index[order]], self._clock))
        if at.size:
            self._clock = float(at[-1])
        w = differences(sides[:, :2], sides[:, 2:]).reshape(-1, 16)
        self.no_harm.multiply(_log_factors(self._margin - w))
        factors = _log_factors(w)
        sums = np.column_stack([np.ones(len(sides)), sides])
        due = self._harm.due(at)
        for number in np.unique(due).tolist():
            self._harm.restart(number, self._sums)
            self._harm.multiply(factors[due == number])
            self._sums = self._sums + sums[due == number].sum(axis=0)

    def _runs(self, rows: Rows, theirs: Floats, ours: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The rows that complete a canary's runs with both versions in them, and the means of g: shape (runs, 4)."""
        ends: list[int] = []
        means: list[Floats] = []
        for row in np.flatnonzero(~rows.pair & rows.counts).tolist():
            side = int(rows.d_trial[row] > 0)
            self._run[side, :2] += (ours if side else theirs)[row]
            self._run[side, 2] += 1
            if self._run[:, 2].all():
                ends.append(row)
                means.append(np.round((self._run[:, :2] / self._run[:, 2:]).ravel() * GRAIN) / GRAIN)
                self._run = np.zeros((2, 3))
        return np.array(ends, dtype=np.int64), np.array(means, dtype=np.float64).reshape(-1, 4)

    @property
    def harm(self) -> float | None:
        """How much larger the trial version's error is, since the leading restart; None: there is no block since."""
        blocks, *sums = (self._sums - self._harm.since_leader).tolist()
        if not blocks:
            return None
        worse: float = (abs(sums[2]) + abs(sums[3]) - abs(sums[0]) - abs(sums[1])) / blocks
        return worse

    def estimate(self, side: int, alpha: float) -> Estimate | None:
        """The figure of a side; None: no row counts yet. The bounds are those of both halves at once."""
        count = self.counts[side]
        if not count:
            return None
        lower = upper = 0.0
        for total in self._gaps[side].tolist():  # (1 + g) / 2 is a share
            low, high = (2 * each - 1 for each in ratio_bounds((count + total) / 2, count, alpha / 2))
            lower += max(low, -high, 0.0)
            upper += max(-low, high)
        return Estimate(error_of(self._gaps[side] / count), lower, min(upper, 1.0), count)


def _log_factors(gains: Floats) -> Floats:
    """The logarithm of each bet's factor, shape (blocks, 16) -> (blocks, 16 bets)."""
    return np.log1p(gains[:, :, None] * BETS).reshape(len(gains), 16 * BETS.size)
