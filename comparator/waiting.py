"""What waits for its other parts: one row per row of a request, found by key, many at a time.

The rows stand in order of arrival in one structured array; an open-addressing hash table of row numbers (linear
probing, at most half full) finds them. All of it is numpy work on whole batches: no object per request.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Numbers = NDArray[np.uint64]

WAITING = np.dtype(
    [
        ("at", "<f8"),  # when its first part came
        ("settled_at", "<f8"),  # when all had met
        ("hi", "<u8"),
        ("lo", "<u8"),
        ("rollout_id", "<u8"),
        ("label", "<f8"),
        ("prediction", "<f8", (2,)),
        ("score", "<f8", (2,)),
        ("version", "<u4", (2,)),
        ("row", "<u4"),
        ("role", "u1", (2,)),
        ("mode", "u1"),
        ("known", "u1"),  # bits: which parts are there
    ]
)
"""What is known of one row of one request: 96 bytes, and 8 to 16 in the table."""

FIRST, SECOND, LABELLED, BOTH, SETTLED, GONE = 1, 2, 4, 8, 16, 32
"""Bits of `known`. BOTH: both versions were asked. SETTLED: all has met; kept to know what comes again. GONE: forgotten
already, its memory not yet freed."""

SEGMENT_SECONDS = 60.0
"""Rows are forgotten in spans of their arrival of this length."""

_SMALLEST = 1024
_MIX = np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's (Steele, Lea, Flood 2014)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class WaitingStore(Protocol):
    """Keeps what waits for its other parts. Places are numbers of rows; they hold until the next call of `places`."""

    rows: NDArray[np.void]
    """WAITING, by place."""

    def places(self, hi: Numbers, lo: Numbers, row: NDArray[np.uint32], at: NDArray[np.float64]) -> Places:
        """Where each key's row is; new rows, empty but for key and `at`, for keys that are not there."""
        ...

    def renew(self, place: int, at: float) -> int:
        """A new, empty row for the key of this one, whose own row no key finds any more."""
        ...

    def expire(self, before: float) -> Places:
        """Forget the rows whose first part came before this. Returns where they were."""
        ...


def _hash(hi: Numbers, lo: Numbers, row: NDArray[np.uint32], seed: np.uint64) -> Numbers:
    """Mixed once for each part, so that who does not know the seed cannot make one part make up for another."""
    x = _mixed(_mixed(hi ^ seed) + lo)
    later = np.flatnonzero(row)  # most requests have one row
    if later.size:
        x[later] = _mixed(x[later] + row[later])
    return x


def _mixed(x: Numbers) -> Numbers:
    x = (x ^ (x >> np.uint64(30))) * _MIX
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


