"""Whether a canary's traffic is split as asked: the sample-ratio test.

A split that is not what was asked (a proxy that serves old routes, a client that leaves when the challenger is slow,
answers lost on one side) invalidates every comparison of the two sides. Each request is an independent draw with the
asked share, so the beta mixture of likelihood ratios against that share is an e-process: Lindon and Malek 2022,
"Anytime-valid inference for multinomial count data". It holds only where each request is drawn by its own id: where
clients stick to a side, requests of one client are not independent, and nothing is said.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from comparator.sequence import log_e_of_ratio

GRACE_SECONDS = 10.0
"""Requests asked so soon after a change of share are left out: they may have been assigned by the routes before."""


class Split:
    """Counts who answered, against the share asked."""

    def __init__(self) -> None:
        self._share: float | None = None
        self._from = 0.0
        self.answers = self.challenger = 0

    @property
    def asked(self) -> float | None:
        """The share asked now."""
        return self._share

    def ask(self, share: float | None, at: float) -> None:
        """A share is asked, as a ratio, from `at` (seconds since the epoch) on; None: no canary, or clients stick."""
        self._share = share
        self._from = at + GRACE_SECONDS
        self.answers = self.challenger = 0

    def take(self, asked: NDArray[np.float64], trial: NDArray[np.bool_]) -> None:
        """Take answers of the canary: when each was asked (seconds since the epoch), and whose it is."""
        if self._share is None or asked.size == 0:
            return
        counts = asked >= self._from
        self.answers += int(np.count_nonzero(counts))
        self.challenger += int(np.count_nonzero(counts & trial))

    def mismatch(self, alpha: float) -> str | None:
        """What is wrong with the split, in words; None: nothing is shown at this false-alarm rate, over all times."""
        if self._share is None or self.answers == 0:
            return None
        if log_e_of_ratio(self.challenger, self.answers, self._share) < math.log(1 / alpha):
            return None
        return (
            f"a split as asked: the challenger answered {self.challenger / self.answers:.2%} of {self.answers:,} "
            f"requests where {self._share:.0%} were asked, so the two sides cannot be compared "
            "(are all proxies on the present routes? do clients give up on one of the two?)"
        )
