"""The test behind errors and latency: differences of bad answers, bucket by bucket.

Harm: in each bucket d = the trial's bad answers - the reference's. If the two are exchangeable, d is symmetric given
the past, and 2 / (1 + exp(-theta d / s)) has mean <= 1 for any s and theta known before the bucket (de la Pena 1999;
Koning 2023): no independence, no moments. Where one side has more answers it is thinned to the other's number, in
expectation over all ways to draw them (hypergeometric): the mean of e-values is an e-value, and a draw of equal numbers
is exactly symmetric, whatever the share. (Scaling the larger side's count down instead is symmetric only on average: it
errs on the unsafe side when the trial has most of the traffic.)

No harm: the sum of the differences less margin, with the normal mixture boundary over its own variance between buckets.
The boundary holds at all times together, so what it has once shown is shown.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from comparator.sequence import Floats, RestartingMixture, mixture_radius

THETAS = np.array([0.2, 0.6, 1.4, 2.9])
HALF_LIFE_BUCKETS = 10
LARGE = 4.0
LEAST_USUAL = 0.2
"""A difference is notable when it is more than LARGE times the median of the last USUAL_BUCKETS, which counts as
LEAST_USUAL at least: where bad answers are rare, a single one is notable."""

USUAL_BUCKETS = 21

LONGEST = 30
"""Buckets: no incident is expected to last longer (five minutes, in buckets of 10 seconds)."""

AGREES = 2.0
"""Deviations: a bound that holds at one moment with 97.7 %."""

MAX_LAG = 12
SIGNIFICANT = 1.64
"""Deviations: of an autocorrelation, one-sided at 5 %."""

_MOST_DRAWS = 4096


def log_hypergeometric(bad: int, count: int, drawn: int) -> tuple[NDArray[np.int64], Floats]:
    """The possible numbers of bad ones among `drawn` of `count` answers, `bad` of which are bad; log probabilities."""
    low, high = max(0, drawn - (count - bad)), min(bad, drawn)
    if high - low > _MOST_DRAWS:  # 12 deviations about the mean leave out less than 1e-30
        centre, ratio = drawn * bad / count, bad / count
        reach = 12 * math.sqrt(drawn * ratio * (1 - ratio)) + 12
        low, high = max(low, math.floor(centre - reach)), min(high, math.ceil(centre + reach))
    k = np.arange(low, high + 1)
    before = k[:-1]
    steps = np.log((bad - before) * (drawn - before)) - np.log((before + 1) * (count - bad - drawn + before + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    logs -= logs.max()
    return k, logs - np.log(np.sum(np.exp(logs)))


class Runs:
    """How far the values of buckets come in runs.

    `spread` is the variance of their sum if they came independently, `spread * factor` where they do not: the factor is
    1 + 2 sum of their autocorrelations (Bartlett 1946), over the lags from 1 until the first that is not significant,
    so that values without runs are not made to look as if they had some.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = self.squares = 0.0
        self._products = [0.0] * MAX_LAG
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=MAX_LAG)

    def take(self, x: float) -> None:
        """The value of one bucket."""
        if x:
            for lag, earlier in enumerate(reversed(self._last)):
                self._products[lag] += x * earlier
        if self.count < MAX_LAG:
            self._first.append(x)
        self._last.append(x)
        self.count += 1
        self.total += x
        self.squares += x * x

    @property
    def spread(self) -> float:
        """The sum of squares about the mean: the variance of the sum if there were no runs."""
        return max(self.squares - self.total * self.total / self.count, 0.0) if self.count else 0.0

    @property
    def factor(self) -> float:
        """1: no runs; large: long runs."""
        n = self.count
        spread = self.spread
        if spread <= 1e-12 * self.squares or n < 3:
            return 1.0
        mean = self.total / n
        last = list(self._last)
        total = 0.0
        for lag in range(1, min(MAX_LAG, n - 1) + 1):
            ends = 2 * self.total - sum(self._first[:lag]) - sum(last[-lag:])
            rho = (self._products[lag - 1] - mean * ends + (n - lag) * mean * mean) / spread
            if rho < SIGNIFICANT / math.sqrt(n):
                break
            total += rho
        return 1 + 2 * total


