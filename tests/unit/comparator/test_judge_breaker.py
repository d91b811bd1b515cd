"""The judge's part of the circuit breaker: the same rule for any batches, and what is no reason to trip."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.breaker import LEAST_REFERENCE, PROBES, SPAN, TRIP_FAILED, WAIT_SECONDS, Breaker


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


def test_nothing_is_held_against_a_version_that_is_asked_alone_until_the_reference_has_answered():
    alone = [each for each in dead(40.0) if each[1] == "t"]
    assert fed(alone).open
    assert fed(alone).tripped is None
    few, enough = (alone + [(40.0, "r", False)] * count for count in (LEAST_REFERENCE - 1, LEAST_REFERENCE))
    probes = [(41.0 + index, "t", True) for index in range(PROBES)]
    assert fed(few + probes).tripped is None
    assert fed(enough + probes[:-1]).tripped is None
    assert "10 of its last 10 answers failed" in fed(enough + probes).tripped


def test_the_reference_must_be_well_since_it_opened_and_not_before():
    answers = dead(1.05) + [(2.0 + index, "r", index == 0) for index in range(LEAST_REFERENCE)]
    probes = [(20.0 + index, "t", True) for index in range(PROBES)]
    assert fed(answers).open
    assert fed(answers + probes).tripped is None  # one of five failed: another wait, and answers of its own
    again = [(24.0 + index, "r", False) for index in range(LEAST_REFERENCE)]
    assert fed(answers + probes + again + [(40.0 + index, "t", True) for index in range(PROBES)]).tripped is not None


def canary(seed, share, rate, until, *, both):
    """Clients come at random; from the 10th second on the trial version fails whatever it is asked, or both do."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(1 / rate, int(until * rate)))
    trial = rng.random(at.size) < share
    return at, trial, (at > 10.0) & (trial | both)


def tripped(runs, **canaries):
    """How many of so many runs trip it."""
    count = 0
    for seed in range(runs):
        at, trial, failed = canary(seed, **canaries)
        breaker = Breaker()
        breaker.take(at, at, trial, failed)
        count += breaker.tripped is not None
    return count


@pytest.mark.parametrize("rate", [1.0, 10.0])
@pytest.mark.parametrize("share", [0.8, 0.95, 0.99])
def test_an_outage_of_both_is_no_reason_in_a_canary_that_seldom_asks_the_reference(share, rate):
    assert tripped(40, share=share, rate=rate, until=300.0, both=True) == 0


@pytest.mark.parametrize(("share", "rate", "until"), [(0.9, 10.0, 60.0), (0.95, 10.0, 60.0), (0.95, 1.0, 300.0)])
def test_a_dead_version_is_found_there_all_the_same(share, rate, until):
    assert tripped(40, share=share, rate=rate, until=until, both=False) >= 39


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
@settings(max_examples=6 * settings().max_examples, deadline=None)
def test_batches_do_not_show(steps, sizes):
    answers, at = [], 0.0
    for side, failed, wait in steps:
        at += wait
        answers.append((at, side, failed))
    one, other = fed(answers, (1,)), fed(answers, sizes)
    assert (one.open, one.tripped, list(one._last)) == (other.open, other.tripped, list(other._last))
