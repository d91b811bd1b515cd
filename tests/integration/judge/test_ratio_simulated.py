"""Known truth: equal ratios are seldom blamed, a harm at the margin seldom passes, a clear harm is found."""

import math

import numpy as np
import pytest
from label_worlds import FAR, IN_PAIRS, LIKE, MARGIN, RAILS, joined, rows

from comparator.events import Mode
from comparator.policy import Metric, Policy
from comparator.ratio import Blocks, RatioTest, Rows

POLICY = Policy(restart_seconds=100.0)
RUNS = 200
MOST = POLICY.alpha + 2.6 * math.sqrt(POLICY.alpha * (1 - POLICY.alpha) / RUNS)
EVERY = [(metric, Mode.SHADOW) for metric in IN_PAIRS] + [(metric, Mode.CANARY) for metric in RAILS]


def run(metric, which, count, mode, seed):
    test = RatioTest(POLICY, RAILS[metric], (2, 1), None)
    test.begin(0.0)
    test.take(joined(rows(metric, which, count, mode, seed)))
    return test


@pytest.mark.parametrize(("metric", "mode"), EVERY)
def test_w_has_mean_0_where_the_ratios_are_equal(metric, mode):
    test = RatioTest(POLICY, RAILS[metric], (2, 1), None)
    blocks = Blocks(test.metric.block(POLICY.block_requests), relative=test.metric.relative)
    _, _, w, _, _ = blocks.cut(Rows(rows(metric, LIKE, 100_000, mode, 1), (2, 1), test.metric))
    assert w.size > 3000
    assert abs(w.mean()) < 3.3 * w.std() / math.sqrt(w.size)
    assert w.std() > 0


@pytest.mark.parametrize(("metric", "mode"), EVERY)
def test_false_alarms_and_false_passes_are_rare(metric, mode):
    blamed = passed = 0
    for seed in range(RUNS):
        blamed += run(metric, LIKE, 1500, mode, seed).peak >= math.log(1 / POLICY.alpha)
        passed += run(metric, MARGIN, 1500, mode, RUNS + seed).no_harm.reached
    assert blamed / RUNS <= MOST
    assert passed / RUNS <= MOST


@pytest.mark.parametrize(("metric", "mode"), EVERY)
def test_a_clear_harm_is_found_and_measured(metric, mode):
    test = run(metric, FAR, 2500, mode, 5)
    assert test.log_e > math.log(60)
    theirs, ours = (test.estimate(side, POLICY.alpha) for side in (0, 1))
    worse = test.metric.worse(theirs.value, ours.value)
    assert worse > 2 * test.metric.rail.margin
    assert test.harm == pytest.approx(worse, rel=0.5)
    assert not test.no_harm.reached


@pytest.mark.parametrize(("metric", "mode"), EVERY)
def test_as_good_is_proven_in_the_end(metric, mode):
    count = 12_000 if mode is Mode.CANARY else 6000
    assert run(metric, LIKE, count, mode, 6).no_harm.reached


@pytest.mark.parametrize("metric", RAILS)
def test_the_bounds_of_an_estimate_hold(metric):
    truth = {
        Metric.PRECISION: 8 / 11, Metric.RECALL: 0.7, Metric.ACCURACY: 0.8, Metric.F1: 16 / 21, Metric.BRIER: 0.25,
        Metric.MAE: 2.0, Metric.RMSE: 2.0, Metric.REWARD: 1.0,
    }[metric]  # fmt: skip
    missed = 0
    for seed in range(60):
        estimate = run(metric, LIKE, 1000, Mode.CANARY, seed).estimate(1, 0.05)
        missed += not estimate.lower <= truth <= estimate.upper
        assert estimate.lower <= estimate.value <= estimate.upper
    assert missed <= 3
    assert np.isfinite(estimate.upper)