class Incident:
    """Which buckets are left out, because they go on with what an earlier one has counted already.

    A version's bad times last longer than a bucket, and then d keeps its sign: exchangeable are whole incidents, not
    their buckets. So an incident, which begins with a notable difference and goes on while d has its sign, counts once;
    only what lasts longer than any incident is expected to is evidence again in each bucket. What is expected is the
    policy's, or twice the longest that ended, on either side, up to LONGEST. Whether a bucket counts is known before
    it: the mean factor stays 1.
    """

    def __init__(self, buckets: int) -> None:
        self._expected = buckets
        self._usual: deque[float] = deque([1.0], maxlen=USUAL_BUCKETS)  # of |d|
        self._sign = 0.0
        self._length = 0  # of the incident under way; 0: there is none

    @property
    def forgives(self) -> bool:
        """Whether the next bucket is left out."""
        return 0 < self._length < self._expected

    def take(self, d: float) -> None:
        """The difference of one bucket."""
        usual = median(self._usual)  # not the mean: incidents are not what is usual, however large
        self._usual.append(abs(d))
        if self._length and d * self._sign > 0:
            self._length += 1
            return
        self._expected = max(self._expected, min(2 * self._length, LONGEST))
        self._length, self._sign = int(abs(d) > LARGE * max(LEAST_USUAL, usual)), math.copysign(1.0, d)


