"""Labels that are held for a while before they count, so that a correction can still replace them.

Where labels are settled in steps (a claim that is reviewed, a chargeback that is withdrawn), the last one within the
policy's grace counts. What has counted is evidence, and stays: a test that bets cannot take a bet back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from comparator.events import LABEL, Columns

Key = tuple[int, int, int]


@dataclass(slots=True)
class _Held:
    due: float
    key: Key
    label: float


class HeldLabels:
    """Holds labels for a time.

    A label counts as soon as something later than its due moment is known: what comes at that very moment is before it,
    in whichever batch it comes.

    Args:
        grace_seconds: from a row's first label until it counts.

    Attributes:
        clock: up to when labels have come due.
        duplicates: labels that came again with the same value while the first was held.
        conflicts: labels that came with another value, which counts instead.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace = grace_seconds
        self._waiting: deque[_Held] = deque()  # in order of their due times
        self._by_key: dict[Key, _Held] = {}
        self.clock = -np.inf
        self.duplicates = self.conflicts = 0

    def take(self, labels: Columns, until: float) -> Columns:
        """Take labels (dtype LABEL, in order of arrival); return those that count before `until`, with when they do."""
        due: list[_Held] = []
        parts = [labels[name].tolist() for name in ("at", "request_hi", "request_lo", "row", "label")]
        for at, hi, lo, row, label in zip(*parts, strict=True):
            self.clock = max(self.clock, at)
            due += self._release(self.clock)
            key = (hi, lo, row)
            held = self._by_key.get(key)
            if held is None:
                held = self._by_key[key] = _Held(self.clock + self._grace, key, label)
                self._waiting.append(held)
            elif held.label == label:
                self.duplicates += 1
            else:
                self.conflicts += 1
                held.label = label
        self.clock = max(self.clock, until)
        due += self._release(self.clock)
        columns = np.zeros(len(due), dtype=LABEL)
        columns["at"] = [held.due for held in due]
        columns["request_hi"], columns["request_lo"], columns["row"] = (
            np.array([held.key for held in due], dtype=np.uint64).reshape(-1, 3).T
        )
        columns["label"] = [held.label for held in due]
        return columns

    def _release(self, at: float) -> list[_Held]:
        found = []
        while self._waiting and self._waiting[0].due < at:
            held = self._waiting.popleft()
            del self._by_key[held.key]
            found.append(held)
        return found
