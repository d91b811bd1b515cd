"""Where observations and late labels meet, in any order, and both sides of a shadow pair.

A label counts once: the same again is harmless and counted, another value for the same row is a conflict, and the first
one stands, or the last one within the grace that labels are held for. What has not met within the retention is
forgotten and counted.

An answer counts once, too: what comes again of the same row of the same id, from the same version, or in a canary from
either, is no evidence for anything. The first stands, whatever became of it. Rows are told apart one by one; errors and
latency of an answer of many rows are told by row 0, so they come again when row 0 does. A champion that was asked
twice on purpose (Mode.TWICE and AGAIN) has two answers, which are a pair; the first one meets the label.

A batch is taken as columns: its events are looked up together, and those of one row of a request are then taken one
after the other, all first ones at once, then all second ones, and so on. The result is that of taking one event at a
time, in order; it does not depend on how the events were cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparator.events import LABEL, OBSERVATION, Columns, Mode
from comparator.held import HeldLabels
from comparator.waiting import (
    BOTH,
    FIRST,
    GONE,
    LABELLED,
    SECOND,
    SETTLED,
    MemoryWaitingStore,
    Places,
    WaitingStore,
)

JOINED = np.dtype(
    [
        ("at", "<f8"),  # when the last part came
        ("rollout_id", "<u8"),
        ("hi", "<u8"),  # of the request's id
        ("lo", "<u8"),
        ("row", "<u4"),
        ("mode", "u1"),
        ("label", "<f8"),  # NaN in `Joined.paired`: there it says nothing of the label
        ("sides", "u1"),  # 1 or 2
        ("version", "<u4", (2,)),  # of each side, 0: none
        ("role", "u1", (2,)),
        ("prediction", "<f8", (2,)),  # NaN: none
        ("score", "<f8", (2,)),  # NaN: none
    ]
)
"""One row of one request: what each side predicted, and the truth."""

SCORED = np.dtype(
    [
        ("at", "<f8"),
        ("rollout_id", "<u8"),
        ("mode", "u1"),
        ("version", "<u4"),
        ("prediction", "<f8"),
        ("score", "<f8"),
        ("label", "<f8"),
    ]
)
"""One side's prediction that has met its label."""

EXPIRY_GRACE_SECONDS = 60.0
"""Memory is freed so much later than the retention, so that rows a little late find what rows in order would have."""

SETTLED_SECONDS = 3600.0
"""A row that has met its label is remembered so long, to know a second label, or the same answer once more.

One that has not is remembered for the retention. What comes again later than that counts as new.
"""

USUAL_ROUNDS = 3
"""A row usually has two answers and a label. Beyond that, copies of one id are not taken one after the other."""

TOTALS = ("matched", "unknown", "duplicates", "conflicts", "expired", "unlabelled", "repeated", "invalid")

NO_OBSERVATIONS = np.zeros(0, dtype=OBSERVATION)
NO_LABELS = np.zeros(0, dtype=LABEL)


@dataclass(frozen=True, slots=True)
class Joined:
    """What a batch completed, each in order of the events that completed it; and which of its observations count.

    Args:
        completed: JOINED: rows whose label and every side that was attempted are there.
        paired: JOINED: rows of which both sides are there now, labelled or not.
        scored: SCORED: each side's prediction that met its label, whether or not the other side ever comes.
        observed: OBSERVATION: the batch's own, without those that are repeated, in the order given.
        repeated: OBSERVATION: those whose row of the same id had been answered before; none of it is evidence.
    """

    completed: Columns
    paired: Columns
    scored: Columns
    observed: Columns = field(default_factory=lambda: NO_OBSERVATIONS)
    repeated: Columns = field(default_factory=lambda: NO_OBSERVATIONS)

    @property
    def size(self) -> int:
        """How many rows it has."""
        parts = (self.completed, self.paired, self.scored, self.observed, self.repeated)
        return sum(part.size for part in parts)

    def of_rollout(self, rollout_id: int) -> Joined:
        """What of it belongs to one rollout."""
        wanted = np.uint64(rollout_id)
        parts = []
        for part in (self.completed, self.paired, self.scored, self.observed, self.repeated):
            mine = part["rollout_id"] == wanted
            parts.append(part if mine.all() else part[mine])
        return Joined(*parts)


