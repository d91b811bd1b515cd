"""Which observations count as answers, and which of their latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comparator.events import NO_EVIDENCE, Outcome

if TYPE_CHECKING:
    from comparator.events import Columns

_SAYS_NOTHING = np.array(sorted(NO_EVIDENCE), dtype=np.uint8)


def first_rows(columns: Columns) -> Columns:
    """One row per answer (row 0 of its request), without the outcomes that say nothing about a version."""
    counted: Columns = columns[(columns["row"] == 0) & ~np.isin(columns["outcome"], _SAYS_NOTHING)]
    return counted


def counted_latency(answers: Columns) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The latencies in seconds, and which of them count.

    Those of answers that came, and of time-outs. A failure that came fast is a failure, not a fast answer; a latency
    that is NaN, negative or infinite is left out.
    """
    latency = answers["latency"].astype(np.float64)
    came = (answers["outcome"] == Outcome.OK) | (answers["outcome"] == Outcome.TIMEOUT)
    return latency, came & np.isfinite(latency) & (latency >= 0)
