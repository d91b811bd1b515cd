"""Where observations and late labels meet, in any order, and both sides of a shadow pair.

A label counts once: the same again is harmless and counted, another value for the same row is a conflict and the first
one stands. What has not met within the retention is forgotten and counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from comparator.events import Columns

JOINED = np.dtype(
    [
        ("at", "<f8"),  # when the last part came
        ("rollout_id", "<u8"),
        ("row", "<u4"),
        ("mode", "u1"),
        ("label", "<f8"),  # 1.0: positive, 0.0: negative; NaN: not yet known (in `Joined.paired`)
        ("sides", "u1"),  # 1 or 2
        ("version", "<u4", (2,)),  # of each side, 0: none
        ("role", "u1", (2,)),
        ("prediction", "<f8", (2,)),  # 1.0: positive; NaN: none
    ]
)
"""One row of one request: what each side predicted, and the truth."""

SCORED = np.dtype(
    [("at", "<f8"), ("rollout_id", "<u8"), ("mode", "u1"), ("version", "<u4"), ("prediction", "<f8"), ("label", "<f8")]
)
"""One side's prediction that has met its label."""

EXPIRY_GRACE_SECONDS = 60.0
"""Memory is freed so much later than the retention, so that rows a little late find what rows in order would have."""

Key = int


@dataclass(slots=True)
class Side:
    """What one version predicted."""

    version: int
    role: int
    prediction: float


@dataclass(slots=True)
class Waiting:
    """What is known of one row of one request. `settled`: all has met; kept to know a second label when it comes."""

    at: float  # when its first part came
    rollout_id: int = 0
    mode: int = 0
    attempted_both: bool = False
    first: Side | None = None
    second: Side | None = None
    label: float = math.nan
    settled: bool = False


_NOBODY = Side(0, 0, math.nan)


class WaitingStore(Protocol):
    """Keeps what waits for its other parts, by key."""

    def get(self, key: Key) -> Waiting | None:
        """What waits under this key."""
        ...

    def put(self, key: Key, waiting: Waiting) -> None:
        """Keep this, in place of what was there."""
        ...

    def drop(self, key: Key) -> None:
        """Forget this key."""
        ...

    def pop_before(self, at: float) -> list[Waiting]:
        """Forget and return all whose first part came before `at`."""
        ...


class MemoryWaitingStore:
    """In memory: about 390 bytes a row of a request while it waits, 260 once it has met its label."""

    def __init__(self) -> None:
        self._rows: dict[Key, Waiting] = {}

    def get(self, key: Key) -> Waiting | None:
        """What waits under this key."""
        return self._rows.get(key)

    def put(self, key: Key, waiting: Waiting) -> None:
        """Keep this, in place of what was there."""
        self._rows[key] = waiting

    def drop(self, key: Key) -> None:
        """Forget this key."""
        self._rows.pop(key, None)

    def pop_before(self, at: float) -> list[Waiting]:
        """Forget and return the oldest, as long as their first part came before `at` (in order of arrival)."""
        gone: list[Key] = []
        for key, waiting in self._rows.items():
            if waiting.at >= at:
                break
            gone.append(key)
        return [self._rows.pop(key) for key in gone]


@dataclass(frozen=True, slots=True)
class Joined:
    """What a batch completed.

    Args:
        completed: JOINED: rows whose label and every side that was attempted are there.
        paired: JOINED: rows of which both sides are there now, labelled or not.
        scored: SCORED: each side's prediction that met its label, whether or not the other side ever comes.
    """

    completed: Columns
    paired: Columns
    scored: Columns

    def of_rollout(self, rollout_id: int) -> Joined:
        """What of it belongs to one rollout."""
        wanted = np.uint64(rollout_id)
        return Joined(*(part[part["rollout_id"] == wanted] for part in (self.completed, self.paired, self.scored)))


class _Batch:
    """Collects what a batch completes."""

    __slots__ = ("completed", "paired", "scored")

    def __init__(self) -> None:
        self.completed: list[tuple[object, ...]] = []
        self.paired: list[tuple[object, ...]] = []
        self.scored: list[tuple[object, ...]] = []

    def score(self, at: float, waiting: Waiting, side: Side) -> None:
        self.scored.append((at, waiting.rollout_id, waiting.mode, side.version, side.prediction, waiting.label))

    @staticmethod
    def row(at: float, row: int, waiting: Waiting) -> tuple[object, ...]:
        first, second = waiting.first or _NOBODY, waiting.second or _NOBODY
        return (
            at,
            waiting.rollout_id,
            row,
            waiting.mode,
            waiting.label,
            1 if second is _NOBODY else 2,
            (first.version, second.version),
            (first.role, second.role),
            (first.prediction, second.prediction),
        )

    def joined(self) -> Joined:
        return Joined(
            np.array(self.completed, dtype=JOINED),
            np.array(self.paired, dtype=JOINED),
            np.array(self.scored, dtype=SCORED),
        )


