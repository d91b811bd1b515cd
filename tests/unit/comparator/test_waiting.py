"""The join of whole batches is that of one event at a time: held against a model in plain Python."""

import math
import secrets
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_pairing import Plain

from comparator.events import LABEL, OBSERVATION, Mode
from comparator.pairing import EXPIRY_GRACE_SECONDS, SETTLED_SECONDS, Pairing
from comparator.waiting import MemoryWaitingStore, _hash

RETENTION = 100.0


def events_after(*waits):
    return st.lists(
        st.tuples(
            st.integers(0, 5),  # which request
            st.integers(0, 1),  # which row of it
            st.sampled_from(waits),  # seconds after the event before
            st.one_of(
                st.tuples(st.just("seen"), st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 1.0])),
                st.tuples(st.just("told"), st.sampled_from([0.0, 1.0, math.nan, math.inf])),
            ),
        ),
        max_size=60,
    )


events = events_after(0.0, 0.5, 10.0, 60.0, 101.0)


def columns(given_events):
    """Each event with its time, and both kinds as columns."""
    at, seen, told, order = 1000.0, [], [], []
    for request, row, wait, what in given_events:
        at += wait
        key = (request * 2**32, row)
        order.append((at, key, what))
        if what[0] == "seen":
            one = np.zeros(1, OBSERVATION)
            one["version"], one["attempted_both"], one["prediction"] = what[1:]
            one["mode"], one["rollout_id"] = Mode.SHADOW, 7
        else:
            one = np.zeros(1, LABEL)
            one["label"] = what[1]
        one["at"], one["request_lo"], one["row"] = at, *key
        (seen if what[0] == "seen" else told).append(one)
    none = (np.zeros(0, OBSERVATION), np.zeros(0, LABEL))
    return order, *(np.concatenate(parts) if parts else empty for parts, empty in zip((seen, told), none, strict=True))


def sides(row):
    return tuple((int(row["version"][i]), float(row["prediction"][i])) for i in range(int(row["sides"])))


@given(events, st.lists(st.integers(0, 3000), max_size=6), st.booleans())
@settings(max_examples=5 * settings().max_examples, deadline=None)
def test_batches_are_joined_as_one_event_at_a_time(given_events, cuts, forgets):
    compare(given_events, cuts, forgets, RETENTION)


@given(events_after(0.0, 1.0, 1800.0, 3600.0, 3601.0), st.lists(st.integers(0, 90_000), max_size=6), st.booleans())
@settings(max_examples=4 * settings().max_examples, deadline=None)
def test_what_was_settled_is_remembered_for_its_time(given_events, cuts, forgets):
    compare(given_events, cuts, forgets, 20_000.0)


