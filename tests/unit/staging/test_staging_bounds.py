"""Bounds of the gate: laws, known figures, and how often they miss."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.staging.bounds import (
    ALPHA,
    NUISANCE_ALPHA,
    PairedLoss,
    Rows,
    binomial_bounds,
    mean_bounds,
    quantile_ranks,
)


def tail(count, p, least):
    """P(at least so many of count)."""
    return sum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(least, count + 1))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_of_counts_are_exact(counted):
    successes, count = counted
    lower, upper = binomial_bounds(successes, count)
    assert 0 <= lower <= successes / count <= upper <= 1
    assert (lower == 0) == (successes == 0)
    assert (upper == 1) == (successes == count)
    if successes:
        assert tail(count, lower, successes) == pytest.approx(ALPHA, abs=1e-6)
    if successes < count:
        assert 1 - tail(count, upper, successes + 1) == pytest.approx(ALPHA, abs=1e-6)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_more_successes_never_lower_a_bound(counted):
    successes, count = counted
    few, more = binomial_bounds(successes, count), binomial_bounds(successes + 1, count)
    assert few[0] <= more[0]
    assert few[1] <= more[1]


def test_few_right_answers_are_little_evidence():
    assert binomial_bounds(5, 5)[0] == pytest.approx(ALPHA ** (1 / 5), abs=1e-9)
    assert binomial_bounds(0, 300)[1] == pytest.approx(1 - ALPHA ** (1 / 300), abs=1e-9)
    with pytest.raises(ValueError, match="successes"):
        binomial_bounds(6, 5)


@pytest.mark.parametrize(("count", "q"), [(10, 0.5), (100, 0.5), (298, 0.99), (299, 0.99), (500, 0.99), (2000, 0.99)])
def test_ranks_of_a_quantile_are_the_closest_that_hold(count, q):
    low, high = quantile_ranks(count, q)
    assert 1 - tail(count, q, low) <= ALPHA < 1 - tail(count, q, low + 1)
    if high <= count:
        assert tail(count, q, high) <= ALPHA < tail(count, q, high - 1)
    assert (high == count + 1) == (q**count > ALPHA)


def test_three_values_bound_no_median():
    assert quantile_ranks(3, 0.5) == (0, 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80))
def test_bounds_of_a_mean_hold_it_and_shrink(values):
    n = np.array(values)
    rows = Rows.of(n, np.ones(len(n)))
    lower, upper = mean_bounds(rows)
    assert 0 <= lower <= n.mean() + 1e-9
    assert n.mean() - 1e-9 <= upper <= 1
    again = mean_bounds(Rows(rows.values, rows.times * 4))
    assert again[0] >= lower - 1e-9
    assert again[1] <= upper + 1e-9


def test_how_often_the_bounds_of_a_mean_miss():
    chance = np.random.default_rng(5)
    missed = np.zeros(2)
    for _ in range(200):
        n = chance.beta(2, 12, 60)
        lower, upper = mean_bounds(Rows.of(n, np.ones(60)))
        missed += (lower > 2 / 14, upper < 2 / 14)
    assert (missed <= 0.05 * 200).all()


def rows_of(label, champion, ours):
    """Of precision."""
    return Rows.of(label * champion, champion, label * ours, ours)


def paired(rows):
    n, d, _, _ = rows.sums
    return PairedLoss(rows, 1.0, binomial_bounds(int(n), int(d), NUISANCE_ALPHA / 2))


def world(chance, count, champion_right, ours_right, shared=0.8):
    """Labels and two predictions; the true loss of precision of the second."""
    label = (chance.random(count) < 0.3).astype(float)
    champion = np.where(chance.random(count) < champion_right, label, 1 - label)
    own = np.where(chance.random(count) < ours_right, label, 1 - label)
    ours = np.where(chance.random(count) < shared, champion, own)
    positive = lambda right: 0.3 * right / (0.3 * right + 0.7 * (1 - right))  # noqa: E731
    mixed = shared * champion_right + (1 - shared) * ours_right
    return rows_of(label, champion, ours), positive(champion_right) - positive(mixed)


@pytest.mark.parametrize("count", [60, 400])
@pytest.mark.parametrize(("champion", "ours"), [(0.9, 0.9), (0.9, 0.6), (0.7, 0.95)])
@pytest.mark.parametrize("tries", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_how_often_the_bounds_of_a_loss_miss(count, champion, ours, tries):
    chance = np.random.default_rng(7)
    missed = np.zeros(2)
    runs = 0
    for _ in range(tries):
        rows, true = world(chance, count, champion, ours)
        if min(rows.sums[1], rows.sums[3]) == 0:
            continue
        loss = paired(rows).loss()
        runs += 1
        missed += (loss.lower > true, loss.upper < true)
    assert (missed <= 0.05 * runs).all(), missed


@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.5))
def test_laws_of_a_paired_loss(seed, x):
    rows, _ = world(np.random.default_rng(seed), 200, 0.85, 0.8)
    both = paired(rows)
    loss = both.loss()
    assert loss.lower <= loss.value <= loss.upper
    assert not (both.less_than(x) and both.more_than(x))
    if both.less_than(x):
        assert both.less_than(x + 0.1)
    often = PairedLoss(Rows(rows.values, rows.times * 16), 1.0, both._ratio)
    if both.less_than(x):
        assert often.less_than(x)
    needed = both.times_needed(x)
    if math.isfinite(needed):
        many = PairedLoss(Rows(rows.values, rows.times * needed * 1.01), 1.0, both._ratio)
        assert many.less_than(x) or many.more_than(x)


def test_equal_models_are_shown_equal_by_pairing():
    label = np.tile([1.0, 0.0], 400)
    prediction = np.tile([1.0, 1.0, 1.0, 0.0], 200)
    loss = paired(rows_of(label, prediction, prediction)).loss()
    assert loss.value == 0
    assert -0.01 < loss.lower < loss.upper < 0.01
