"""Answers against the schema of the champion's: so many rows as asked, a prediction in them, a score or none. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Final

import numpy as np

from comparator.events import Columns, Outcome, Role
from router.control.skew.names import Difference

MOST_WAITING: Final = 4096
"""Requests whose answers have not come, and answers whose requests have not: the oldest are forgotten."""

HABIT_ANSWERS: Final = 200
"""The champion's latest, by which it is known whether its answers have scores."""

LEAST_HABIT: Final = 20

Key = tuple[int, int]
Heard = tuple[Key, int, int, bool]
"""Id, role, rows, whether one of them has a score: of one good answer."""


class Answers:
    """Of one model. `counts` are by role and difference."""

    def __init__(self) -> None:
        self.counts = Counter({(role, difference): 0 for role in Role for difference in Difference})
        self._asked: OrderedDict[Key, int] = OrderedDict()
        self._heard: OrderedDict[Key, list[tuple[Role, int]]] = OrderedDict()
        self._scored: deque[bool] = deque(maxlen=HABIT_ANSWERS)

    def asked(self, key: Key, rows: int) -> None:
        """A request has so many rows."""
        self._asked[key] = rows
        for role, answered in self._heard.pop(key, ()):
            self.counts[role, Difference.ROWS] += answered != rows
        while len(self._asked) > MOST_WAITING:
            self._asked.popitem(last=False)

    def observed(self, columns: Columns) -> None:
        """Observations (dtype OBSERVATION, shape (n,)), those of one answer together and in order."""
        garbage = columns[(columns["row"] == 0) & (columns["outcome"] == Outcome.GARBAGE)]
        for role in Role:
            self.counts[role, Difference.PREDICTION] += int(np.count_nonzero(garbage["role"] == role))
        for key, number, rows, scored in _good(columns):
            role = Role(number)
            if role is Role.CHAMPION:
                self._scored.append(scored)
            elif (habit := self._habit()) is not None:
                self.counts[role, Difference.SCORE] += scored != habit
            if key in self._asked:
                self.counts[role, Difference.ROWS] += rows != self._asked[key]
            else:
                self._heard.setdefault(key, []).append((role, rows))
        while len(self._heard) > MOST_WAITING:
            self._heard.popitem(last=False)

    def _habit(self) -> bool | None:
        """Whether the champion's answers have scores; None: some have, or too few are known."""
        scored = sum(self._scored)
        if len(self._scored) < LEAST_HABIT or 0 < scored < len(self._scored):
            return None
        return bool(scored)


def _good(columns: Columns) -> Iterator[Heard]:
    """Answers with a prediction; one that was not read has none."""
    begins = np.flatnonzero(columns["row"] == 0)
    if not begins.size:
        return
    sizes = np.diff([*begins, len(columns)])
    first = columns[begins]
    read = np.logical_or.reduceat(~np.isnan(columns["prediction"]), begins)
    scored = np.logical_or.reduceat(~np.isnan(columns["score"]), begins)
    wanted = (first["outcome"] == Outcome.OK) & read & np.isin(first["role"], [int(role) for role in Role])
    hi, lo, role = (first[name][wanted].tolist() for name in ("request_hi", "request_lo", "role"))
    yield from zip(zip(hi, lo, strict=True), role, sizes[wanted].tolist(), scored[wanted].tolist(), strict=True)