def compare(given_events, cuts, forgets, retention):
    order, seen, told = columns(given_events)
    plain = Plain(retention)
    # of the same moment observations come first, in a batch of both
    for at, key, what in sorted(order, key=lambda event: (event[0], event[2][0] == "told")):
        if what[0] == "seen":
            plain.observe(key, at, *what[1:])
        else:
            plain.take_label(key, at, what[1])
    pairing = Pairing(retention, seed=len(cuts) << 61)  # any: nothing depends on it
    completed, paired, scored, observed, again = [], [], [], [], []
    edges = [0.0, *(1000.0 + cut for cut in sorted(set(cuts))), 1e9]
    for low, high in pairwise(edges):
        if forgets:
            pairing.expire(low)
        batch = [part[(part["at"] >= low) & (part["at"] < high)] for part in (seen, told)]
        joined = pairing.take(*batch)
        completed += [(float(row["at"]), sides(row), float(row["label"])) for row in joined.completed]
        paired += [(float(row["at"]), sides(row)) for row in joined.paired]
        scored += [
            tuple(float(row[name]) for name in ("at", "version", "prediction", "label")) for row in joined.scored
        ]
        for part, found in ((joined.observed, observed), (joined.repeated, again)):
            found += [
                tuple(float(each[name]) for name in ("at", "request_lo", "row", "version", "prediction"))
                for each in part
            ]
    assert completed == plain.completed
    assert paired == plain.paired
    assert scored == plain.scored
    assert observed == plain.observed
    assert again == plain.again
    for name in ("matched", "unknown", "duplicates", "conflicts", "repeated", "invalid"):
        assert getattr(pairing, name) == getattr(plain, name), name


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_table_that_grows_finds_all_it_was_given(seed):
    rng = np.random.default_rng(3)
    store = MemoryWaitingStore(3600.0, seed)
    hi = np.repeat(rng.integers(0, 4, 3000).astype(np.uint64), 2)  # few differ in their upper half
    lo = np.repeat(rng.integers(0, 50_000, 3000).astype(np.uint64) << np.uint64(40), 2)  # or in their lower bits
    row = np.tile(np.array([0, 1], dtype=np.uint32), 3000)
    keys = [*zip(hi.tolist(), lo.tolist(), row.tolist(), strict=True)]
    known = {}
    for start in range(0, len(keys), 500):
        part = slice(start, start + 500)
        at = np.full(len(keys[part]), float(start))
        places = store.places(hi[part], lo[part], row[part], at)
        for key, place in zip(keys[part], places.tolist(), strict=True):
            stored = store.rows[place]
            assert (stored["hi"], stored["lo"], stored["row"]) == key
            known.setdefault(key, float(stored["at"]))
            assert known[key] == stored["at"]  # found again, not made anew
    assert len(set(known)) == len(set(keys))


def test_who_does_not_know_the_seed_can_choose_no_ids_that_fall_on_each_other():
    rng = np.random.default_rng(5)
    many = rng.integers(0, 1 << 63, 1 << 18).astype(np.uint64)
    few = np.uint64((1 << 10) - 1)

    def homes(seed, hi, lo, row):
        return np.unique(_hash(hi, lo, row, np.uint64(seed)) & few).size

    for part in range(2):  # the upper half chosen, or the lower
        none, no_row = np.zeros_like(many), np.zeros(many.size, dtype=np.uint32)
        hi, lo = (many, none) if part == 0 else (none, many)
        chosen = np.flatnonzero(_hash(hi, lo, no_row, np.uint64(0)) & few == 0)[:200]
        assert homes(0, hi[chosen], lo[chosen], no_row[chosen]) == 1
        for seed in (1, 1 << 63, secrets.randbits(64)):
            assert homes(seed, hi[chosen], lo[chosen], no_row[chosen]) > 150
    row = np.arange(200, dtype=np.uint32)  # a later row of an id that is as much less
    for step in (1, 0x9E3779B97F4A7C15):
        with np.errstate(over="ignore"):
            lo = np.uint64(7) - row.astype(np.uint64) * np.uint64(step)
        assert homes(secrets.randbits(64), np.zeros(200, dtype=np.uint64), lo, row) > 150


def test_memory_is_that_of_what_waits():
    """A hundred thousand requests that met their labels long ago take no more room than the latest thousand."""
    pairing = Pairing(1e6)
    sizes = []
    for piece in range(100):
        seen = np.zeros(1000, OBSERVATION)
        seen["at"], seen["request_lo"] = piece * 600.0, np.arange(1000) + piece * 1000
        told = np.zeros(1000, LABEL)
        told["at"], told["request_lo"] = piece * 600.0 + 1, seen["request_lo"]
        pairing.take(seen, told)
        sizes.append(pairing._store.bytes)
    assert max(sizes[50:]) <= max(sizes[:50])
    assert pairing.matched == 100_000


