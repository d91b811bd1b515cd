"""The judge's part of the circuit breaker: the same rule for any batches, and what is no reason to trip."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.breaker import PROBES, SPAN, TRIP_FAILED, WAIT_SECONDS, Breaker


def fed(answers, sizes=(10_000,)):
    """(when, whose: t or r, failed) in order, cut into batches of these sizes over and over."""
    breaker, start, turn = Breaker(), 0, 0
    while start < len(answers):
        batch = answers[start : start + sizes[turn % len(sizes)]]
        at = np.array([each[0] for each in batch])
        breaker.take(at, at, np.array([each[1] == "t" for each in batch]), np.array([bool(each[2]) for each in batch]))
        start, turn = start + len(batch), turn + 1
    return breaker


def dead(until, *, since=0.0, reference=0):
    """Both answer ten times a second; the trial version fails from `since` on, of the reference so many of ten."""
    return [
        answer
        for index in range(int(until * 10))
        for answer in (
            (index / 10, "r", index % 10 < reference and index / 10 >= since),
            (index / 10, "t", index / 10 >= since),
        )
    ]


def test_a_dead_version_trips_it_after_the_wait_and_the_probes():
    opens = TRIP_FAILED / 10
    assert not fed(dead(opens - 0.05)).open
    assert fed(dead(opens + 0.05)).open
    assert fed(dead(WAIT_SECONDS + opens)).tripped is None
    tripped = fed(dead(WAIT_SECONDS + opens + PROBES / 10 + 0.1)).tripped
    assert "10 of its last 10 answers failed" in tripped


def test_one_good_probe_closes_it():
    answers = dead(WAIT_SECONDS + 1.0)
    answers.append((WAIT_SECONDS + 1.0, "t", False))
    breaker = fed(answers)
    assert not breaker.open
    assert breaker.tripped is None


@pytest.mark.parametrize("reference", [2, 10])
def test_an_outage_of_both_is_no_reason(reference):
    breaker = fed(dead(60.0, reference=reference))
    assert not breaker.open
    assert breaker.tripped is None


def test_an_outage_of_both_that_begins_while_it_is_open_is_no_reason():
    answers = dead(3.0) + [(3.0 + i / 10, side, True) for i in range(400) for side in "rt"]
    assert fed(answers).tripped is None


def test_a_version_that_is_asked_alone_can_trip_it():
    """Where the champion has no traffic to speak of, a dead challenger is still dead."""
    assert fed([each for each in dead(20.0) if each[1] == "t"]).tripped is not None


def test_a_step_begins_with_a_clean_slate():
    breaker = fed(dead(2.0))
    assert breaker.open
    breaker.enter()
    assert not breaker.open


@given(
    st.lists(
        st.tuples(st.sampled_from("tttr"), st.sampled_from([True, True, False]), st.sampled_from([0.05, 1.0, 16.0])),
        max_size=120,
    ),
    st.lists(st.integers(1, SPAN + 5), min_size=1, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_batches_do_not_show(steps, sizes):
    answers, at = [], 0.0
    for side, failed, wait in steps:
        at += wait
        answers.append((at, side, failed))
    one, other = fed(answers, (1,)), fed(answers, sizes)
    assert (one.open, one.tripped, list(one._last)) == (other.open, other.tripped, list(other._last))
