"""What Pairing does, one event at a time, in a dictionary: slow, and plain to see that it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from comparator.pairing import SETTLED_SECONDS


@dataclass
class Row:
    at: float
    both: bool = False
    sides: list = field(default_factory=list)  # (version, prediction)
    label: float | None = None
    settled_at: float | None = None


class Plain:
    """One event at a time, in a dictionary."""

    def __init__(self, retention):
        self.retention = retention
        self.rows = {}
        self.completed, self.paired, self.scored = [], [], []
        self.observed, self.again = [], []
        self.rows_seen = self.rows_told = 0
        self.matched = self.unknown = self.duplicates = self.conflicts = self.repeated = self.invalid = 0

    def find(self, key, at):
        row = self.rows.get(key)
        if row is not None:
            memory = min(SETTLED_SECONDS, self.retention)
            if at - row.at > self.retention or (row.settled_at is not None and at - row.settled_at > memory):
                del self.rows[key]
                return None
        return row

    def observe(self, key, at, version, both, prediction):
        row = self.find(key, at)
        if row is None:
            row = self.rows[key] = Row(at)
        if row.settled_at is not None or len(row.sides) == 2 or any(version == side[0] for side in row.sides):
            self.repeated += 1
            self.again.append((at, *key, version, prediction))
            return
        if not row.sides:
            row.both = both
            self.matched += row.label is not None
        elif not row.both:
            self.repeated += 1
            self.again.append((at, *key, version, prediction))
            return
        self.observed.append((at, *key, version, prediction))
        self.rows_seen += not row.sides
        row.sides.append((version, prediction))
        if len(row.sides) == 2:
            self.paired.append((at, tuple(row.sides)))
        if row.label is not None:
            self.scored.append((at, version, prediction, row.label))
            self.settle(row, at)

    def take_label(self, key, at, label):
        if not math.isfinite(label):
            self.invalid += 1
            return
        row = self.find(key, at)
        if row is None:
            row = self.rows[key] = Row(at)
        if row.label is not None:
            self.duplicates += row.label == label
            self.conflicts += row.label != label
            return
        row.label = label
        self.rows_told += 1
        if not row.sides:
            self.unknown += 1
            return
        self.matched += 1
        self.scored += [(at, *side, label) for side in row.sides]
        self.settle(row, at)

    def settle(self, row, at):
        if not row.both or len(row.sides) == 2:
            row.settled_at = at
            self.completed.append((at, tuple(row.sides), row.label))
