"""How often two answers to one request agree: the challenger's with the champion's, and the champion's with its own.

A share of a shadow's requests may be asked of the champion twice, instead of the challenger. What the champion
disagrees on with itself is its own noise; a disagreement with the challenger that is no larger says nothing. No
guardrail judges any of it, and rows that were asked twice are no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comparator.events import Mode
from comparator.guardrail import Estimate
from comparator.score_shift import CELLS, Shift, cells_of, shift
from comparator.sequence import Floats, ratio_bounds

if TYPE_CHECKING:
    from comparator.events import Columns


@dataclass(frozen=True, slots=True)
class Agreed:
    """What pairs of answers come to; each with bounds that hold at all times together.

    Args:
        ratio: the share of rows with equal predictions; None: there are no pairs yet.
        score_distance: the mean absolute difference of the scores; None: no scores in both answers, or some that
            differ by more than 1, so that nothing bounds them.
        score_shift: how far the distributions of the two sides' scores lie apart; None: there are none, or some are
            not from 0 to 1.
    """

    ratio: Estimate | None
    score_distance: Estimate | None
    score_shift: Shift | None


class Pairs:
    """Counts pairs of answers, a row of a request each."""

    __slots__ = ("cells", "distance", "equal", "rows", "scored", "unbounded", "unusual")

    def __init__(self) -> None:
        self.rows = self.equal = self.scored = 0
        self.cells = np.zeros((2, CELLS), dtype=np.int64)  # of each side's scores
        self.unusual = 0  # pairs with a score that is not from 0 to 1
        self.distance = 0.0  # sum of the absolute differences of the scores
        self.unbounded = 0  # scores that differ by more than 1

    def take(self, one: Floats, two: Floats, scores: Floats) -> None:
        """Take rows of which both predictions are there, and their scores, shape (n, 2) (NaN: there is none)."""
        self.rows += int(one.size)
        self.equal += int(np.count_nonzero(one == two))
        distance = np.abs(scores[:, 0] - scores[:, 1])
        both = np.isfinite(distance)
        distance = distance[both]
        usual = scores[both & (scores >= 0).all(axis=1) & (scores <= 1).all(axis=1)]
        self.unusual += int(np.count_nonzero(both)) - len(usual)
        if len(usual):
            self.cells += np.stack([cells_of(usual[:, side]) for side in (0, 1)])
        self.scored += int(distance.size)
        self.unbounded += int(np.count_nonzero(distance > 1))
        # one after the other, so that how facts were cut into batches never shows
        self.distance = float(np.add.accumulate(np.concatenate([[self.distance], distance]))[-1])

    def agreed(self, alpha: float) -> Agreed:
        """The figures, with bounds that hold with probability 1 - alpha each."""
        score = _estimate(self.distance, self.scored, alpha) if not self.unbounded else None
        apart = shift(*self.cells) if not self.unusual else None
        return Agreed(_estimate(self.equal, self.rows, alpha), score, apart)


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
        if not paired.size:
            return
        mode, rollout = paired["mode"], paired["rollout_id"]
        twice = mode >= Mode.TWICE
        same = paired["version"][:, 0] == paired["version"][:, 1]  # else the title moved between the two
        told = (twice & same) | ((mode == Mode.SHADOW) & ~same)
        one, two = paired["prediction"].T
        told &= ~np.isnan(one + two)
        newest = int(np.max(rollout, where=told, initial=0))
        if newest > self.rollout_id:
            self.rollout_id, self.challenger, self.itself = newest, Pairs(), Pairs()
        told &= rollout == self.rollout_id
        for pairs, mine in ((self.challenger, told & ~twice), (self.itself, told & twice)):
            if mine.any():
                pairs.take(one[mine], two[mine], paired["score"][mine])


def _estimate(total: float, count: int, alpha: float) -> Estimate | None:
    if count == 0:
        return None
    lower, upper = ratio_bounds(min(total, count), count, alpha)
    return Estimate(total / count, lower, upper, count)
