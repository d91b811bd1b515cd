"""What dashboards show of each version: counts, precision with bounds, and quantiles of the last minute or two.

Answers and latencies are those of the traffic: every one, also of ids that came again, which are no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comparator.answers import Answers
from comparator.guardrail import Estimate
from comparator.sequence import ratio_bounds
from comparator.sketch import Sketch

if TYPE_CHECKING:
    from comparator.events import Columns
    from comparator.pairing import Joined

SPAN_SECONDS = 60.0
"""Quantiles are of the span under way and the one before it."""

CELLS = ("tn", "fn", "fp", "tp")  # index: 2 * predicted positive + labelled positive
"""Of several classes none is the positive one: a right prediction is a tp, a wrong one an fp. Precision then is
accuracy, the micro precision of them all."""


@dataclass(frozen=True, slots=True)
class VersionScore:
    """One version's figures since its first observation; `p50` and `p99` in seconds, of the last 60 to 120 seconds."""

    answers: int
    failed: int
    labelled: Mapping[str, int]  # tp, fp, fn, tn
    precision: Estimate | None
    p50: float | None
    p99: float | None


class Version:
    """What was counted of one version."""

    __slots__ = ("answers", "before", "cells", "failed", "now", "span")

    def __init__(self) -> None:
        self.answers = self.failed = 0
        self.cells = np.zeros(len(CELLS), dtype=np.int64)
        self.span = -1
        self.now, self.before = Sketch(), Sketch()

    def turn(self, span: int) -> None:
        """Let the span under way be `span`."""
        if span > self.span:
            self.before = self.now if span == self.span + 1 else Sketch()
            self.now = Sketch()
            self.span = span


class Scoreboard:
    """The figures of every version of one model.

    Args:
        alpha: the bounds of a precision hold at all times together with probability 1 - alpha.
    """

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._versions: dict[int, Version] = {}

    @property
    def versions(self) -> list[int]:
        """The versions seen, ascending."""
        return sorted(self._versions)

    def observe(self, columns: Columns, joined: Joined, *, multiclass: bool = False) -> None:
        """Take observations (dtype OBSERVATION) and what they completed."""
        answers = Answers.of(columns)
        for version in np.unique(answers.version).tolist():
            mine = answers.where(answers.version == version)
            seen = self._of(version)
            seen.answers += mine.size
            seen.failed += int(np.count_nonzero(mine.failed))
            mine = mine.where(mine.told)
            spans = np.floor(mine.at / SPAN_SECONDS).astype(np.int64)
            for span in np.unique(spans).tolist():
                seen.turn(span)
                seen.now.add_bins(mine.bins[spans == span])
        self.label(joined, multiclass=multiclass)

    def label(self, joined: Joined, *, multiclass: bool = False) -> None:
        """Take predictions that met their labels."""
        scored = joined.scored[~np.isnan(joined.scored["prediction"])]
        for version in np.unique(scored["version"]).tolist():
            mine = scored[scored["version"] == version]
            if multiclass:
                cell = 2 + (mine["prediction"] == mine["label"])
            else:
                cell = 2 * (mine["prediction"] == 1.0) + (mine["label"] == 1.0)
            self._of(version).cells += np.bincount(cell.astype(np.int64), minlength=len(CELLS))

    def labelled(self, version: int) -> dict[str, int]:
        """One version's labels joined so far (tp, fp, fn, tn), without the cost of its bounds."""
        seen = self._versions.get(version) or Version()
        return dict(zip(CELLS, seen.cells.tolist(), strict=True))

    def score(self, version: int) -> VersionScore:
        """One version's figures; all zero where it was never seen."""
        seen = self._versions.get(version) or Version()
        labelled = dict(zip(CELLS, seen.cells.tolist(), strict=True))
        sketch = Sketch()
        sketch.merge(seen.now)
        sketch.merge(seen.before)
        return VersionScore(
            answers=seen.answers,
            failed=seen.failed,
            labelled=labelled,
            precision=ratio_estimate(labelled["tp"], labelled["tp"] + labelled["fp"], self._alpha),
            p50=_known(sketch.quantile(0.5)),
            p99=_known(sketch.quantile(0.99)),
        )

    def _of(self, version: int) -> Version:
        return self._versions.setdefault(version, Version())


def ratio_estimate(successes: int, count: int, alpha: float) -> Estimate | None:
    """A ratio with its bounds; None of nothing."""
    if count == 0:
        return None
    lower, upper = ratio_bounds(successes, count, alpha)
    return Estimate(successes / count, lower, upper, count)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
