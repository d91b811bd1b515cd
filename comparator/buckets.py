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

import numpy as np
from numpy.typing import NDArray

from comparator.answers import counted_latency
from comparator.events import Columns, Outcome
from comparator.policy import Guardrail, Policy
from comparator.sketch import Sketch

REFERENCE, TRIAL = 0, 1
SLICES = 20
"""The past is kept in so many slices of the window."""


@dataclass(slots=True)
class Slow:
    """Answers slower than the reference version's past quantile `tau`, in one bucket; counts of [reference, trial].

    `trial_half` and `trial_margin` are the trial's answers slower than tau * (1 + margin / 2) and tau * (1 + margin).
    """

    tau: float
    count: list[int] = field(default_factory=lambda: [0, 0])
    slow: list[int] = field(default_factory=lambda: [0, 0])
    trial_half: int = 0
    trial_margin: int = 0


@dataclass(slots=True)
class Bucket:
    """One bucket: counts of [reference, trial]; `slow` has one entry per latency guardrail, None: no tau yet."""

    began: float
    count: list[int] = field(default_factory=lambda: [0, 0])
    failed: list[int] = field(default_factory=lambda: [0, 0])
    slow: list[Slow | None] = field(default_factory=list)


class PastQuantile:
    """The values of a past span: of `window` seconds, leaving out the last `lag` seconds.

    Past data only, so that a threshold taken from it is predictable.
    """

    def __init__(self, window: float, lag: float) -> None:
        self._slice = window / SLICES
        self._window = window
        self._lag = lag
        self._past: deque[tuple[int, Sketch]] = deque()

    def add(self, at: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Take values with their times, ascending."""
        index = np.floor(at / self._slice).astype(np.int64)
        for number in np.unique(index).tolist():
            if not self._past or self._past[-1][0] < number:
                self._past.append((number, Sketch()))
            self._past[-1][1].add(values[index == number])
            self._forget(number * self._slice)  # here too: a bucket may stay open for days, and asks for no span

    def _forget(self, at: float) -> None:
        """Forget what no span from `at` on reaches."""
        while self._past and (self._past[0][0] + 0.5) * self._slice < at - self._lag - self._window:
            self._past.popleft()

    def before(self, at: float) -> Sketch:
        """The span as it stands at `at`; forgets what no later span reaches."""
        self._forget(at)
        until = at - self._lag
        span = Sketch()
        for number, sketch in self._past:
            if (number + 1) * self._slice <= until:
                span.merge(sketch)
        return span


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

    def add(self, answers: Columns, trial: NDArray[np.bool_]) -> list[Bucket]:
        """Take answers in order of arrival; `trial` tells whose they are. Returns the buckets that closed."""
        n = answers.size
        if n == 0:
            return []
        at = np.maximum.accumulate(np.maximum(answers["at"], self._clock))
        self._clock = float(at[-1])
        totals = [np.concatenate([[0], np.cumsum(~trial)]), np.concatenate([[0], np.cumsum(trial)])]
        closed: list[Bucket] = []
        start = 0
        while start < n:
            bucket = self._open or self._begin(float(at[start]))
            stop = max(start, int(np.searchsorted(at, bucket.began + self._seconds)))
            for side in (REFERENCE, TRIAL):  # the first place before which both have enough
                needed = self._minimum - bucket.count[side] + totals[side][start]
                stop = max(stop, int(np.searchsorted(totals[side], needed)))
            self._fill(bucket, answers[start:stop], at[start:stop], trial[start:stop])
            if stop < n:
                closed.append(bucket)
                self._open = None
            start = stop
        return closed

    def _begin(self, at: float) -> Bucket:
        past = self._past.before(at)
        bucket = Bucket(math.floor(at / self._seconds) * self._seconds)
        for quantile, _ in self._rails:
            enough = past.count >= 2 / (1 - quantile)
            bucket.slow.append(Slow(past.quantile(quantile)) if enough else None)
        self._open = bucket
        return bucket

    def _fill(self, bucket: Bucket, answers: Columns, at: NDArray[np.float64], trial: NDArray[np.bool_]) -> None:
        if answers.size == 0:
            return
        failed = answers["outcome"] != Outcome.OK
        latency, told = counted_latency(answers)
        for side, mine in ((REFERENCE, ~trial), (TRIAL, trial)):
            bucket.count[side] += int(np.count_nonzero(mine))
            bucket.failed[side] += int(np.count_nonzero(mine & failed))
        self._past.add(at[told & ~trial], latency[told & ~trial])
        seconds = np.where(answers["outcome"] == Outcome.TIMEOUT, np.inf, latency)  # a time-out is slower than any tau
        theirs, ours = seconds[told & ~trial], seconds[told & trial]
        for slow, (_, margin) in zip(bucket.slow, self._rails, strict=True):
            if slow is not None:
                slow.count[REFERENCE] += int(theirs.size)
                slow.count[TRIAL] += int(ours.size)
                slow.slow[REFERENCE] += int(np.count_nonzero(theirs > slow.tau))
                slow.slow[TRIAL] += int(np.count_nonzero(ours > slow.tau))
                slow.trial_half += int(np.count_nonzero(ours > slow.tau * (1 + margin / 2)))
                slow.trial_margin += int(np.count_nonzero(ours > slow.tau * (1 + margin)))
