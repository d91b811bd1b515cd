"""False namings and found shifts, by simulation with fixed seeds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.chi_square import upper_quantile
from router.artifacts.profile import Profile
from router.control.skew import drift
from router.control.skew.drift import compared, feature

TRAINED = 8000


def population(draw, count):
    """Columns of many kinds: continuous, heavy tails, ties, gaps, few and many categories, constant."""
    return {
        "normal": draw.normal(size=count),
        "heavy": draw.lognormal(sigma=2, size=count),
        "binary": (draw.random(count) < 0.3).astype(int),
        "rare": (draw.random(count) < 0.004).astype(int),
        "usual": (draw.random(count) < 0.996).astype(int),
        "hour": draw.integers(0, 24, count),
        "count": draw.poisson(2, count),
        "constant": np.full(count, 7),
        "gaps": np.where(draw.random(count) < 0.2, np.nan, draw.normal(size=count)),
        "carrier": draw.choice(list("abcdefgh"), count, p=[0.38, 0.2, 0.12, 0.1, 0.1, 0.05, 0.03, 0.02]),
        "airport": np.array([f"c{rank}" for rank in np.minimum(draw.zipf(1.5, count), 5000)]),
        "id": np.array([f"u{number}" for number in draw.integers(0, 10**6, count)]),
    }


def trained(columns):
    made = Profile()
    made.take({name: values.tolist() for name, values in columns.items()})
    data = made.data()
    return {name: feature(name, data["rows"], column) for name, column in data["columns"].items()}


@pytest.fixture(scope="module")
def features():
    return trained(population(np.random.default_rng(1), TRAINED))


def compare(features, name, values, limit=0.1, among=None):
    counts = np.zeros(features[name].expected.size, dtype=np.int64)
    for value, times in zip(*(each.tolist() for each in np.unique(values, return_counts=True)), strict=True):
        counts[features[name].cell(value)] += times
    return compared(features[name], counts, limit=limit, least_rows=100, among=among or len(features))


@pytest.mark.parametrize(("rows", "runs"), [(500, 60), (5000, 10)])
def test_what_has_not_drifted_is_not_named(features, rows, runs):
    draw = np.random.default_rng(rows)
    named = 0
    for _ in range(runs):
        live = population(draw, rows)
        named += any(compare(features, name, values).skewed for name, values in live.items())
    assert named <= 0.05 * runs


def test_chance_alone_is_as_large_as_is_said(features, monkeypatch):
    """Without a least PSI, at a tail of 5 % of each feature: the quantile holds, and is not far too large."""
    monkeypatch.setattr(drift, "TAIL", 0.05)
    draw = np.random.default_rng(3)
    beyond, ratios = {}, {}
    for _ in range(150):
        for name, values in population(draw, 400).items():
            came = compare(features, name, values, limit=0.0, among=1)
            beyond[name] = beyond.get(name, 0) + bool(came.skewed)
            ratios.setdefault(name, []).append(came.psi / came.by_chance)
    assert max(beyond.values()) <= 0.1 * 150, beyond
    assert 0.01 < sum(beyond[name] for name in ("normal", "binary", "hour", "gaps", "carrier")) / 750 < 0.08
    for name in ("normal", "binary", "hour", "gaps", "carrier"):
        assert 0.8 < np.mean(ratios[name]) < 1.25, name


@pytest.mark.parametrize("rows", [500, 5000])
def test_what_has_drifted_is_named_and_nothing_else(features, rows):
    draw = np.random.default_rng(11)
    chances = [0.19, 0.4, 0.12, 0.1, 0.09, 0.05, 0.03, 0.02]  # "b" doubles, "a" halves
    drifted = {
        "normal": lambda live: live["normal"] + 0.5,
        "hour": lambda live: live["hour"] * 1000,
        "gaps": lambda live: np.full(rows, np.nan),
        "carrier": lambda _: draw.choice(list("abcdefgh"), rows, p=chances),
        "constant": lambda live: np.where(draw.random(rows) < 0.2, 8, live["constant"]),
        "rare": lambda _: (draw.random(rows) < 0.2).astype(int),
        "usual": lambda _: (draw.random(rows) < 0.8).astype(int),
        "airport": lambda live: np.where(draw.random(rows) < 0.3, "new", live["airport"]),
    }
    for name, shift in drifted.items():
        for _ in range(5 if rows < 5000 else 1):
            live = population(draw, rows)
            live[name] = shift(live)
            named = {each for each, values in live.items() if compare(features, each, values).skewed}
            assert named == {name}


def test_it_is_told_where_it_drifts(features):
    draw = np.random.default_rng(5)
    scaled = compare(features, "normal", draw.normal(size=500) * 1000)
    assert scaled.where.startswith(("above", "below"))
    assert scaled.live > 0.3 > scaled.training
    null = compare(features, "normal", np.full(500, np.nan))
    assert (null.where, null.live, null.training) == ("no number", 1.0, 0.0)
    new = compare(features, "carrier", np.array(["z"] * 500))
    assert (new.where, new.live) == ("any other value", 1.0)


def test_too_few_rows_say_nothing(features):
    came = compare(features, "binary", np.ones(99))
    assert came.skewed is None
    assert came.psi > came.threshold


def test_a_distribution_function_is_compared_as_well(features):
    draw = np.random.default_rng(6)
    same, moved = (compare(features, "normal", draw.normal(shift, size=2000)) for shift in (0.0, 0.5))
    assert same.ks < 0.05
    assert same.ks_bound > 0.01
    assert 0.15 < moved.ks < 0.25  # of two normal ones, half a deviation apart: 0.197
    assert moved.ks_bound < 1e-6
    assert compare(features, "carrier", np.array(["a"] * 200)).ks is None


@pytest.mark.parametrize(
    ("degrees", "tail", "exact"),
    [(1, 1e-3, 10.828), (1, 1e-5, 19.511), (2, 1e-3, 13.816), (4, 1e-2, 13.277), (10, 1e-3, 29.588), (10, 1e-5, 41.296),
     (50, 1e-3, 86.661)],
)  # fmt: skip
def test_chi_square_quantiles_are_near_and_not_too_small(degrees, tail, exact):
    assert -0.01 < upper_quantile(degrees, tail) / exact - 1 < 0.12


COLUMN = st.one_of(
    st.lists(st.one_of(st.none(), st.floats(), st.integers()), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.booleans()), min_size=1, max_size=40),
)


@given(COLUMN, COLUMN)
def test_any_profile_takes_any_value(training, live):
    made = Profile()
    made.take({"x": training})
    found = feature("x", len(training), made.data()["columns"]["x"])
    assert found is not None
    assert found.expected.sum() == pytest.approx(1.0)
    assert len(found.told) == found.expected.size
    counts = np.zeros(found.expected.size, dtype=np.int64)
    for value in live:
        counts[found.cell(value)] += 1
    came = compared(found, counts, limit=0.1, least_rows=1, among=1)
    assert all(math.isfinite(number) for number in (came.psi, came.threshold, came.by_chance))
    assert came.psi >= 0


@given(COLUMN)
def test_training_against_itself_is_no_drift(training):
    made = Profile()
    made.take({"x": training})
    found = feature("x", len(training), made.data()["columns"]["x"])
    counts = np.zeros(found.expected.size, dtype=np.int64)
    for value in training:
        counts[found.cell(value)] += 1
    assert counts / len(training) == pytest.approx(found.expected, abs=0.011 + 1 / len(training))


def test_an_earlier_profile_is_not_compared():
    made = Profile()
    made.take({"x": [1, 2, 3]})
    column = made.data()["columns"]["x"]
    del column["reached"]
    assert feature("x", 3, column) is None


def test_booleans_are_those_of_a_csv_too():
    for written in (["true", "false", "true"], ["True", "False", "True"], [True, False, True]):
        made = Profile()
        made.take({"x": written})
        found = feature("x", 3, made.data()["columns"]["x"])
        assert found.told[found.cell(True)].lower() == "true"