def test_memory_while_it_grows_is_less_than_three_times_the_rows():
    """As docs say: at most 280 bytes a row that waits."""
    store, batch, grown = MemoryWaitingStore(3600.0), 5000, 0
    ids = np.random.default_rng(9).integers(0, 1 << 63, (40, batch)).astype(np.uint64)
    row = np.zeros(batch, dtype=np.uint32)
    tracemalloc.start()
    try:
        for number, lo in enumerate(ids):
            size = len(store.rows)
            tracemalloc.reset_peak()
            store.places(lo, lo, row, np.full(batch, float(number)))
            peak = tracemalloc.get_traced_memory()[1]
            if len(store.rows) != size and store._count >= 50_000:
                grown += 1
                assert peak < 290 * store._count  # and the batch itself
    finally:
        tracemalloc.stop()
    assert grown >= 2


def test_what_is_forgotten_is_counted_once():
    pairing = Pairing(RETENTION)
    seen = np.zeros(10, OBSERVATION)
    seen["request_lo"] = np.arange(10)
    pairing.observe(seen)
    for _ in range(2):
        pairing.expire(RETENTION + EXPIRY_GRACE_SECONDS + 1)
    seen["at"] = RETENTION + 1
    pairing.observe(seen)
    assert (pairing.unlabelled, pairing.predictions_waiting) == (10, 10)


def told(*labels):
    """(seconds, value) of one request."""
    columns = np.zeros(len(labels), LABEL)
    columns["at"], columns["label"] = zip(*labels, strict=True)
    return columns


def seen(at=0.0):
    columns = np.zeros(1, OBSERVATION)
    columns["at"] = at
    return columns


def test_the_last_label_within_the_grace_counts_and_then_it_stands():
    pairing = Pairing(1e6, grace_seconds=10.0)
    pairing.observe(seen())
    assert pairing.label(told((1.0, 1.0), (5.0, 0.0), (6.0, 0.0))).completed.size == 0
    joined = pairing.come_due(11.1)
    assert joined.completed[["at", "label"]].tolist() == [(11.0, 0.0)]
    assert (pairing.conflicts, pairing.duplicates) == (1, 1)
    assert pairing.label(told((12.0, 1.0))).completed.size == 0
    assert pairing.come_due(30.0).completed.size == 0
    assert (pairing.conflicts, pairing.matched) == (2, 1)


def test_without_a_grace_nothing_is_held():
    pairing = Pairing(1e6)
    pairing.observe(seen())
    assert pairing.label(told((1.0, 1.0))).completed.size == 1
    assert pairing.come_due(99.0) is None


@given(events, st.lists(st.integers(0, 3000), max_size=6), st.sampled_from([1.0, 15.0, 70.0]))
@settings(max_examples=2 * settings().max_examples, deadline=None)
def test_held_labels_do_not_depend_on_batches(given_events, cuts, grace):
    _, observations, labels = columns(given_events)
    results = []
    for edges in ([0.0, 1e9], [0.0, *(1000.0 + cut for cut in sorted(set(cuts))), 1e9]):
        pairing, completed = Pairing(RETENTION, grace_seconds=grace), []
        for low, high in pairwise(edges):
            batch = [part[(part["at"] >= low) & (part["at"] < high)] for part in (observations, labels)]
            completed += pairing.take(*batch, until=high - 1e-6).completed.tolist()
        results.append((repr(completed), dict(pairing.totals)))
    assert results[0] == results[1]


def test_a_batch_that_spans_hours_still_knows_what_was_settled_before_it():
    """Memory is freed by the time of the batch's first event, not by that of its last."""
    pairing = Pairing(1e6)
    first = np.zeros(600, OBSERVATION)
    first["request_lo"] = np.arange(600)
    labels = np.zeros(600, LABEL)
    labels["request_lo"] = np.arange(600)
    pairing.take(first, labels)
    long = np.zeros(1000, OBSERVATION)
    long["at"] = np.linspace(10.0, 10 * SETTLED_SECONDS, 1000)
    long["request_lo"] = np.arange(1000) + 10_000
    long["request_lo"][:50] = np.arange(50)  # the same answers once more, at once
    pairing.observe(long)
    assert pairing.repeated == 50
