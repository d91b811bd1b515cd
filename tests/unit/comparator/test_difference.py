import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.difference import BurstDiscount, DifferenceTest, log_hypergeometric


def test_thinning_is_the_hypergeometric_distribution():
    k, logs = log_hypergeometric(bad=4, count=10, drawn=5)
    expected = [math.comb(4, i) * math.comb(6, 5 - i) / math.comb(10, 5) for i in k.tolist()]
    assert np.exp(logs) == pytest.approx(expected)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_thinning_sums_to_one(bad, good, drawn):
    count = max(bad + good, 1)
    k, logs = log_hypergeometric(min(bad, count), count, min(drawn, count))
    assert np.sum(np.exp(logs)) == pytest.approx(1.0)
    assert np.sum(np.exp(logs) * k) == pytest.approx(min(drawn, count) * min(bad, count) / count, abs=1e-6)


def test_thinning_of_many_leaves_out_only_what_never_happens():
    k, logs = log_hypergeometric(bad=200_000, count=1_000_000, drawn=500_000)
    assert k.size < 20_000
    assert np.sum(np.exp(logs) * k) == pytest.approx(100_000, rel=1e-6)


def take(test, reference, trial, count=(10, 10), at=0.0):
    test.take(at, bad=(reference, trial), count=count, excess_bad=trial, margin_bad=trial)


@pytest.mark.parametrize("count", [(10, 10), (18, 2), (2, 18), (5, 15)])
@pytest.mark.parametrize("before", [[], [(3, 0)] * 3, [(0, 9), (0, 0)]])
def test_exchangeable_answers_have_mean_one_whatever_the_share(count, before):
    """The exact mean over all ways to give 7 bad answers to the two sides, after a past of any kind."""
    bad, total = 7, sum(count)
    mean = 0.0
    for mine in range(max(0, bad - count[0]), min(bad, count[1]) + 1):
        chance = math.comb(count[1], mine) * math.comb(count[0], bad - mine) / math.comb(total, bad)
        test = DifferenceTest(1e9)
        for reference, trial in before:
            take(test, reference, trial)
        start = test.log_e
        take(test, bad - mine, mine, count)
        # half the weight is on restarts to come: 1 + (E - 1) scales, so compare the part that moves
        moved, held = math.exp(test.log_e) - 0.5, math.exp(start) - 0.5
        mean += chance * moved / held
    assert mean <= 1 + 1e-9
    if not before:
        assert mean == pytest.approx(1.0)


def test_one_bucket_at_most_doubles_the_evidence():
    test = DifferenceTest(1e9)
    take(test, 0, 1000, (1000, 1000))
    assert math.exp(test.log_e) <= 2


def test_an_incident_counts_once():
    test = DifferenceTest(1e9)
    for _ in range(40):
        take(test, 0, 0)
    take(test, 0, 10)
    once = test.log_e
    take(test, 0, 10)
    assert test.log_e == pytest.approx(once)


def test_lasting_harm_is_found_and_measured():
    test = DifferenceTest(600.0)
    buckets = 0
    while test.log_e < math.log(60):
        take(test, 0, 4, at=buckets * 10.0)
        buckets += 1
    assert buckets < 15
    assert test.harm == pytest.approx(0.4)


def test_harm_is_measured_since_it_began():
    test = DifferenceTest(100.0)
    test.begin(0.0)
    for index in range(100):
        take(test, 0, 5 if index >= 80 else 0, at=index * 10.0)
    assert test.log_e > math.log(60)
    assert test.harm == pytest.approx(0.5)


def test_runs_on_the_references_side_discount_and_on_the_trials_do_not():
    runs = [5.0] * 8 + [0.0] * 8
    champions, challengers = BurstDiscount(), BurstDiscount()
    for d in runs * 4:
        champions.take(-d)
        challengers.take(d)
    assert champions.kappa < 0.4
    assert challengers.kappa == 1.0
    assert BurstDiscount().kappa == 1.0


def test_alternating_buckets_are_no_burst():
    discount = BurstDiscount()
    for index in range(100):
        discount.take(-5.0 * (index % 2))
    assert discount.kappa == 1.0


def test_the_discount_agrees_with_the_autocorrelation_written_out():
    rng = np.random.default_rng(8)
    d = np.convolve(rng.normal(size=200), np.ones(4), mode="valid")
    discount = BurstDiscount()
    for each in d:
        discount.take(float(each))
    x = np.minimum(d, 0) - np.minimum(d, 0).mean()
    total = 0.0
    for lag in range(1, 13):
        rho = float(np.sum(x[lag:] * x[:-lag]) / np.sum(x * x))
        if rho < 1.64 / math.sqrt(x.size):
            break
        total += rho
    assert total > 0
    assert discount.kappa == pytest.approx(1 / (1 + 2 * total))


def test_no_harm_needs_answers_and_allows_a_margin():
    test = DifferenceTest(1e9)
    assert test.slack(0.05, 0.05) > 0
    for _ in range(40):
        take(test, 0, 0)
    assert test.slack(0.05, 0.05) < 0
    assert test.slack(0.005, 0.05) > 0
    assert test.slack(0.005, 0.05, times=10.0) < 0
    test.enter()
    assert test.slack(0.05, 0.05) > 0


def test_a_champions_incident_is_no_proof_for_the_challenger():
    test = DifferenceTest(1e9)
    for index in range(40):
        take(test, 10 if index == 20 else 0, 1 if index % 2 else 0)  # 5 % errors against one bad bucket
    assert test.slack(0.01, 0.05) > 0


def test_a_bucket_with_one_side_empty_says_nothing():
    test = DifferenceTest(1e9)
    take(test, 5, 0, (10, 0))
    assert (test.log_e, test.harm, test.buckets) == (pytest.approx(0.0), None, 0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=40))
@settings(max_examples=40)
def test_the_numbers_stay_finite(buckets):
    test = DifferenceTest(20.0)
    test.begin(0.0)
    for index, (reference, trial) in enumerate(buckets):
        take(test, reference, trial, (300, 300), at=index * 10.0)
        assert math.isfinite(test.log_e)
        assert 0 < test._burst.kappa <= 1
        assert math.isfinite(test.slack(0.01, 0.05))


def test_equal_versions_are_seldom_blamed():
    rng = np.random.default_rng(21)
    false = 0
    runs = 80
    for _ in range(runs):
        test = DifferenceTest(150.0)
        test.begin(0.0)
        world = rng.random(60) < 0.1  # shared outages
        for index in range(60):
            rate = 0.5 if world[index] else 0.03
            counts = (int(rng.integers(30, 60)), int(rng.integers(3, 9)))
            take(test, int(rng.binomial(counts[0], rate)), int(rng.binomial(counts[1], rate)), counts, at=index * 10.0)
            if test.log_e >= math.log(20):
                false += 1
                break
    assert false <= 0.05 * runs + 2.6 * math.sqrt(runs * 0.05 * 0.95)
