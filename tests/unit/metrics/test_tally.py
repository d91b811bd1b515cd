import bisect
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from judged_model import observations

from comparator.events import Mode, Outcome, Role
from router.control.metric_table import BOUNDS, POSSIBLE
from router.control.tally import Joins, Tally, growth

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "row": st.sampled_from([0, 0, 1, 7]),
            "role": st.sampled_from(Role),
            "mode": st.sampled_from(Mode),
            "outcome": st.sampled_from(Outcome),
            "latency": st.one_of(st.floats(0, 60, width=32), st.just(float("nan")), st.sampled_from(BOUNDS)),
        }
    ),
    max_size=40,
)


@given(st.lists(ROWS, max_size=4))
def test_a_tally_counts_what_counting_one_by_one_counts(batches):
    tally = Tally()
    for rows in batches:
        tally.observe(observations(rows))
    first = [row for rows in batches for row in rows if row["row"] == 0]
    expected = Counter((row["role"], row["mode"], row["outcome"]) for row in first)
    assert {key[:3]: key[3] for key in tally.counted_requests() if key[3]} == expected
    for role in Role:
        timed = [
            float(np.float32(row["latency"]))
            for row in first
            if row["role"] == role and row["outcome"] in (Outcome.OK, Outcome.TIMEOUT) and not np.isnan(row["latency"])
        ]
        buckets = Counter(bisect.bisect_left(BOUNDS, seconds) for seconds in timed)
        assert [buckets[i] for i in range(len(BOUNDS) + 1)] == tally.durations[role].tolist()
        assert np.isclose(tally.duration_seconds[role], sum(timed))


def test_what_can_be_is_there_before_it_is():
    shown = {(role, mode) for role, mode, _, _ in Tally().counted_requests()}
    assert shown == set(POSSIBLE)


def test_a_forced_request_appears_when_it_comes():
    tally = Tally()
    tally.observe(observations([{"role": Role.CHALLENGER, "mode": Mode.FORCED}]))
    assert (Role.CHALLENGER, Mode.FORCED, Outcome.OK, 1) in list(tally.counted_requests())


def labelled(tp=0, fp=0, fn=0, tn=0):
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn}


def test_labels_count_for_the_role_that_the_version_held_when_they_met():
    joins = Joins()
    roles = {1: Role.CHAMPION, 2: Role.CHALLENGER}
    joins.begin({1: labelled(tp=500)}, roles)
    joined = joins.take({1: labelled(tp=503), 2: labelled(fp=2)}, roles)
    assert +joined == {(Role.CHAMPION, "tp"): 3, (Role.CHALLENGER, "fp"): 2}
    promoted = {2: Role.CHAMPION, 1: Role.PREVIOUS}
    joined = joins.take({1: labelled(tp=503), 2: labelled(fp=3)}, promoted)
    assert +joined == {(Role.CHALLENGER, "fp"): 1}
    joined = joins.take({1: labelled(tp=504), 2: labelled(tp=1, fp=3)}, promoted)
    assert +joined == {(Role.PREVIOUS, "tp"): 1, (Role.CHAMPION, "tp"): 1}


def test_late_labels_of_a_version_that_lost_its_role_count_for_its_last():
    joins = Joins()
    joins.begin({}, {1: Role.CHAMPION, 2: Role.CHALLENGER})
    joins.take({2: labelled(tp=1)}, {1: Role.CHAMPION})
    assert +joins.take({2: labelled(tp=4)}, {1: Role.CHAMPION}) == {(Role.CHALLENGER, "tp"): 3}


@given(
    st.lists(
        st.one_of(st.just("restart"), st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1)),
        max_size=30,
    )
)
def test_growth_never_falls_and_never_counts_twice(events):
    """Of a worker that begins anew with less than it had, everything counts; a larger one cannot be told apart."""
    total, running, last, happened = Counter(), Counter(), Counter(), Counter()
    for event in events:
        if event == "restart":
            running = Counter()
            continue
        running += event
        happened += event
        grown = growth(running, last)
        assert all(count >= 0 for count in grown.values())
        total += grown
        last = Counter(running)
    assert all(total[name] <= happened[name] for name in happened)


def test_growth_after_a_restart_is_the_whole():
    assert growth({"a": 2, "b": 9}, {"a": 5, "b": 5}) == {"a": 2, "b": 9}
    assert growth({"a": 6}, {"a": 5}) == {"a": 1}
