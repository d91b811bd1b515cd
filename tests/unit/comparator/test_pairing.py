import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import LABEL, OBSERVATION, Mode, Role
from comparator.pairing import EXPIRY_GRACE_SECONDS, Pairing

RETENTION = 100.0


def observation(request, version=1, *, at=0.0, both=True, prediction=1.0, row=0, rollout=7):
    columns = np.zeros(1, dtype=OBSERVATION)
    columns["at"], columns["request_lo"], columns["version"], columns["row"] = at, request, version, row
    columns["role"] = Role.CHAMPION if version == 1 else Role.CHALLENGER
    columns["mode"] = Mode.SHADOW if both else Mode.CANARY
    columns["attempted_both"], columns["prediction"], columns["rollout_id"] = both, prediction, rollout
    return columns


def label(request, value=1.0, *, at=0.0, row=0):
    columns = np.zeros(1, dtype=LABEL)
    columns["at"], columns["request_lo"], columns["label"], columns["row"] = at, request, value, row
    return columns


def take(pairing, part):
    return pairing.observe(part) if part.dtype == OBSERVATION else pairing.label(part)


@given(st.permutations([observation(1, 1, at=1.0), observation(1, 2, at=1.0, prediction=0.0), label(1, at=1.0)]))
def test_a_shadow_pair_meets_its_label_in_any_order(parts):
    pairing = Pairing(RETENTION)
    joined = [take(pairing, part) for part in parts]
    assert [each.completed.size for each in joined] == [0, 0, 1]
    row = joined[-1].completed[0]
    assert dict(zip(row["version"].tolist(), row["prediction"].tolist(), strict=True)) == {1: 1.0, 2: 0.0}
    assert row["label"] == 1.0
    assert row["sides"] == 2
    scored = np.concatenate([each.scored for each in joined])
    assert sorted(scored["version"].tolist()) == [1, 2]
    assert sum(each.paired.size for each in joined) == 1
    assert (pairing.matched, pairing.labels_waiting, pairing.duplicates, pairing.conflicts) == (1, 0, 0, 0)
    assert pairing.predictions_waiting == 0


def test_a_side_is_scored_though_the_other_never_comes():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1))
    joined = pairing.label(label(1))
    assert joined.scored.size == 1
    assert joined.completed.size == 0


def test_a_canary_answer_needs_only_its_label():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1, 2, both=False))
    joined = pairing.label(label(1))
    assert joined.completed.size == 1
    assert joined.completed["sides"][0] == 1
    assert joined.completed["version"][0].tolist() == [2, 0]


def test_an_early_label_waits():
    pairing = Pairing(RETENTION)
    pairing.label(label(1))
    assert (pairing.unknown, pairing.labels_waiting, pairing.matched) == (1, 1, 0)
    assert pairing.observe(observation(1, both=False)).completed.size == 1
    assert (pairing.unknown, pairing.labels_waiting, pairing.matched) == (1, 0, 1)


def test_duplicates_are_harmless_and_of_two_values_the_first_counts():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1, both=False))
    first = pairing.label(label(1, 1.0))
    again = pairing.label(label(1, 1.0))
    other = pairing.label(label(1, 0.0))
    assert [each.completed.size for each in (first, again, other)] == [1, 0, 0]
    assert (pairing.matched, pairing.duplicates, pairing.conflicts) == (1, 1, 1)


def test_rows_of_a_request_are_told_apart():
    pairing = Pairing(RETENTION)
    pairing.observe(np.concatenate([observation(1, both=False, row=0), observation(1, both=False, row=1)]))
    assert pairing.label(label(1, row=1)).completed["row"].tolist() == [1]
    assert pairing.label(label(1, row=2)).completed.size == 0


def test_the_same_version_twice_counts_once():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1))
    pairing.observe(observation(1))
    assert pairing.repeated == 1
    pairing.observe(observation(1, 2))
    pairing.observe(observation(1, 3))
    pairing.observe(observation(2, 1, both=False))
    pairing.observe(observation(2, 2, both=False))
    assert pairing.repeated == 3


def test_a_label_that_is_no_number_is_left_out():
    pairing = Pairing(RETENTION)
    pairing.label(label(1, math.nan))
    assert (pairing.invalid, pairing.unknown) == (1, 0)


def test_memory_is_bounded_by_the_retention():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1, at=0.0, both=False))
    pairing.observe(observation(2, at=0.0, both=False))
    pairing.label(label(2, at=0.0))
    pairing.label(label(3, at=0.0))
    pairing.expire(RETENTION + EXPIRY_GRACE_SECONDS)
    assert (pairing.unlabelled, pairing.expired) == (0, 0)
    pairing.expire(RETENTION + EXPIRY_GRACE_SECONDS + 1)
    assert (pairing.unlabelled, pairing.expired, pairing.labels_waiting) == (1, 1, 0)
    assert pairing.label(label(1, at=0.0)).completed.size == 0


def test_what_is_too_late_by_data_time_does_not_meet_whenever_memory_is_freed():
    for expires in (False, True):
        pairing = Pairing(RETENTION)
        pairing.observe(observation(1, at=0.0, both=False))
        if expires:
            pairing.expire(RETENTION + 1)
        assert pairing.label(label(1, at=RETENTION + 1)).completed.size == 0
        assert pairing.label(label(1, at=RETENTION + 1)).completed.size == 0
        assert (pairing.matched, pairing.unknown, pairing.duplicates) == (0, 1, 1)


def test_a_late_label_meets_until_the_retention_ends():
    pairing = Pairing(RETENTION)
    pairing.observe(observation(1, at=0.0, both=False))
    assert pairing.label(label(1, at=RETENTION)).completed.size == 1


def test_a_rollout_gets_its_own():
    pairing = Pairing(RETENTION)
    pairing.observe(np.concatenate([observation(1, both=False, rollout=7), observation(2, both=False, rollout=8)]))
    joined = pairing.label(np.concatenate([label(1), label(2)]))
    mine = joined.of_rollout(8)
    assert (mine.completed.size, mine.scored.size) == (1, 1)
    assert joined.completed.size == 2


parts = st.lists(
    st.one_of(
        st.builds(observation, st.integers(0, 3), st.integers(1, 3), both=st.booleans()),
        st.builds(label, st.integers(0, 3), st.sampled_from([0.0, 1.0, math.nan])),
    ),
    max_size=20,
)


@given(parts)
def test_every_label_is_accounted_for_once(facts):
    pairing = Pairing(RETENTION)
    scored = completed = 0
    for part in facts:
        joined = take(pairing, part)
        scored += joined.scored.size
        completed += joined.completed.size
    labels = [part for part in facts if part.dtype == LABEL]
    first_ones = pairing.matched + pairing.labels_waiting
    assert first_ones + pairing.duplicates + pairing.conflicts + pairing.invalid == len(labels)
    assert completed <= pairing.matched <= scored
    assert pairing.labels_waiting <= pairing.unknown
    assert pairing.predictions_waiting >= 0


@given(parts, st.randoms(use_true_random=False))
def test_the_joins_do_not_depend_on_batches(facts, random):
    one, other = Pairing(RETENTION), Pairing(RETENTION)
    single = [row for part in facts for row in take(one, part).completed.tolist()]
    batched, index = [], 0
    while index < len(facts):
        stop = index + 1
        while stop < len(facts) and facts[stop].dtype == facts[index].dtype and random.random() < 0.7:
            stop += 1
        batched += take(other, np.concatenate(facts[index:stop])).completed.tolist()
        index = stop
    assert repr(single) == repr(batched)
