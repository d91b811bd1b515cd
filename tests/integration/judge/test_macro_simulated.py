"""Known truth of a mean over classes: equal means are seldom blamed, a harm at the margin seldom passes."""

import math

import pytest
from class_worlds import FAR, LIKE, MARGIN, POLICY, RAIL, REFERENCE, class_rows, labelled, macro_precision

from comparator.events import Mode
from comparator.label_test import label_test
from comparator.macro import MacroBlocks
from comparator.ratio import Rows

RUNS = 200
MOST = POLICY.alpha + 2.6 * math.sqrt(POLICY.alpha * (1 - POLICY.alpha) / RUNS)
MODES = [(Mode.SHADOW, 3000), (Mode.CANARY, 6000)]


def run(says, count, mode, seed):
    test = label_test(POLICY, RAIL, (2, 1), None)
    test.begin(0.0)
    test.take(labelled(class_rows(says, count, mode, seed)))
    return test


@pytest.mark.parametrize(("mode", "count"), MODES)
def test_w_has_mean_0_where_the_means_over_classes_are_equal_and_classes_are_not(mode, count):
    assert macro_precision(LIKE) == pytest.approx(macro_precision(REFERENCE), abs=1e-9)
    metric = run(LIKE, 10, mode, 0).metric
    _, _, w, _, _ = MacroBlocks(metric).cut(Rows(class_rows(LIKE, 100 * count, mode, 7), (2, 1), metric))
    assert w.size > 5000
    assert abs(w.mean()) < 3.3 * w.std() / math.sqrt(w.size)
    assert w.std() > 0


@pytest.mark.parametrize(("mode", "count"), MODES)
def test_false_alarms_and_false_passes_are_rare(mode, count):
    blamed = passed = 0
    for seed in range(RUNS):
        blamed += run(LIKE, count, mode, seed).peak >= math.log(1 / POLICY.alpha)
        passed += run(MARGIN, count, mode, RUNS + seed).no_harm.reached
    print(f"{mode.name}: {blamed / RUNS:.3f} false alarms, {passed / RUNS:.3f} false passes")  # noqa: T201
    assert blamed / RUNS <= MOST
    assert passed / RUNS <= MOST


@pytest.mark.parametrize(("mode", "count"), MODES)
def test_a_clear_harm_is_found_and_equal_models_are_proven(mode, count):
    for seed in range(10):
        harmed, equal = run(FAR, count, mode, seed), run(REFERENCE, 2 * count, mode, seed)
        assert harmed.peak >= math.log(1 / POLICY.alpha)
        assert harmed.harm == pytest.approx(0.25, abs=0.15)
        assert equal.no_harm.reached


@pytest.mark.parametrize(("mode", "count"), MODES)
def test_the_bounds_of_an_estimate_hold(mode, count):
    truths, missed = (macro_precision(REFERENCE), macro_precision(LIKE)), 0
    for seed in range(60):
        test = run(LIKE, count // 3, mode, seed)
        for side in (0, 1):
            found = test.estimate(side, 0.05)
            missed += not found.lower <= truths[side] <= found.upper
    assert missed <= 6
