"""Known truth of the calibration error: equal ones are seldom blamed, harm at the margin seldom passes."""

import math

import pytest
from class_worlds import labelled
from score_worlds import FAR, LIKE, MARGIN, POLICY, RAIL, REFERENCE, error, score_rows

from comparator.events import Mode
from comparator.label_test import label_test

RUNS = 200
MOST = POLICY.alpha + 2.6 * math.sqrt(POLICY.alpha * (1 - POLICY.alpha) / RUNS)
MODES = [(Mode.SHADOW, 1500), (Mode.CANARY, 2500)]


def run(adds, count, mode, seed):
    test = label_test(POLICY, RAIL, (2, 1), None)
    test.begin(0.0)
    test.take(labelled(score_rows(adds, count, mode, seed)))
    return test


def test_the_worlds_are_what_they_say():
    assert [error(each) for each in (REFERENCE, LIKE, MARGIN)] == pytest.approx([0.05, 0.05, 0.15])
    assert error(FAR) > 0.2


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
def test_a_clear_harm_is_found_and_as_good_is_proven(mode, count):
    for seed in range(10):
        harmed, equal = run(FAR, count, mode, seed), run(LIKE, 3 * count, mode, seed)
        assert harmed.peak >= math.log(1 / POLICY.alpha)
        assert harmed.harm == pytest.approx(error(FAR) - 0.05, abs=0.1)
        assert equal.no_harm.reached


@pytest.mark.parametrize(("mode", "count"), MODES)
def test_the_bounds_of_an_estimate_hold(mode, count):
    missed = 0
    for seed in range(60):
        test = run(FAR, count, mode, seed)
        for side, truth in ((0, 0.05), (1, error(FAR))):
            found = test.estimate(side, 0.05)
            missed += not found.lower <= truth <= found.upper
    assert missed <= 6