class _Found:
    """Which events of a batch completed what, and which came again; made into columns at its end."""

    def __init__(self, observations: Columns) -> None:
        self._observations = observations
        self.repeated: list[Places] = []  # of the observations
        self.completed: list[Places] = []
        self.paired: list[Places] = []
        self.scored: tuple[list[Places], list[Places]] = ([], [])  # by the first side, by the second

    def joined(self, rows: Columns, at: NDArray[np.float64], place: Places) -> Joined:
        paired = _joined(rows, at, place, self.paired)
        paired["label"] = np.nan
        completed, scored = _joined(rows, at, place, self.completed), self._score(rows, at, place)
        if not self.repeated:
            return Joined(completed, paired, scored, self._observations)
        again = np.zeros(self._observations.size, dtype=bool)
        again[np.concatenate(self.repeated)] = True
        return Joined(completed, paired, scored, self._observations[~again], self._observations[again])

    def _score(self, rows: Columns, at: NDArray[np.float64], place: Places) -> Columns:
        events = [np.concatenate([*parts, _NO_PLACES]) for parts in self.scored]
        both = np.concatenate(events)
        if not both.size:
            return np.zeros(0, dtype=SCORED)
        side = np.repeat([0, 1], [events[0].size, events[1].size])
        order = np.argsort(both, kind="stable")  # of one event the first side comes first
        both, side = both[order], side[order]
        there = np.take(rows, place[both])
        out = np.empty(both.size, dtype=SCORED)
        out["at"] = at[both]
        for name in ("rollout_id", "mode", "label"):
            out[name] = there[name]
        for name in ("version", "prediction", "score"):
            out[name] = np.where(side == 0, there[name][:, 0], there[name][:, 1])
        return out


_NO_PLACES = np.zeros(0, dtype=np.int64)


def _joined(rows: Columns, at: NDArray[np.float64], place: Places, parts: list[Places]) -> Columns:
    events = np.sort(np.concatenate([*parts, _NO_PLACES]))
    if not events.size:
        return np.zeros(0, dtype=JOINED)
    there = np.take(rows, place[events])
    out = np.empty(events.size, dtype=JOINED)
    out["at"] = at[events]
    for name in ("rollout_id", "hi", "lo", "row", "mode", "label", "version", "role", "prediction", "score"):
        out[name] = there[name]
    out["sides"] = 1 + ((there["known"] & SECOND) != 0)
    return out