class Pairing:
    """Joins observations and labels of one model.

    Args:
        retention_seconds: how long a part waits for the others, in data time.
        store: where it waits; in memory by default.

    Attributes:
        labels_waiting: labels that wait for their prediction now; falls, too.
        predictions_waiting: rows of requests that wait for their label now; falls, too.
        matched: labels that met a prediction.
        unknown: labels that came before their prediction, or without one.
        duplicates: labels that came again with the same value.
        conflicts: labels that came again with another value; the first counts.
        expired: labels forgotten at the retention without having met a prediction.
        unlabelled: predictions forgotten at the retention without having met a label.
        repeated: observations left out because their version had answered the same row of the same id before.
        invalid: labels left out because they are not a number.
    """

    def __init__(self, retention_seconds: float, store: WaitingStore | None = None) -> None:
        self._retention = retention_seconds
        self._store: WaitingStore = store if store is not None else MemoryWaitingStore()
        self.labels_waiting = self.predictions_waiting = self.matched = self.unknown = 0
        self.duplicates = self.conflicts = 0
        self.expired = self.unlabelled = self.repeated = self.invalid = 0

    def observe(self, columns: Columns) -> Joined:
        """Take observations: dtype OBSERVATION, in order of arrival."""
        batch = _Batch()
        names = ("at", "rollout_id", "request_hi", "request_lo", "row", "version", "role", "mode", "attempted_both")
        parts = [columns[name].tolist() for name in (*names, "prediction")]
        for at, rollout_id, hi, lo, row, version, role, mode, both, prediction in zip(*parts, strict=True):
            key = (hi << 96) | (lo << 32) | row
            waiting = self._find(key, at)
            if waiting is None:
                waiting = Waiting(at, rollout_id, mode, both)
                self._store.put(key, waiting)
            elif waiting.first is None and not waiting.settled:
                waiting.rollout_id, waiting.mode, waiting.attempted_both = rollout_id, mode, both
            self._side(batch, at, key, waiting, Side(version, role, prediction))
        return batch.joined()

    def label(self, columns: Columns) -> Joined:
        """Take labels: dtype LABEL, in order of arrival."""
        batch = _Batch()
        parts = [columns[name].tolist() for name in ("at", "request_hi", "request_lo", "row", "label")]
        for at, hi, lo, row, label in zip(*parts, strict=True):
            if math.isnan(label):
                self.invalid += 1
                continue
            key = (hi << 96) | (lo << 32) | row
            waiting = self._find(key, at)
            if waiting is None:
                self._store.put(key, Waiting(at, label=label))
                self.unknown += 1
                self.labels_waiting += 1
            elif not math.isnan(waiting.label):
                if waiting.label == label:
                    self.duplicates += 1
                else:
                    self.conflicts += 1
            else:
                self._meet(batch, at, key, waiting, label)
        return batch.joined()

    def expire(self, at: float) -> None:
        """Forget what has waited longer than the retention at `at` (seconds since the epoch)."""
        for waiting in self._store.pop_before(at - self._retention - EXPIRY_GRACE_SECONDS):
            self._forget(waiting)

    # ---- inside

    def _find(self, key: Key, at: float) -> Waiting | None:
        """What waits there and is not too old for a part that comes at `at`: by data time, whenever memory is freed."""
        waiting = self._store.get(key)
        if waiting is not None and at - waiting.at > self._retention:
            self._store.drop(key)
            self._forget(waiting)
            return None
        return waiting

    def _forget(self, waiting: Waiting) -> None:
        if math.isnan(waiting.label):
            self.unlabelled += 1
            self.predictions_waiting -= 1
        elif waiting.first is None and not waiting.settled:
            self.expired += 1
            self.labels_waiting -= 1

    def _side(self, batch: _Batch, at: float, key: Key, waiting: Waiting, side: Side) -> None:
        first = waiting.first
        labelled = not math.isnan(waiting.label)
        if waiting.settled or waiting.second is not None or (first is not None and first.version == side.version):
            self.repeated += 1
            return
        if first is None:
            waiting.first = side
            if labelled:
                self.labels_waiting -= 1
                self.matched += 1
            else:
                self.predictions_waiting += 1
        elif waiting.attempted_both:
            waiting.second = side
            batch.paired.append(batch.row(at, key & 0xFFFFFFFF, waiting))
        else:
            self.repeated += 1
            return
        if labelled:
            batch.score(at, waiting, side)
            self._settle(batch, at, key, waiting)

    def _meet(self, batch: _Batch, at: float, key: Key, waiting: Waiting, label: float) -> None:
        waiting.label = label
        self.predictions_waiting -= 1
        self.matched += 1
        for side in (waiting.first, waiting.second):
            if side is not None:
                batch.score(at, waiting, side)
        self._settle(batch, at, key, waiting)

    def _settle(self, batch: _Batch, at: float, key: Key, waiting: Waiting) -> None:
        if waiting.attempted_both and waiting.second is None:
            return
        batch.completed.append(batch.row(at, key & 0xFFFFFFFF, waiting))
        waiting.settled = True
        waiting.first = waiting.second = None
