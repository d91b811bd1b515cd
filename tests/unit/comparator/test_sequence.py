import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.sequence import (
    EARLY_WEIGHT,
    START_WEIGHT,
    Mixture,
    RestartingMixture,
    as_e,
    log_e_below,
    log_e_of_ratio,
    log_mean_exp,
    mixture_radius,
    quantile_ranks,
    ratio_bounds,
)

factors = st.lists(
    st.tuples(st.floats(0, 3), st.lists(st.floats(-2, 1), min_size=2, max_size=2)), min_size=1, max_size=30
)


def by_hand(steps, every):
    """sum_j w_j * product since restart j, over both bets, with all restarts to come at 1."""
    at, total = 0.0, 0.0
    moments = []
    for wait, logs in steps:
        at += wait
        moments.append((at, logs))
    early = [every / 8, every / 4, every / 2]
    due = [0.0, *early, *(k * every for k in range(1, math.floor(at / every) + 1))]
    weights = [START_WEIGHT, *(EARLY_WEIGHT for _ in early)]
    late = 1 - sum(weights)
    weights += [late / (k * (k + 1)) for k in range(1, len(due))]
    for moment, weight in zip(due, weights, strict=False):
        if moment <= at:
            since = [logs for when, logs in moments if when >= moment]
            total += weight * float(np.mean(np.exp(np.sum(np.array(since).reshape(-1, 2), axis=0))))
    return total + 1 - sum(weight for moment, weight in zip(due, weights, strict=False) if moment <= at)


@given(factors, st.sampled_from([0.5, 2.0, 1000.0]))
def test_restarts_are_the_sum_written_out(steps, every):
    mixture = RestartingMixture(2, every, sums=1)
    mixture.begin(0.0)
    at = 0.0
    for wait, logs in steps:
        at += wait
        mixture.restart(int(mixture.due(np.array([at]))[0]), np.zeros(1))
        mixture.multiply(np.array([logs]))
    assert mixture.log_e == pytest.approx(math.log(by_hand(steps, every)), abs=1e-9)


def test_the_leading_restart_is_where_the_harm_began():
    mixture = RestartingMixture(2, 10.0, sums=1)
    mixture.begin(0.0)
    for second in range(60):
        mixture.restart(int(mixture.due(np.array([float(second)]))[0]), np.array([float(second)]))
        mixture.multiply(np.full((1, 2), -0.5 if second < 40 else 0.8))
    assert mixture.since_leader.tolist() == [40.0]


def test_before_anything_the_e_value_is_one():
    mixture = RestartingMixture(3, 10.0, sums=1)
    assert mixture.log_e == pytest.approx(0.0)
    assert Mixture(3, 1.0).log_e == 0.0


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), max_size=20), st.integers(0, 20))
def test_a_mixture_does_not_see_batches(rows, cut):
    logs = np.array(rows).reshape(-1, 3)
    whole, cut_up = Mixture(3, 0.7), Mixture(3, 0.7)
    whole.multiply(logs)
    for part in (logs[:cut], logs[cut:]):
        cut_up.multiply(part)
    assert (whole.log_e, whole.reached, whole.count) == (cut_up.log_e, cut_up.reached, cut_up.count)


def test_what_was_reached_once_stands():
    mixture = Mixture(1, math.log(20))
    mixture.multiply(np.array([[3.1], [-50.0]]))
    assert mixture.reached
    assert mixture.log_e < 0


def test_extreme_logarithms_stay_finite():
    assert as_e(1e6) < math.inf
    assert float(log_mean_exp(np.array([-1e5, 1e5]))) == pytest.approx(1e5, rel=1e-3)


@pytest.mark.parametrize(("count", "ratio"), [(1, 0.3), (6, 0.5), (10, 0.02)])
def test_the_e_process_of_a_ratio_has_mean_one(count, ratio):
    mean = sum(
        math.comb(count, k) * ratio**k * (1 - ratio) ** (count - k) * math.exp(log_e_of_ratio(k, count, ratio))
        for k in range(count + 1)
    )
    assert mean == pytest.approx(1.0)


@given(st.integers(0, 300), st.integers(1, 300))
@settings(max_examples=50)
def test_bounds_hold_the_ratio_and_are_where_the_evidence_says(successes, count):
    successes = min(successes, count)
    lower, upper = ratio_bounds(successes, count, 0.05)
    assert 0 <= lower <= successes / count <= upper <= 1
    for bound in (lower, upper):
        if 0 < bound < 1:
            assert log_e_of_ratio(successes, count, bound) == pytest.approx(math.log(20), abs=1e-3)


def test_no_data_bounds_nothing():
    assert ratio_bounds(0, 0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "q"), [(1, 0.5), (50, 0.99), (1000, 0.9), (10_000, 0.99)])
def test_ranks_of_a_quantile_are_about_it(count, q):
    low, high = quantile_ranks(count, q, 0.05)
    assert 0 <= low <= math.ceil(q * count) <= high <= count + 1
    if count >= 1000:
        assert q * count - low < 6 * math.sqrt(count * q * (1 - q))


def test_without_a_failure_a_small_ratio_is_soon_proven():
    needed = next(n for n in itertools.count() if log_e_below(0, n, 0.05) >= math.log(20))
    assert 58 < needed < 80  # 59: the best test of a size fixed beforehand


@pytest.mark.parametrize("bound", [0.01, 0.2, 0.9])
def test_the_bet_on_a_small_ratio_has_mean_one_at_the_bound(bound):
    mean = sum(
        math.comb(8, k) * bound**k * (1 - bound) ** (8 - k) * math.exp(log_e_below(k, 8, bound)) for k in range(9)
    )
    assert mean == pytest.approx(1.0)


def test_a_margin_of_everything_is_always_kept():
    assert log_e_below(5, 5, 1.0) > 100


@pytest.mark.parametrize("variance", [0.0, 1.0, 30.0, 3_000.0, 1e9])
@pytest.mark.parametrize("alpha", [0.001, 0.025, 0.05, 0.2])
def test_the_radius_is_where_the_mixture_reaches_its_threshold(variance, alpha):
    """The mixture of exp(l s - l^2 v / 2) over l > 0, half normal with variance 1 / 30, integrated."""
    s = mixture_radius(variance, alpha)
    bets = np.linspace(0, 12 / math.sqrt(30.0), 200_001)
    density = 2 * math.sqrt(30.0 / (2 * math.pi)) * np.exp(-bets * bets * 15.0)
    log_bets = bets * s - bets * bets * variance / 2
    assert np.trapezoid(density * np.exp(log_bets), bets) == pytest.approx(1 / alpha, rel=1e-3)


def test_the_radius_grows_like_a_root():
    assert mixture_radius(10_000, 0.05) < 15 * mixture_radius(100, 0.05)
    assert mixture_radius(100, 0.01) > mixture_radius(100, 0.05)