class Pairing:
    """Joins observations and labels of one model.

    Args:
        retention_seconds: how long a part waits for the others, in data time.
        store: where it waits; in memory by default.
        grace_seconds: how long a label is held before it counts, in data time.
        seed: of the store in memory.

    Attributes:
        labels_waiting: labels that wait for their prediction now; falls, too.
        predictions_waiting: rows of requests that wait for their label now; falls, too.
        matched: labels that met a prediction.
        unknown: labels that came before their prediction, or without one.
        duplicates: labels that came again with the same value.
        conflicts: labels that came again with another value, whichever counts.
        expired: labels forgotten at the retention without having met a prediction.
        unlabelled: predictions forgotten at the retention without having met a label.
        repeated: observations left out because the same row of the same id had been answered before.
        invalid: labels left out because they are not a finite number.
    """

    def __init__(
        self,
        retention_seconds: float,
        store: WaitingStore | None = None,
        *,
        grace_seconds: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._retention = retention_seconds
        self._held = HeldLabels(grace_seconds) if grace_seconds > 0 else None
        self._settled = min(SETTLED_SECONDS, retention_seconds)
        self._store: WaitingStore = store if store is not None else MemoryWaitingStore(self._settled, seed)
        self._clock = -np.inf
        self._twice = False  # whether any champion was asked twice
        self.labels_waiting = self.predictions_waiting = self.matched = self.unknown = 0
        self.duplicates = self.conflicts = 0
        self.expired = self.unlabelled = self.repeated = self.invalid = 0

    @property
    def totals(self) -> Mapping[str, int]:
        """The running totals by name; not what waits now."""
        return {name: getattr(self, name) for name in TOTALS}

    @totals.setter
    def totals(self, totals: Mapping[str, int]) -> None:
        for name in TOTALS:
            setattr(self, name, int(totals.get(name, 0)))

    def observe(self, columns: Columns) -> Joined:
        """Take observations: dtype OBSERVATION, in order of arrival."""
        return self.take(columns, NO_LABELS)

    def label(self, columns: Columns) -> Joined:
        """Take labels: dtype LABEL, in order of arrival."""
        return self.take(NO_OBSERVATIONS, columns)

    def come_due(self, at: float) -> Joined | None:
        """Let the labels count that were held until before `at` (seconds since the epoch); None: none are held."""
        return None if self._held is None else self.take(NO_OBSERVATIONS, NO_LABELS, at)

    @property
    def clock(self) -> float:
        """Up to when labels that are held have come due; -infinity: none has."""
        return -np.inf if self._held is None else self._held.clock

    def take(self, observations: Columns, labels: Columns, until: float = -np.inf) -> Joined:
        """Take both, each in order of arrival, merged by time; of the same moment observations come first.

        Args:
            observations: dtype OBSERVATION.
            labels: dtype LABEL.
            until: labels that are held come due up to then, and up to the latest of these.
        """
        good = np.isfinite(labels["label"])
        if not good.all():
            self.invalid += int(labels.size - np.count_nonzero(good))
            labels = labels[good]
        if self._held is not None:
            before = self._held.duplicates, self._held.conflicts
            labels = self._held.take(labels, max(until, *observations["at"][-1:].tolist(), -np.inf))
            self.duplicates += self._held.duplicates - before[0]
            self.conflicts += self._held.conflicts - before[1]
        if observations.size and labels.size:
            seen, told = (np.maximum.accumulate(np.maximum(each["at"], self._clock)) for each in (observations, labels))
            where = np.searchsorted(seen, told, side="right") + np.arange(told.size)
            is_label = np.zeros(seen.size + told.size, dtype=bool)
            is_label[where] = True
            at = np.empty(is_label.size)
            at[is_label], at[~is_label] = told, seen
        else:
            is_label = np.full(observations.size + labels.size, bool(labels.size))
            raw = labels["at"] if labels.size else observations["at"]
            at = np.maximum.accumulate(np.maximum(raw, self._clock))
        if at.size == 0:
            return Joined(np.zeros(0, JOINED), np.zeros(0, JOINED), np.zeros(0, SCORED))
        self._clock = float(at[-1])
        index = np.empty(at.size, dtype=np.int64)  # of each event within its own columns
        index[is_label], index[~is_label] = np.arange(labels.size), np.arange(observations.size)
        hi, lo, row = (
            _merged(observations[name], labels[name], is_label) for name in ("request_hi", "request_lo", "row")
        )
        place = self._store.places(hi, lo, row, at)
        found = _Found(observations)
        todo, rounds = np.arange(at.size), 0
        while todo.size:
            rounds += 1
            if rounds > USUAL_ROUNDS:
                copies = ~is_label[todo] & self._surely_repeated(place[todo], at[todo])
                self._leave_out(found, index[todo[copies]])
                todo = todo[~copies]
                if not todo.size:
                    break
            now = _firsts(place[todo])
            events, todo = todo[now], todo[~now]
            for event in events[self._stale(place[events], at[events])].tolist():
                self._renew(place, event, float(at[event]))
            told = is_label[events]
            if not told.all():
                mine = events[~told]
                self._observed(found, mine, at[mine], place[mine], observations, index[mine])
            if told.any():
                mine = events[told]
                self._labelled(found, mine, at[mine], place[mine], labels["label"][index[mine]])
        return found.joined(self._store.rows, at, place)

    def expire(self, at: float) -> None:
        """Forget what has waited longer than the retention at `at` (seconds since the epoch)."""
        self._forget(self._store.rows["known"][self._store.expire(at - self._retention - EXPIRY_GRACE_SECONDS)])

    # ---- inside

    def _stale(self, place: Places, at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows are too old for a part that comes at `at`: by data time, whenever memory is freed."""
        rows = self._store.rows
        known = rows["known"][place]
        stale: NDArray[np.bool_] = ((known & GONE) != 0) | (at - rows["at"][place] > self._retention)
        settled = (known & SETTLED) != 0
        if settled.any():
            stale |= settled & (at - rows["settled_at"][place] > self._settled)
        return stale

    def _surely_repeated(self, place: Places, at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where an observation that comes at `at` is a repeated one, whatever comes before it in the same batch.

        Not where the other side may still come, nor where the row may by then be too old.
        """
        rows = self._store.rows
        known = rows["known"][place]
        taken = ((known & (FIRST | SETTLED)) != 0) & ((known & (FIRST | SECOND | BOTH | SETTLED)) != (FIRST | BOTH))
        return np.asarray(taken & ((known & GONE) == 0) & (at - rows["at"][place] <= self._settled))

    def _leave_out(self, found: _Found, index: Places) -> None:
        if index.size:
            self.repeated += index.size
            found.repeated.append(index)

    def _renew(self, place: Places, event: int, at: float) -> None:
        """The row of an event is too old for it: this one, and those of the batch that follow, find a new one."""
        old = int(place[event])
        known = self._store.rows["known"][old : old + 1]
        self._forget(known[(known & GONE) == 0])
        new = self._store.renew(old, at)
        place[event:][place[event:] == old] = new

    def _forget(self, known: NDArray[np.uint8]) -> None:
        """Count what was still waiting in rows that are forgotten."""
        labelled, seen = (known & LABELLED) != 0, (known & FIRST) != 0
        unlabelled, unseen = int(np.count_nonzero(seen & ~labelled)), int(np.count_nonzero(labelled & ~seen))
        self.unlabelled += unlabelled
        self.predictions_waiting -= unlabelled
        self.expired += unseen
        self.labels_waiting -= unseen

    def _observed(
        self,
        found: _Found,
        events: Places,
        at: NDArray[np.float64],
        place: Places,
        columns: Columns,
        index: Places,
    ) -> None:
        """One observation for each of these places, all different."""
        rows = self._store.rows
        known = rows["known"][place]
        version = columns["version"][index]
        is_first = (known & (FIRST | SETTLED)) == 0
        waits = (known & (FIRST | SECOND | BOTH | SETTLED)) == (FIRST | BOTH)
        other = rows["version"][place, 0] != version
        itself = self._second(waits, columns["mode"][index], place)
        waits &= other if itself is None else other | itself
        self._leave_out(found, index[~(is_first | waits)])
        for taken, side, bit in ((is_first, 0, FIRST), (waits, 1, SECOND)):
            if not taken.any():
                continue
            where, what = place[taken], index[taken]
            for name in ("version", "role", "prediction", "score"):
                rows[name][:, side][where] = columns[name][what]
            known[taken] |= bit
            if side == 0:
                rows["rollout_id"][where] = columns["rollout_id"][what]
                rows["mode"][where] = columns["mode"][what]
                known[taken] |= np.where(columns["attempted_both"][what], BOTH, 0).astype(np.uint8)
            labelled = (known & LABELLED) != 0
            if side == 0 or itself is None:
                found.scored[side].append(events[taken & labelled])
            else:
                found.scored[side].append(events[taken & labelled & ~itself])
            if side == 0:
                met = int(np.count_nonzero(taken & labelled))
                self.labels_waiting -= met
                self.matched += met
                self.predictions_waiting += int(where.size) - met
            else:
                found.paired.append(events[waits])
        whole = (is_first & ((known & (LABELLED | BOTH)) == LABELLED)) | (waits & ((known & LABELLED) != 0))
        self._settle(found, events[whole], at[whole], place[whole])
        known[whole] |= SETTLED
        rows["known"][place] = known

    def _second(self, waits: NDArray[np.bool_], mode: NDArray[np.uint8], place: Places) -> NDArray[np.bool_] | None:
        """Which of those that a row waits for are second answers of a champion that was asked twice; None: none are."""
        if not (mode >= Mode.TWICE).any():
            return None
        self._twice = True
        before = self._store.rows["mode"][place]
        return np.asarray(waits & (mode != before) & (mode >= Mode.TWICE) & (before >= Mode.TWICE))

    def _labelled(
        self, found: _Found, events: Places, at: NDArray[np.float64], place: Places, label: NDArray[np.float64]
    ) -> None:
        """One label for each of these places, all different."""
        rows = self._store.rows
        known = rows["known"][place]
        again = (known & LABELLED) != 0
        if again.any():
            same = rows["label"][place[again]] == label[again]
            self.duplicates += int(np.count_nonzero(same))
            self.conflicts += int(np.count_nonzero(~same))
        rows["label"][place[~again]] = label[~again]
        meets = ~again & ((known & FIRST) != 0)
        early = int(np.count_nonzero(~again)) - int(np.count_nonzero(meets))
        self.unknown += early
        self.labels_waiting += early
        met = int(np.count_nonzero(meets))
        self.matched += met
        self.predictions_waiting -= met
        two = (known & SECOND) != 0
        found.scored[0].append(events[meets])
        found.scored[1].append(events[meets & two & (rows["mode"][place] < Mode.TWICE) if self._twice else meets & two])
        known[~again] |= LABELLED
        whole = meets & (two | ((known & BOTH) == 0))
        self._settle(found, events[whole], at[whole], place[whole])
        known[whole] |= SETTLED
        rows["known"][place] = known

    def _settle(self, found: _Found, events: Places, at: NDArray[np.float64], place: Places) -> None:
        if events.size:
            found.completed.append(events)
            self._store.rows["settled_at"][place] = at


def _merged(seen: NDArray[Any], told: NDArray[Any], is_label: NDArray[np.bool_]) -> NDArray[Any]:
    """One column of both kinds of events, in their common order."""
    if seen.size == 0 or told.size == 0:
        return np.ascontiguousarray(told if told.size else seen)
    out = np.empty(is_label.size, dtype=seen.dtype)
    out[is_label], out[~is_label] = told, seen
    return out


def _firsts(place: Places) -> NDArray[np.bool_]:
    """Which events are the first of their place among these."""
    low = int(place.min())
    first = np.empty(int(place.max()) - low + 1, dtype=np.int64)
    back = np.arange(place.size - 1, -1, -1)
    first[place[::-1] - low] = back  # the last written stands: the first in order
    return np.asarray(first[place - low] == np.arange(place.size))
