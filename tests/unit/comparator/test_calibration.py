"""The calibration error: the definition, and that neither batches nor a checkpoint show."""

import math
from itertools import pairwise

import numpy as np
import pytest
from class_worlds import labelled
from hypothesis import given
from hypothesis import strategies as st
from score_worlds import FAR, LIKE, POLICY, RAIL, score_rows

from comparator import assess
from comparator.assess import Moment
from comparator.calibration import SIGNS, CalibrationTest, differences, error_of, gaps
from comparator.checkpoint import freeze, thaw
from comparator.events import Mode
from comparator.label_test import label_test
from comparator.policy import Guardrail, Metric
from comparator.policy_error import PolicyError

numbers = st.floats(-1, 1)


def fresh():
    test = label_test(POLICY, RAIL, (2, 1), None)
    test.begin(0.0)
    return test


def mixed(seed, count=300):
    """Pairs and canary rows, some without a score, some with one that is none."""
    chance = np.random.default_rng(seed)
    rows = np.concatenate([score_rows(FAR, count, mode, seed) for mode in (Mode.SHADOW, Mode.CANARY)])
    rows = rows[chance.permutation(len(rows))]
    rows["at"] = np.arange(len(rows))
    rows["score"][chance.random(rows["score"].shape) < 0.05] = math.nan
    rows["score"][chance.random(len(rows)) < 0.05, 0] = 1.5
    rows["score"][chance.random(len(rows)) < 0.2] = 1 / 3
    return rows


@given(st.integers(0, 2**32), st.lists(st.integers(0, 600), max_size=6))
def test_evidence_does_not_depend_on_batches(seed, cuts):
    rows = mixed(seed)
    whole, cut_up = fresh(), fresh()
    whole.take(labelled(rows))
    for low, high in pairwise([0, *sorted(cuts), len(rows)]):
        cut_up.take(labelled(rows[low:high]))
    for name in ("log_e", "peak", "harm", "coverage", "counts", "bad_score", "may_pass"):
        assert getattr(whole, name) == getattr(cut_up, name), name
    assert whole.no_harm.log_e == cut_up.no_harm.log_e
    assert [whole.estimate(side, 0.05) for side in (0, 1)] == [cut_up.estimate(side, 0.05) for side in (0, 1)]


@given(numbers, numbers, numbers, numbers)
def test_larger_is_larger_for_some_signs_against_all(a, b, c, d):
    theirs, ours = np.array([[a, b]]), np.array([[c, d]])
    w = differences(theirs, ours)[0]
    assert w.min(axis=1).max() == pytest.approx(error_of(ours) - error_of(theirs), abs=1e-12)
    assert w[1, 2] == pytest.approx(SIGNS[1] @ ours[0] - SIGNS[2] @ theirs[0])


def test_the_estimate_is_the_error_of_both_halves():
    rows = score_rows(LIKE, 2000, Mode.SHADOW, 3)
    test = fresh()
    test.take(labelled(rows))
    for side in (0, 1):
        gap, upper = rows["score"][:, side] - rows["label"], rows["score"][:, side] >= 0.5
        expected = abs(gap[upper].sum()) / 2000 + abs(gap[~upper].sum()) / 2000
        found = test.estimate(side, 0.05)
        assert found.value == pytest.approx(expected, abs=1e-6)
        assert found.lower <= found.value <= found.upper
        assert found.count == 2000
    assert gaps(np.array([0.5, 0.25]), np.array([1.0, 0.0])).tolist() == [[0.0, -0.5], [0.25, 0.0]]


def test_the_same_from_a_checkpoint():
    rows = mixed(4)
    whole, first = fresh(), fresh()
    whole.take(labelled(rows))
    first.take(labelled(rows[:222]))
    again = thaw(freeze(first), POLICY, like=(fresh(),))
    assert isinstance(again, CalibrationTest)
    again.take(labelled(rows[222:]))
    assert freeze(again) == freeze(whole)


def test_identical_scores_say_nothing_and_pass_in_the_end():
    test = fresh()
    rows = score_rows(LIKE, 3000, Mode.SHADOW, 5)
    rows["score"][:, 1] = rows["score"][:, 0]
    test.take(labelled(rows))
    assert test.log_e <= 0
    assert test.harm == 0.0
    assert test.no_harm.reached


def test_in_words():
    test = fresh()
    test.take(labelled(score_rows(FAR, 2000, Mode.SHADOW, 2)))
    found = assess.labelled(POLICY, RAIL, test, Moment(2000.0, Mode.SHADOW, 0.0, 0.0))
    report = found.report(harmed=True, threshold=20.0, alpha=0.05)
    assert report.reason.startswith("calibration error 0.2")
    assert " points, evidence" in report.reason
    assert found.harmful
    with pytest.raises(PolicyError):
        Guardrail(Metric.CALIBRATION, 0.1, offline_tolerance=0.1)
