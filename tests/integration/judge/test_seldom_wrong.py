"""How often the parts of the judge are wrong where nothing is: rates, by simulation; at most their alpha."""

import math

import numpy as np
import pytest
from duel import CHALLENGER, CHAMPION, Duel, Model, traffic
from label_worlds import LIKE, joined, rows

from comparator.difference import DifferenceTest
from comparator.events import Mode
from comparator.evidence import Evidence
from comparator.guardrail import Verdict
from comparator.pairing import JOINED
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import RatioTest
from comparator.sequence import log_e_of_ratio, mixture_radius
from comparator.split import Split


def most(runs, alpha=0.05):
    """More come once in 200 tries."""
    return alpha * runs + 2.6 * math.sqrt(runs * alpha * (1 - alpha))


@pytest.mark.parametrize(
    ("mode", "canary"), [(Mode.SHADOW, 1.0), (Mode.CANARY, 0.1), (Mode.CANARY, 0.5), (Mode.CANARY, 0.9)]
)
def test_an_identical_challenger_is_seldom_rolled_back(mode, canary):
    """Errors and latency; what labels tell has tests of its own."""
    policy = Policy(
        guardrails=(Guardrail(Metric.LATENCY, 1.0, quantile=0.9), Guardrail(Metric.ERROR_RATE, 0.05)),
        bucket_seconds=1.0,
        bucket_min_answers=4,
        min_buckets=10,
        min_answers=200,
        tau_window_seconds=20.0,
        tau_lag_seconds=1.0,
    )
    duel = Duel(Model(errors=0.05), Model(errors=0.05), rate=40.0, label_share=0.0)
    runs, failed = 25, 0
    for seed in range(runs):
        observations, _ = traffic(duel, np.random.default_rng(seed), 24.0, mode=mode, canary=canary)
        judge = Evidence(policy, trial=CHALLENGER, reference=CHAMPION, offline={})
        judge.enter(mode, 1000.0)
        for part in np.array_split(observations, 6):
            judge.observe(part)
            if judge.report(float(part["at"][-1])).verdict is Verdict.FAIL:
                failed += 1
                break
    assert failed <= most(runs)


def test_equal_versions_are_seldom_blamed_for_shared_outages():
    rng = np.random.default_rng(21)
    runs, false = 80, 0
    for _ in range(runs):
        test = DifferenceTest(150.0)
        test.begin(0.0)
        world = rng.random(60) < 0.1
        for index in range(60):
            rate = 0.5 if world[index] else 0.03
            counts = (int(rng.integers(30, 60)), int(rng.integers(3, 9)))
            bad = tuple(int(rng.binomial(count, rate)) for count in counts)
            test.take(index * 10.0, bad=bad, count=counts, excess_bad=bad[1], margin_bad=bad)
            if test.log_e >= math.log(20):
                false += 1
                break
    assert false <= most(runs)


def precise_rows(seed, count, mode, ours, theirs):
    """Rows of a world where either version's positives are true with a probability of its own."""
    rng = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    true = rng.random(count) < 0.3
    sides = [
        rng.random(count) < np.where(true, 0.3 * precision / 0.3, 0.3 * (1 - precision) / 0.7)
        for precision in (theirs, ours)
    ]
    out["at"], out["mode"], out["label"] = np.arange(count), mode, true
    if mode is Mode.CANARY:
        mine = rng.random(count) < 0.3
        out["sides"], out["version"][:, 0] = 1, np.where(mine, 2, 1)
        out["prediction"] = np.column_stack([np.where(mine, sides[1], sides[0]), np.full(count, np.nan)])
    else:
        out["sides"], out["version"], out["prediction"] = 2, (1, 2), np.column_stack(sides)
    return out


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CANARY])
def test_equal_precisions_are_seldom_blamed_and_a_loss_at_the_margin_seldom_passes(mode):
    runs, blamed, passed = 80, 0, 0
    for seed in range(runs):
        same, worse = (
            RatioTest(
                Policy(restart_seconds=50.0, block_requests=8),
                Guardrail(Metric.PRECISION, margin=0.05, offline_tolerance=0.1),
                (2, 1),
                0.8,
            )
            for _ in range(2)
        )
        for test in (same, worse):
            test.begin(0.0)
        worse.take(joined(precise_rows(1000 + seed, 400, mode, ours=0.65, theirs=0.7)))
        passed += worse.no_harm.reached
        given_rows = precise_rows(seed, 400, mode, ours=0.7, theirs=0.7)
        for low in range(0, 400, 100):
            same.take(joined(given_rows[low : low + 100]))
            if same.log_e >= math.log(20):
                blamed += 1
                break
    assert blamed <= most(runs)
    assert passed <= most(runs)


def test_a_promise_at_its_edge_is_seldom_confirmed():
    rail = Guardrail(Metric.BRIER, 0.1, offline_tolerance=0.05)
    confirmed = 0
    for seed in range(100):
        test = RatioTest(Policy(restart_seconds=50.0), rail, (2, 1), 0.2)
        test.begin(0.0)
        test.take(joined(rows(Metric.BRIER, LIKE, 600, Mode.SHADOW, seed)))
        confirmed += test.promise_kept
    assert confirmed <= most(100)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.95])
def test_a_split_as_asked_is_rarely_a_mismatch_however_often_one_looks(share):
    wrong = 0
    for seed in range(300):
        split, rng = Split(), np.random.default_rng(seed)
        split.ask(share, 0.0)
        for look in range(40):
            split.take(np.full(50, 100.0 + look), rng.random(50) < share)
            if split.mismatch(0.01) is not None:
                wrong += 1
                break
    assert wrong <= 9  # of 300 at 1 %: more come once in 2,000 tries


def test_bounds_hold_at_all_times_together():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(150):
        draws = np.cumsum(rng.random(400) < 0.3)
        missed += any(log_e_of_ratio(int(draws[n - 1]), n, 0.3) >= math.log(10) for n in range(5, 401, 5))
    assert missed <= most(150, 0.1)


def test_a_walk_without_drift_seldom_rises_above_the_radius():
    rng = np.random.default_rng(12)
    walks = np.cumsum(rng.normal(size=(600, 2_000)), axis=1)
    radius = np.array([mixture_radius(float(n), 0.05) for n in range(1, 2_001)])
    above = int(np.count_nonzero((walks > radius).any(axis=1)))
    assert 5 <= above <= 44  # of 600, at most 30 expected; it is not wide without need