class DifferenceTest:
    """Evidence of harm over the whole rollout, and of no harm within a mode, of one guardrail on counts.

    Args:
        restart_seconds: how often the evidence of harm restarts.
        incident_buckets: what is over after so many buckets counts once.
        allowed: bad answers per answer, as a ratio, that the trial version may have more than the reference.
        alpha: the error rate of "no harm", over all times.
        min_buckets: no harm is shown by so many at least: of a few not even their variance is known.

    Attributes:
        no_harm: no harm has been shown in this mode.
    """

    def __init__(
        self,
        restart_seconds: float,
        incident_buckets: int = 4,
        *,
        allowed: float = 0.0,
        alpha: float = 0.05,
        min_buckets: int = 30,
    ) -> None:
        self._harm = RestartingMixture(len(THETAS), restart_seconds, sums=2)
        self._sums = np.zeros(2)  # of the excess that counts as harm, and of the answers it was found in
        self._size = self._weight = 0.0  # running mean of |d|
        self._burst = Runs()  # of the reference's own bad buckets: a lasting harm must not be mistaken for a burst
        self._incident = Incident(incident_buckets)
        self._allowed, self._alpha, self._min_buckets = allowed, alpha, min_buckets
        self.enter()

    def enter(self) -> None:
        """Evidence of no harm begins anew: traffic is shared in another way from here on."""
        self.buckets = 0
        self.answers = 0  # per side
        self.no_harm = False
        self._slack = (Runs(), Runs())  # of the differences, by the margin and by a wider one
        self._failures = Runs()  # bad answers of the trial version

    def begin(self, at: float) -> None:
        """The rollout's data time starts here."""
        self._harm.begin(at)

    def take(
        self,
        at: float,
        *,
        bad: tuple[int, int],
        count: tuple[int, int],
        excess_bad: int,
        margin_bad: tuple[int, int],
        wider_bad: int | None = None,
    ) -> None:
        """Take one bucket.

        Args:
            at: when it began.
            bad: bad answers of (reference, trial).
            count: answers of (reference, trial).
            excess_bad: the trial's answers that are bad by the measure of `harm`.
            margin_bad: answers of (reference, trial) that are bad by the measure of no harm.
            wider_bad: the trial's that are bad by a wider measure; by default the same.
        """
        least = min(count)
        if least == 0:
            return
        self._harm.restart(int(self._harm.due(np.array([at]))[0]), self._sums)
        down = (least / count[0], least / count[1])
        d = bad[1] * down[1] - bad[0] * down[0]
        scale = max(1.0, 1.25 * (self._size + 1.0) / (self._weight + 1.0))
        if not self._incident.forgives:
            self._harm.multiply(self._log_factors(bad, count, scale)[None, :])
        self._incident.take(d)
        fade = 0.5 ** (1 / HALF_LIFE_BUCKETS)
        self._size, self._weight = self._size * fade + abs(d), self._weight * fade + 1.0
        self._burst.take(min(d, 0.0))
        self._sums = self._sums + np.array([excess_bad * down[1] - bad[0] * down[0], least])
        self.buckets += 1
        self.answers += least
        wider_bad = margin_bad[1] if wider_bad is None else wider_bad
        for runs, worse in zip(self._slack, (margin_bad[1], wider_bad), strict=True):
            runs.take(worse * down[1] - margin_bad[0] * down[0])
        self._failures.take(float(bad[1]))
        self.no_harm = self.no_harm or (self.buckets >= self._min_buckets and self.slack() < 0)

    def _log_factors(self, bad: tuple[int, int], count: tuple[int, int], scale: float) -> Floats:
        drawn = min(count)
        if count[1] == count[0]:
            k, logs = np.array([bad[1]]), np.zeros(1)
            x = (k - bad[0]) / scale
        elif count[1] > count[0]:
            k, logs = log_hypergeometric(bad[1], count[1], drawn)
            x = (k - bad[0]) / scale
        else:
            k, logs = log_hypergeometric(bad[0], count[0], drawn)
            x = (bad[1] - k) / scale
        gains = 1 / self._burst.factor * (math.log(2.0) - np.logaddexp(0.0, -THETAS[:, None] * x[None, :]))
        weighed = gains + logs[None, :]
        top = weighed.max(axis=1)
        return np.asarray(top + np.log(np.sum(np.exp(weighed - top[:, None]), axis=1)))

    def look(self) -> None:
        """The evidence of harm is looked at now."""
        self._harm.look()

    @property
    def peak(self) -> float:
        """The largest logarithm of the e-value against "no worse" since the last look."""
        return self._harm.peak

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against "no worse"."""
        return self._harm.log_e

    @property
    def harm(self) -> float | None:
        """The mean excess per answer since the leading restart; None: no bucket since."""
        excess, answers = self._sums - self._harm.since_leader
        return float(excess / answers) if answers > 0 else None

    def slack(self, times: float = 1.0, *, wider: bool = False) -> float:
        """How far the sum of differences, with its radius, is above what is allowed; negative: no harm is shown.

        Args:
            times: as if there were so many times as many buckets like those seen.
            wider: by the wider measure.
        """
        return self._above(self._allowed, times, wider)

    @property
    def agrees(self) -> bool:
        """Whether what was seen in the mode agrees with "no harm" now, by a bound that holds at this moment only.

        What is shown stands, but bad times that are rare may not have been seen when it was shown.
        """
        runs = self._slack[0]
        return runs.total + AGREES * math.sqrt(runs.spread * runs.factor + 1.0) < self._allowed * self.answers

    @property
    def dispersion(self) -> float:
        """The variance of the number of the trial version's bad answers over that of independent ones, at least 1.

        So many bad answers are one piece of evidence where they come in bursts.
        """
        runs = self._failures
        return max(runs.spread * runs.factor / runs.total, 1.0) if runs.total else 1.0

    @property
    def least_allowed(self) -> float | None:
        """The smallest that could be allowed per answer for no harm to be shown now; None: nothing was seen."""
        return max(self._above(0.0), 0.0) / self.answers if self.answers else None

    def _above(self, allowed: float, times: float = 1.0, wider: bool = False) -> float:  # noqa: FBT001, FBT002
        runs = self._slack[wider]
        variance = runs.spread * runs.factor * times + 1.0
        return runs.total * times + mixture_radius(variance, self._alpha) - allowed * self.answers * times
