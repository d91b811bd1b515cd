"""How often two answers to one request agree: the challenger's with the champion's, and the champion's with its own.

A share of a shadow's requests may be asked of the champion twice, instead of the challenger. What the champion
disagrees on with itself is its own noise; a disagreement with the challenger that is no larger says nothing. No
guardrail judges any of it, and rows that were asked twice are no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comparator.events import ASKED_TWICE, Mode
from comparator.guardrail import Estimate
from comparator.sequence import ratio_bounds

if TYPE_CHECKING:
    from comparator.events import Columns


@dataclass(frozen=True, slots=True)
class Agreed:
    """What pairs of answers come to; each with bounds that hold at all times together.

    Args:
        ratio: the share of rows with equal predictions; None: there are no pairs yet.
        score_distance: the mean absolute difference of the scores; None: no scores in both answers, or some that
            differ by more than 1, so that nothing bounds them.
    """

    ratio: Estimate | None
    score_distance: Estimate | None


class Pairs:
    """Counts pairs of answers, a row of a request each."""

    __slots__ = ("distance", "equal", "rows", "scored", "unbounded")

    def __init__(self) -> None:
        self.rows = self.equal = self.scored = 0
        self.distance = 0.0  # sum of the absolute differences of the scores
        self.unbounded = 0  # scores that differ by more than 1

    def take(self, pairs: Columns) -> None:
        """Take rows of which both predictions are there: dtype JOINED, shape (n,)."""
        one, two = pairs["prediction"].T
        self.rows += int(one.size)
        self.equal += int(np.count_nonzero(one == two))
        distance = np.abs(np.diff(pairs["score"], axis=1)[:, 0])
        distance = distance[np.isfinite(distance)]
        self.scored += int(distance.size)
        self.unbounded += int(np.count_nonzero(distance > 1))
        for each in distance.tolist():  # one by one: how facts were cut into batches never shows
            self.distance += each

    def agreed(self, alpha: float) -> Agreed:
        """The figures, with bounds that hold with probability 1 - alpha each."""
        score = _estimate(self.distance, self.scored, alpha) if not self.unbounded else None
        return Agreed(_estimate(self.equal, self.rows, alpha), score)


class Agreement:
    """The agreement within the latest rollout that had a shadow.

    Attributes:
        challenger: the challenger's answers with the champion's.
        itself: the champion's second answers with its first ones.
    """

    def __init__(self) -> None:
        self.rollout_id = 0
        self.challenger = Pairs()
        self.itself = Pairs()

    def take(self, paired: Columns) -> None:
        """Take pairs: dtype JOINED, shape (n,), in any mode. A later rollout begins anew."""
        twice = np.isin(paired["mode"], ASKED_TWICE)
        same = paired["version"][:, 0] == paired["version"][:, 1]  # else the title moved between the two
        told = np.where(twice, same, (paired["mode"] == Mode.SHADOW) & ~same)
        told &= ~np.isnan(paired["prediction"]).any(axis=1)
        if not told.any():
            return
        paired, twice = paired[told], twice[told]
        newest = int(paired["rollout_id"].max())
        if newest > self.rollout_id:
            self.rollout_id, self.challenger, self.itself = newest, Pairs(), Pairs()
        mine = paired["rollout_id"] == self.rollout_id
        self.challenger.take(paired[mine & ~twice])
        self.itself.take(paired[mine & twice])


def _estimate(total: float, count: int, alpha: float) -> Estimate | None:
    if count == 0:
        return None
    lower, upper = ratio_bounds(min(total, count), count, alpha)
    return Estimate(total / count, lower, upper, count)
