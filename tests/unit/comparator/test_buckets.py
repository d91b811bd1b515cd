from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.answers import Answers
from comparator.buckets import Buckets, PastQuantile
from comparator.events import OBSERVATION, Outcome
from comparator.policy import Guardrail, Metric, Policy
from comparator.sketch import bins_of

RAIL = Guardrail(Metric.LATENCY, margin=0.5, quantile=0.9)
POLICY = Policy(
    guardrails=(RAIL,), bucket_seconds=10.0, bucket_min_answers=2, tau_window_seconds=100.0, tau_lag_seconds=5.0
)


def answers(at, trial, latency=0.1, outcome=Outcome.OK):
    rows = np.zeros(len(at), dtype=OBSERVATION)
    rows["at"], rows["version"], rows["latency"], rows["outcome"] = at, np.where(trial, 2, 1), latency, outcome
    return Answers.of(rows), np.array(trial, dtype=bool)


def test_a_bucket_closes_when_its_time_is_over_and_both_have_enough():
    buckets = Buckets(POLICY, [])
    assert buckets.add(*answers([101, 102, 103, 104], [0, 0, 0, 1])) == []
    assert buckets.add(*answers([112, 115], [0, 0])) == []  # the trial has one answer only: it stays open
    assert buckets.add(*answers([116], [1])) == []
    (closed,) = buckets.add(*answers([117], [0]))
    assert closed.began == 100.0
    assert closed.count == [5, 2]
    (closed,) = buckets.add(*answers([118, 119, 120, 121], [0, 1, 1, 1]))
    assert (closed.began, closed.count) == (110.0, [2, 2])


def test_time_does_not_run_backwards():
    buckets = Buckets(POLICY, [])
    buckets.add(*answers([101, 101, 101, 101], [0, 0, 1, 1]))
    (closed,) = buckets.add(*answers([111, 95, 95, 95], [0, 0, 1, 1]))
    assert closed.count == [2, 2]
    (closed,) = buckets.add(*answers([120], [0]))
    assert closed.count == [2, 2]


def test_an_open_bucket_can_be_left_out():
    buckets = Buckets(POLICY, [])
    buckets.add(*answers([101, 102, 103, 104], [0, 0, 1, 1]))
    buckets.drop_open()
    assert buckets.add(*answers([115], [0])) == []


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_buckets_do_not_depend_on_batches(cuts, seed):
    rng = np.random.default_rng(seed)
    at = 1000 + np.cumsum(rng.exponential(1.0, 60)) - rng.exponential(0.5, 60)
    rows, trial = answers(at, rng.random(60) < 0.4, rng.lognormal(0, 1, 60), rng.choice([0, 2, 3], 60))
    whole = Buckets(POLICY, [RAIL]).add(rows, trial)
    cut_up = Buckets(POLICY, [RAIL])
    place = np.arange(60)
    parts = []
    for low, high in pairwise([0, *sorted(cuts), 60]):
        mine = (place >= low) & (place < high)
        parts += cut_up.add(rows.where(mine), trial[mine])
    assert repr(whole) == repr(parts)


def test_slow_is_slower_than_the_references_past():
    buckets = Buckets(POLICY, [RAIL])
    past = np.linspace(0.01, 1.0, 100)
    buckets.add(*answers(np.linspace(100, 109, 100), [0] * 100, past))
    buckets.add(*answers([109.5, 109.6], [1, 1]))
    (closed,) = buckets.add(*answers([116], [0]))
    assert closed.slow == [None]  # nothing was known when it began
    late = [2.0, 0.5, 0.5, 1.2, 1.4, 0.2]
    outcome = [Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.OK, Outcome.OK, Outcome.SERVER_ERROR]
    buckets.add(*answers([117] * 6, [0, 0, 1, 1, 1, 1], late, outcome))
    (closed,) = buckets.add(*answers([131], [0]))
    (slow,) = closed.slow
    assert slow.tau == pytest.approx(0.9, rel=0.03)
    assert slow.slow == [1, 3]  # a time-out is slow whatever its seconds, a fast failure is no fast answer
    assert slow.count == [3, 3]
    assert (slow.trial_half, slow.trial_margin) == (3, 2)
    assert closed.failed == [0, 2]


def test_the_past_is_past_and_forgotten():
    past = PastQuantile(window=100.0, lag=10.0)
    past.add(np.array([0.0, 50.0, 95.0]), bins_of(np.array([1.0, 2.0, 3.0])))
    assert past.before(70.0).count == 2
    assert past.before(104.0).count == 2  # the last 10 seconds are left out
    assert past.before(116.0).count == 2  # the first is too old by now
    assert past.before(300.0).count == 0


def test_what_is_usual_is_not_moved_by_an_incident():
    past = PastQuantile(window=200.0, lag=0.0)  # slices of 10 seconds
    at = np.arange(0.0, 100.0, 0.5)
    seconds = np.where((at >= 40) & (at < 52), 5.0, 0.1)
    past.add(at, bins_of(seconds))
    past.before(100.0)
    assert past.quantile(0.9) == pytest.approx(5.0, rel=0.02)
    assert past.usual(0.9) == pytest.approx(0.1, rel=0.02)


def test_of_a_short_or_thin_past_nothing_is_usual_but_its_quantile():
    short, thin = (PastQuantile(window=200.0, lag=0.0) for _ in range(2))
    short.add(np.arange(0.0, 25.0, 0.5), bins_of(np.linspace(0.1, 1.0, 50)))  # the third slice is not over
    thin.add(np.arange(0.0, 100.0, 2.0), bins_of(np.linspace(0.1, 1.0, 50)))  # 5 in each, 10 say something
    for past, at in ((short, 25.0), (thin, 100.0)):
        past.before(at)
        assert past.usual(0.9) == past.quantile(0.9)


def test_harm_is_by_what_is_usual_and_no_harm_by_all():
    """Incidents of the champion, 6 times slower, do not hide a challenger that is always twice as slow."""
    rail = Guardrail(Metric.LATENCY, margin=0.1, quantile=0.9)
    policy = Policy(bucket_seconds=10.0, bucket_min_answers=3, tau_window_seconds=200.0, tau_lag_seconds=0.0)
    buckets = Buckets(policy, [rail])
    at = np.repeat(np.arange(0.0, 300.0, 0.5), 2)
    role = np.tile([0, 1], at.size // 2)
    usual = np.random.default_rng(3).uniform(0.05, 0.1, at.size)
    seconds = np.where(role == 1, 2 * usual, np.where(at % 70 < 14, 6 * usual, usual))
    last = buckets.add(*answers(at, role, seconds))[-2]
    (slow,) = last.slow
    assert slow.usual == pytest.approx(0.1, rel=0.1)
    assert slow.tau > 0.4
    assert slow.slow[1] > 15
    assert slow.trial_half > 10
    assert slow.trial_margin == 0
