"""A cold challenger's first answers tell of its caches and connections, not of the model: they are no evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class WarmUp:
    """Over once the trial version has answered so often, and so many seconds have passed since its first answer.

    Both versions' answers are left out until then, so that the two are compared in the same time.
    """

    def __init__(self, seconds: float, answers: int) -> None:
        self._seconds = seconds
        self._most = answers
        self._answers = 0
        self._began_at: float | None = None
        self.over = seconds <= 0 and answers <= 0

    def take(self, at: NDArray[np.float64], trial: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Take answers in order of arrival: when each came, and whether the trial version gave it.

        Returns:
            Which of them came before it was over, shape (n,).
        """
        if self._began_at is None and trial.any():
            self._began_at = float(at[np.argmax(trial)])
        if self._began_at is None:
            return np.ones(at.size, dtype=np.bool_)
        before = self._answers + np.cumsum(trial) - trial  # the trial version's answers before each
        warm = np.logical_or.accumulate((before >= self._most) & (at >= self._began_at + self._seconds))
        self._answers += int(np.count_nonzero(trial))
        self.over = bool(warm.size and warm[-1])
        return ~warm

    def missing(self, at: float) -> str:
        """What it still waits for, in words."""
        if self._began_at is None:
            return "the challenger's first answer, and its warm-up"
        parts = []
        if (seconds := self._began_at + self._seconds - at) > 0:
            parts.append(f"{seconds:.0f} s")
        if (answers := self._most - self._answers) > 0:
            parts.append(f"{answers:,} answers")
        return f"the end of its warm-up: {' and '.join(parts) or 'the next answer'}"
