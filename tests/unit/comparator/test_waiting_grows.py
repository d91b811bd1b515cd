"""The table of what waits grows and is packed while rows wait in it, over and over, and loses nothing."""

import numpy as np
import pytest
from plain_pairing import Plain

from comparator.events import LABEL, OBSERVATION, Mode
from comparator.pairing import Pairing
from comparator.waiting import MemoryWaitingStore

RETENTION = 500.0
SURGES = 2 * (100, 200, 300, 500, 800, 50, 20, 30, 60, 40, 20, 300, 500, 900, 1200, 10, 20, 30, 20, 200, 400, 400)
"""Requests of each batch: many that grow, then few while those are forgotten, and so on."""


class Watched(MemoryWaitingStore):
    """Notes what it is packed into."""

    def __init__(self, settled_seconds, seed):
        self.sizes, self.freed = [], 0
        super().__init__(settled_seconds, seed)

    def _compact(self, room):
        before = self._count
        super()._compact(room)
        self.sizes.append(len(self.rows))
        self.freed += before > self._count


def batches(rng, surges):
    """(observations, labels) of requests that come again, in part, and whose labels come soon, late, twice or never."""
    at, asked = 1000.0, 0
    for size in surges:
        fresh = np.arange(asked, asked + size)
        asked += size
        again = rng.integers(max(0, asked - 3000), asked, size // 4)
        ids = rng.permutation(np.concatenate([fresh, fresh[rng.random(size) < 0.8], again]))
        seen = np.zeros(ids.size, OBSERVATION)
        seen["at"] = at + np.sort(rng.random(ids.size)) * 10.0
        seen["request_hi"], seen["request_lo"], seen["row"] = ids % 3, ids << 20, ids % 2
        seen["version"], seen["mode"], seen["rollout_id"] = rng.integers(1, 3, ids.size), Mode.SHADOW, 7
        seen["attempted_both"], seen["prediction"] = ids % 5 > 0, rng.integers(0, 2, ids.size)
        ids = rng.integers(max(0, asked - 2500), asked + 50, size // 2)
        told = np.zeros(ids.size, LABEL)
        told["at"] = at + np.sort(rng.random(ids.size)) * 10.0
        told["request_hi"], told["request_lo"], told["row"] = ids % 3, ids << 20, ids % 2
        told["label"] = rng.integers(0, 2, ids.size)
        yield at, seen, told
        at += 150.0 if size < 100 else 30.0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_table_that_grows_and_is_packed_joins_as_a_dictionary_does(seed):
    rng = np.random.default_rng(seed)
    store = Watched(RETENTION, seed << 40)
    pairing, plain = Pairing(RETENTION, store), Plain(RETENTION)
    found = {name: [] for name in ("completed", "paired", "scored", "observed", "again")}
    for at, seen, told in batches(rng, SURGES):
        pairing.expire(at)
        joined = pairing.take(seen, told)
        found["completed"] += [(float(row["at"]), sides(row), float(row["label"])) for row in joined.completed]
        found["paired"] += [(float(row["at"]), sides(row)) for row in joined.paired]
        names = ("at", "version", "prediction", "label")
        found["scored"] += [tuple(float(row[name]) for name in names) for row in joined.scored]
        names = ("at", "request_hi", "request_lo", "row", "version", "prediction")
        found["observed"] += [tuple(float(row[name]) for name in names) for row in joined.observed]
        found["again"] += [tuple(float(row[name]) for name in names) for row in joined.repeated]
        taken(plain, seen, told)
    steps = np.diff(store.sizes)
    assert np.count_nonzero(steps > 0) >= 4
    assert np.count_nonzero(steps < 0) >= 1
    assert store.freed >= 3
    for name, events in found.items():
        assert events == getattr(plain, name), name
        assert len(events) > 500, name
    for name in ("matched", "unknown", "duplicates", "conflicts", "repeated"):
        assert getattr(pairing, name) == getattr(plain, name) > 0, name
    pairing.expire(1e9)
    assert (pairing.predictions_waiting, pairing.labels_waiting) == (0, 0)
    assert pairing.unlabelled == plain.rows_seen - plain.matched
    assert pairing.expired == plain.rows_told - plain.matched


def sides(row):
    return tuple((int(row["version"][i]), float(row["prediction"][i])) for i in range(int(row["sides"])))


def taken(plain, seen, told):
    """One event after another in order of time, of one moment observations first."""
    names = ("at", "request_hi", "request_lo", "row")
    events = [
        (*row, kind, *rest)
        for kind, columns, more in ((0, seen, ("version", "attempted_both", "prediction")), (1, told, ("label",)))
        for row, rest in zip(columns[list(names)].tolist(), columns[list(more)].tolist(), strict=True)
    ]
    for at, hi, lo, row, kind, *rest in sorted(events, key=lambda event: (event[0], event[4])):
        if kind == 0:
            version, both, prediction = rest
            plain.observe((hi, lo, row), at, version, bool(both), prediction)
        else:
            plain.take_label((hi, lo, row), at, *rest)
