"""Answers cut into time buckets, in which both versions met the same world.

Shared outages, load and drift hit both sides of a bucket alike. A bucket begins on the grid of `bucket_seconds` at the
first answer after the last one closed, and closes at the first answer that comes `bucket_seconds` later, once both
versions have `bucket_min_answers`. Time never runs backwards here: an answer that comes out of order counts as now.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from comparator.answers import Answers
from comparator.policy import Guardrail, Policy
from comparator.sketch import Sketch

WIDER = 1.5
"""Times the margin of a latency: whether that would be proven is said where the margin is not."""

REFERENCE, TRIAL = 0, 1
SLICES = 20
"""The past is kept in so many slices of the window."""

LEAST_SLICES = 3
"""What is usual is told from so many slices at least."""


@dataclass(slots=True)
class Slow:
    """Slow answers in one bucket, by two thresholds from the reference version's past.

    Harm is slower than `usual`, no harm is about `tau`: see `PastQuantile`. `slow` are the answers of [reference,
    trial] slower than `usual`, and `trial_half` the trial's slower than usual * (1 + margin / 2). `reference_tau`,
    `trial_margin` and `trial_wider` are the reference's slower than tau, and the trial's slower than tau * (1 + margin)
    and tau * (1 + WIDER * margin).

    A client that left after longer than the threshold has met a slow answer, how slow nobody knows: of the trial
    version it is slower by any margin. One that left earlier says nothing.
    """

    tau: float
    usual: float
    count: list[int] = field(default_factory=lambda: [0, 0])
    slow: list[int] = field(default_factory=lambda: [0, 0])
    trial_half: int = 0
    reference_tau: int = 0
    trial_margin: int = 0
    trial_wider: int = 0


@dataclass(slots=True)
class Bucket:
    """One bucket: counts of [reference, trial]; `slow` has one entry per latency guardrail, None: no tau yet."""

    began: float
    count: list[int] = field(default_factory=lambda: [0, 0])
    failed: list[int] = field(default_factory=lambda: [0, 0])
    slow: list[Slow | None] = field(default_factory=list)


@dataclass(slots=True)
class Slice:
    """A part of the past; its quantiles are asked for once it is over."""

    number: int
    values: Sketch = field(default_factory=Sketch)
    quantiles: dict[float, float] = field(default_factory=dict)

    def quantile(self, q: float) -> float:
        """The q-quantile of its values."""
        if q not in self.quantiles:
            self.quantiles[q] = self.values.quantile(q)
        return self.quantiles[q]


class PastQuantile:
    """The values of a past span: of `window` seconds, leaving out the last `lag` seconds.

    Only values from before are ever added, so a threshold taken from it is predictable. Spans move on by whole slices.
    `quantile` is that of all values, incidents included: what may not get worse. `usual` is that of a usual time, so
    that incidents which the reference had cannot hide a harm that is always there.
    """

    def __init__(self, window: float, lag: float) -> None:
        self._slice = window / SLICES
        self._window = window
        self._lag = lag
        self._late: deque[Slice] = deque()  # slices that no span has reached yet
        self._within: deque[Slice] = deque()  # those of the span as it stands
        self._span = Sketch()
        self._quantiles: dict[float, float] = {}  # of the span as it stands

    def add(self, at: NDArray[np.float64], bins: NDArray[np.int64]) -> None:
        """Take values, by their bins of a sketch, with their times, ascending."""
        index = np.floor(at / self._slice).astype(np.int64)
        edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), index.size]
        for low, high in pairwise(edges):
            if high > low:
                number = int(index[low])
                if not self._late or self._late[-1].number < number:
                    self._late.append(Slice(number))
                self._late[-1].values.add_bins(bins[low:high])

    def before(self, at: float) -> Sketch:
        """The span as it stands at `at`; forgets what no later span reaches."""
        until = at - self._lag
        while self._late and (self._late[0].number + 1) * self._slice <= until:
            self._within.append(self._late.popleft())
            self._span.merge(self._within[-1].values)
            self._quantiles.clear()
        while self._within and (self._within[0].number + 0.5) * self._slice < until - self._window:
            self._span.remove(self._within.popleft().values)
            self._quantiles.clear()
        return self._span

    def quantile(self, q: float) -> float | None:
        """The q-quantile of the span as it stands; None: too few values are known.

        While the span has too few, at the beginning of a rollout, it is that of all values so far.
        """
        if q not in self._quantiles:
            enough = 1 / (1 - q)
            if self._span.count < enough:
                young = Sketch()
                for each in (*self._within, *self._late):
                    young.merge(each.values)
                return young.quantile(q) if young.count >= enough else None
            self._quantiles[q] = self._span.quantile(q)
        return self._quantiles[q]

    def usual(self, q: float) -> float | None:
        """The median of the q-quantiles of slices that are over, in the lag too; of few, or thin ones, `quantile`."""
        enough = 1 / (1 - q)
        over = (*self._within, *list(self._late)[:-1])
        told = [each.quantile(q) for each in over if each.values.count >= enough]
        return median(told) if len(told) >= LEAST_SLICES else self.quantile(q)


class Buckets:
    """Cuts the answers of both versions into buckets.

    Args:
        policy: bucket length and minimum, the window that tau is taken from.
        rails: the latency guardrails.
    """

    def __init__(self, policy: Policy, rails: Sequence[Guardrail]) -> None:
        self._seconds = policy.bucket_seconds
        self._minimum = policy.bucket_min_answers
        self._rails = [(rail.quantile or 0.5, rail.margin) for rail in rails]
        self._past = PastQuantile(policy.tau_window_seconds, policy.tau_lag_seconds)
        self._clock = -math.inf
        self._open: Bucket | None = None

    def drop_open(self) -> None:
        """Leave out the bucket that has not closed: traffic is shared in another way from here on."""
        self._open = None

    def add(self, answers: Answers, trial: NDArray[np.bool_]) -> list[Bucket]:
        """Take answers in order of arrival; `trial` tells whose they are. Returns the buckets that closed."""
        n = answers.size
        if n == 0:
            return []
        at = np.maximum.accumulate(np.maximum(answers.at, self._clock))
        self._clock = float(at[-1])
        batch = _Batch(answers, trial)
        told = np.flatnonzero(answers.told & ~trial)
        past_at, past_bins = at[told], answers.bins[told]
        closed: list[Bucket] = []
        start = 0
        while start < n:
            bucket = self._open or self._begin(float(at[start]))
            stop = max(start, int(np.searchsorted(at, bucket.began + self._seconds)))
            for side in (REFERENCE, TRIAL):  # the first place before which both have enough
                needed = self._minimum - bucket.count[side] + batch.count[side][start]
                stop = max(stop, int(np.searchsorted(batch.count[side], needed)))
            stop = min(stop, n)
            self._fill(bucket, batch, start, stop)
            mine = slice(batch.told[REFERENCE][start], batch.told[REFERENCE][stop])
            self._past.add(past_at[mine], past_bins[mine])
            if stop < n:
                closed.append(bucket)
                self._open = None
            start = stop
        self._past.before(self._clock)  # a bucket may stay open for days, and asks for no span
        return closed

    def _begin(self, at: float) -> Bucket:
        self._past.before(at)
        bucket = Bucket(math.floor(at / self._seconds) * self._seconds)
        for quantile, _ in self._rails:
            tau, usual = self._past.quantile(quantile), self._past.usual(quantile)
            bucket.slow.append(None if tau is None or usual is None else Slow(tau, usual))
        self._open = bucket
        return bucket

    def _fill(self, bucket: Bucket, batch: _Batch, start: int, stop: int) -> None:
        for side in (REFERENCE, TRIAL):
            bucket.count[side] += int(batch.count[side][stop] - batch.count[side][start])
            bucket.failed[side] += int(batch.failed[side][stop] - batch.failed[side][start])
        seconds, trial = batch.seconds[start:stop], batch.trial[start:stop]
        for slow, (_, margin) in zip(bucket.slow, self._rails, strict=True):
            if slow is not None:
                for side in (REFERENCE, TRIAL):
                    slow.count[side] += int(batch.told[side][stop] - batch.told[side][start])
                is_slow = seconds > min(slow.tau, slow.usual)
                ours = least = seconds[is_slow & trial]
                theirs = seconds[is_slow & ~trial]
                if batch.left is not None:
                    left = batch.left[start:stop] & is_slow
                    ours = np.where(left[is_slow & trial], np.inf, ours)
                    for side, mine in enumerate((~trial, trial)):
                        slow.count[side] += int(np.count_nonzero(left & mine))
                slow.slow[REFERENCE] += int(np.count_nonzero(theirs > slow.usual))
                slow.slow[TRIAL] += int(np.count_nonzero(least > slow.usual))
                slow.trial_half += _beyond(ours, least, slow.usual, 1 + margin / 2)
                slow.reference_tau += int(np.count_nonzero(theirs > slow.tau))
                slow.trial_margin += _beyond(ours, least, slow.tau, 1 + margin)
                slow.trial_wider += _beyond(ours, least, slow.tau, 1 + WIDER * margin)


class _Batch:
    """Running counts of one batch, for (reference, trial): entry k is of the first k answers."""

    def __init__(self, answers: Answers, trial: NDArray[np.bool_]) -> None:
        self.trial = trial
        self.left = answers.left if answers.left.any() else None
        came = ~answers.left
        sides = (~trial & came, trial & came)
        self.count = [_running(side) for side in sides]
        self.failed = [_running(side & answers.failed) for side in sides]
        self.told = [_running(side & answers.told) for side in sides]
        known = answers.told if self.left is None else answers.told | (answers.left & ~answers.odd)
        self.seconds = np.where(known, answers.latency, np.nan)  # a latency that does not count is never slow
        self.seconds[answers.told & answers.timed_out] = np.inf  # a time-out is slower than any tau


def _beyond(seconds: NDArray[np.float64], least: NDArray[np.float64], threshold: float, times: float) -> int:
    """How many took longer than so many times the threshold; `least` is what each took for certain."""
    return int(np.count_nonzero((seconds > threshold * times) & (least > threshold)))


def _running(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts = np.zeros(mask.size + 1, dtype=np.int64)
    np.cumsum(mask, out=counts[1:])
    return counts
