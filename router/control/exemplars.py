"""The latest traced answer of each bucket of the durations: from a slow bucket straight to a trace of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
from prometheus_client.samples import Exemplar

from comparator.events import Outcome, Role
from router.control.metric_table import BOUNDS
from router.link.messages import Span

_BUCKETS: Final = len(BOUNDS) + 1
_TOLD: Final = (Outcome.OK, Outcome.TIMEOUT)
"""What the histogram counts: comparator.answers.Answers.told."""


class Exemplars:
    """By role and bucket."""

    def __init__(self) -> None:
        self._latest: dict[int, list[Exemplar | None]] = {}

    def take(self, span: Span) -> None:
        """Note an exchange, if the histogram counts it."""
        if not (span.recorded and span.outcome in _TOLD and span.seconds >= 0):
            return
        seconds = float(np.float32(span.seconds))  # as its row has it: the same bucket
        bucket = bisect_left(BOUNDS, seconds)
        latest = self._latest.setdefault(span.role, [None] * _BUCKETS)
        latest[bucket] = Exemplar(
            {"trace_id": span.trace_id, "span_id": span.span_id}, seconds, round(span.began + seconds, 3)
        )

    def of(self, role: Role) -> Sequence[Exemplar | None]:
        """One of each bucket, or None where there is none."""
        return self._latest.get(int(role), [None] * _BUCKETS)
