"""Which observations count as answers, and which of their latencies: once for all that look at them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comparator.events import NO_EVIDENCE, Outcome
from comparator.sketch import bins_of

if TYPE_CHECKING:
    from comparator.events import Columns

_COUNTS = np.ones(256, dtype=bool)
_COUNTS[[int(outcome) for outcome in NO_EVIDENCE]] = False
_COUNTS_OR_LEFT = _COUNTS.copy()
_COUNTS_OR_LEFT[int(Outcome.CANCELLED)] = True
_COPIED = ("outcome", "latency", "at", "rollout_id", "version", "role", "mode", "attempted_both", "shed")


@dataclass(frozen=True, slots=True)
class Answers:
    """One row per answer (row 0 of its request), without the outcomes that say nothing about a version.

    Columns of shape (n,), in order of arrival, as in OBSERVATION but for these: `told`: the latency counts, being that
    of an answer that came or of a time-out (a failure that came fast is no fast answer), and finite and not negative;
    `odd`: it is not, whatever the outcome; `bins`: of a `Sketch`, -1 where the latency does not count. `left`: no
    answer, the client went away before it, after `latency` seconds: it would have taken longer, nothing else is known.
    """

    at: NDArray[np.float64]
    rollout_id: NDArray[np.uint64]
    version: NDArray[np.uint32]
    role: NDArray[np.uint8]
    mode: NDArray[np.uint8]
    attempted_both: NDArray[np.bool_]
    shed: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # failed, and not by what the client sent
    timed_out: NDArray[np.bool_]
    latency: NDArray[np.float64]  # seconds
    told: NDArray[np.bool_]
    odd: NDArray[np.bool_]
    bins: NDArray[np.int64]
    left: NDArray[np.bool_]

    @classmethod
    def of(cls, columns: Columns, *, with_left: bool = False) -> Answers:
        """The answers among these observations, dtype OBSERVATION, and if asked the clients that left before theirs."""
        says = _COUNTS_OR_LEFT if with_left else _COUNTS
        counted = (columns["row"] == 0) & says[columns["outcome"]]
        index = None if counted.all() else np.flatnonzero(counted)
        copied: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(columns[name]) if index is None else columns[name][index] for name in _COPIED
        }
        outcome = copied.pop("outcome")
        latency = copied.pop("latency").astype(np.float64)
        odd = ~((latency >= 0) & (latency < np.inf))
        timed_out = outcome == Outcome.TIMEOUT
        told = (timed_out | (outcome == Outcome.OK)) & ~odd
        bins = np.where(told, bins_of(np.where(told, latency, 1.0)), -1)
        return cls(
            **copied,
            failed=outcome != Outcome.OK,
            broken=(outcome != Outcome.OK) & (outcome != Outcome.CLIENT_ERROR),
            timed_out=timed_out,
            latency=latency,
            told=told,
            odd=odd,
            bins=bins,
            left=outcome == Outcome.CANCELLED,
        )

    @property
    def asked(self) -> NDArray[np.float64]:
        """When each request came, seconds since the epoch; where the latency is odd, when its outcome was known."""
        return self.at - np.where(self.odd, 0.0, self.latency)

    @property
    def size(self) -> int:
        """How many."""
        return self.at.size

    def where(self, mask: NDArray[np.bool_]) -> Answers:
        """Those of them."""
        if mask.all():
            return self
        index = np.flatnonzero(mask)
        return Answers(*(getattr(self, each.name)[index] for each in fields(self)))