class MemoryWaitingStore:
    """In memory.

    Args:
        settled_seconds: how long a settled row is remembered.
        seed: of the hash; a secret one where clients may choose ids. No result depends on it.
    """

    def __init__(self, settled_seconds: float, seed: int = 0) -> None:
        self._settled_seconds = settled_seconds
        self._seed = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
        self._make(_SMALLEST)
        self._count = 0  # rows in use, from the first
        self._forgotten = 0  # rows at the front that `expire` has been through
        self._segments: deque[list[float]] = deque()  # [end, first at, last at] of rows, in order of arrival
        self._now = 0.0

    @property
    def bytes(self) -> int:
        """What the rows and the table take now."""
        return self.rows.nbytes + self._slots.nbytes

    def places(self, hi: Numbers, lo: Numbers, row: NDArray[np.uint32], at: NDArray[np.float64]) -> Places:
        """Where each key's row is; new rows, in order of arrival, for keys that are not there."""
        n = hi.size
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        self._now = float(at[0])  # of a batch that spans hours the beginning: no part of it may find less
        if self._count + 2 * n > len(self.rows):  # each of them may have to be renewed, too
            self._compact(2 * n)
        place, leader, slot = self._probe(hi, lo, row)
        fresh = np.flatnonzero(leader == np.arange(n))
        if fresh.size:
            place[fresh] = self._append(hi[fresh], lo[fresh], row[fresh], at[fresh])
            self._slots[slot[fresh]] = place[fresh] + 1
            follows = leader >= 0
            place[follows] = place[leader[follows]]
        return place

    def renew(self, place: int, at: float) -> int:
        """A new, empty row for the key of this one."""
        old = self.rows[place : place + 1]
        (slot,) = self._probe(old["hi"], old["lo"], old["row"])[2]
        old["known"] |= GONE
        (new,) = self._append(old["hi"], old["lo"], old["row"], np.array([at]))
        self._slots[slot] = new + 1
        return int(new)

    def expire(self, before: float) -> Places:
        """Forget the rows whose first part came before this, a whole span of arrival at a time."""
        start = self._forgotten
        while self._segments and self._segments[0][2] < before:
            self._forgotten = int(self._segments.popleft()[0])
        gone: Places = np.arange(start, self._forgotten)
        gone = gone[(self.rows["known"][start : self._forgotten] & GONE) == 0]
        self.rows["known"][gone] |= GONE
        return gone

    # ---- inside

    def _probe(self, hi: Numbers, lo: Numbers, row: NDArray[np.uint32]) -> tuple[Places, Places, Places]:
        """Look up keys, and claim a slot for each that is not there.

        Returns:
            The place of each, -1: not there; of those not there the first in this batch with the same key, else -1;
            the slot of each.
        """
        n, mask = hi.size, len(self._slots) - 1
        slot = self._home(hi, lo, row)
        place = np.full(n, -1, dtype=np.int64)
        leader = np.full(n, -1, dtype=np.int64)
        rows_hi, rows_lo, rows_row = self.rows["hi"], self.rows["lo"], self.rows["row"]
        todo = np.arange(n)
        while todo.size:
            at = slot[todo]
            held = self._slots[at]
            empty = np.flatnonzero(held == 0)
            if empty.size:
                claims = todo[empty][::-1]  # of several claims the last written stands: that of the first in order
                self._slots[at[empty][::-1]] = -claims - 1
                held[empty] = self._slots[at[empty]]
            clash = np.zeros(todo.size, dtype=bool)
            for sign, hi_there, lo_there, row_there, result in (
                (1, rows_hi, rows_lo, rows_row, place),
                (-1, hi, lo, row, leader),
            ):
                those = np.flatnonzero(held > 0 if sign > 0 else held < 0)
                if those.size:
                    there, mine = sign * held[those].astype(np.int64) - 1, todo[those]
                    same = (lo_there[there] == lo[mine]) & (hi_there[there] == hi[mine])
                    same &= row_there[there] == row[mine]
                    result[mine[same]] = there[same]
                    clash[those[~same]] = True
            todo = todo[clash]
            slot[todo] = (slot[todo] + 1) & mask
        return place, leader, slot

    def _home(self, hi: Numbers, lo: Numbers, row: NDArray[np.uint32]) -> Places:
        """The slot where the search for each key begins."""
        return (_hash(hi, lo, row, self._seed) & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _append(self, hi: Numbers, lo: Numbers, row: NDArray[np.uint32], at: NDArray[np.float64]) -> Places:
        start = self._count
        self._count += hi.size
        new = self.rows[start : self._count]
        new["hi"], new["lo"], new["row"], new["at"] = hi, lo, row, at
        new["known"] = 0
        new["label"] = np.nan
        earliest, latest = float(at[0]), float(at[-1])
        last = self._segments[-1] if self._segments else None
        if last is not None and latest - last[1] <= SEGMENT_SECONDS:
            last[0], last[2] = self._count, max(last[2], latest)
        else:
            self._segments.append([self._count, earliest, latest])
        return np.arange(start, self._count)

    def _compact(self, room: int) -> None:
        """Free what is forgotten or has been settled for long, and make room for so many more."""
        rows = self.rows[: self._count]
        known = rows["known"]
        old = ((known & SETTLED) != 0) & (rows["settled_at"] < self._now - self._settled_seconds)
        kept = np.flatnonzero(((known & GONE) == 0) & ~old)
        for segment in self._segments:
            segment[0] = int(np.searchsorted(kept, segment[0]))  # how many are kept of the rows before it
        self._forgotten = int(np.searchsorted(kept, self._forgotten))
        self._count = kept.size
        self._make(int(1.5 * kept.size) + room)
        np.take(rows, kept, out=self.rows[: kept.size], mode="clip")  # else numpy takes them into a copy first
        del rows, known  # the rows from before need not be there while the table is filled
        self._enter(self.rows[: kept.size])

    def _make(self, size: int) -> None:
        """An empty table, and empty rows, with room for at least so many."""
        size = max(size, _SMALLEST)
        self._slots = np.zeros(0, dtype=np.int32)  # the table from before need not be there beside the new one
        self.rows = np.zeros(size, dtype=WAITING)
        self._slots = np.zeros(1 << (2 * size - 1).bit_length(), dtype=np.int32)  # place + 1; 0: empty

    def _enter(self, rows: NDArray[np.void]) -> None:
        """Enter the first rows into an empty table; no two have the same key."""
        slot, mask = self._home(rows["hi"], rows["lo"], rows["row"]), len(self._slots) - 1
        todo = np.arange(rows.size, dtype=np.int32)
        while todo.size:
            at = slot[todo]
            free = self._slots[at] == 0
            self._slots[at[free]] = todo[free] + 1
            todo = todo[self._slots[at] != todo + 1]
            slot[todo] = (slot[todo] + 1) & mask
