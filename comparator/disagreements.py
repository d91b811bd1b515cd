"""The latest requests on which champion and challenger differ, for people who want to look at them. No evidence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from comparator.events import Columns, Mode, Role

KEPT = 50


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One row of one request.

    Args:
        at: when both answers were there, in seconds since the epoch.
        request: the 128 bits of its id.
        row: which row of the request.
        version: the champion, and the one beside it.
        predicted: by each of them, in the same order.
    """

    at: float
    request: int
    row: int
    version: tuple[int, int]
    predicted: tuple[float, float]


class Disagreements:
    """Keeps the latest KEPT, in memory."""

    def __init__(self) -> None:
        self._latest: deque[Disagreement] = deque(maxlen=KEPT)

    def take(self, paired: Columns) -> None:
        """Look at pairs (dtype JOINED)."""
        paired = paired[paired["mode"] < Mode.TWICE]  # no champion beside itself
        if not paired.size:
            return
        one, two = paired["prediction"][:, 0], paired["prediction"][:, 1]
        differ = np.flatnonzero((one != two) & ~np.isnan(one) & ~np.isnan(two))
        for pair in paired[differ[-KEPT:]]:
            champion = 0 if pair["role"][0] == Role.CHAMPION else 1
            order = (champion, 1 - champion)
            self._latest.append(
                Disagreement(
                    float(pair["at"]),
                    int(pair["hi"]) << 64 | int(pair["lo"]),
                    int(pair["row"]),
                    (int(pair["version"][order[0]]), int(pair["version"][order[1]])),
                    (float(pair["prediction"][order[0]]), float(pair["prediction"][order[1]])),
                )
            )

    def latest(self) -> list[Disagreement]:
        """The newest first."""
        return list(self._latest)[::-1]
