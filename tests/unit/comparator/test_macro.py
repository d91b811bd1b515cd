"""A mean over classes: blocks are what the definition says, and neither batches nor a checkpoint show."""

import math
from itertools import pairwise

import numpy as np
import pytest
from class_worlds import CLASSES, FAR, LIKE, POLICY, RAIL, class_rows, labelled
from hypothesis import given
from hypothesis import strategies as st

from comparator import assess
from comparator.assess import Moment
from comparator.checkpoint import freeze, thaw
from comparator.events import Mode
from comparator.label_test import label_test
from comparator.macro import MOST_ROWS, MacroBlock, MacroTest
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import RatioTest


def fresh(rail=RAIL, policy=POLICY, offline=None):
    test = label_test(policy, rail, (2, 1), offline)
    test.begin(0.0)
    return test


def plain_blocks(kinds, right, classes):
    """By the definition, row for row."""
    found, seen = [], np.zeros((2, classes), dtype=int)
    need, taken = [1] * classes, {}
    for at, (kind, hit) in enumerate(zip(kinds, right, strict=True)):
        for side in (0, 1):
            if kind[side] >= 0:
                seen[side, kind[side]] += 1
                taken.setdefault((side, kind[side]), []).append(bool(hit[side]))
        if all(len(taken.get((side, each), [])) >= need[each] for side in (0, 1) for each in range(classes)):
            means = [
                sum(np.mean(taken[side, each][: need[each]]) for each in range(classes)) / classes for side in (0, 1)
            ]
            found.append((at, *means))
            least = seen.min(axis=0)
            need, taken = [min(max(each // least.min(), 1), MOST_ROWS) for each in least], {}
    return found


rows_of_kinds = st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2), st.booleans(), st.booleans()), max_size=150)


@given(rows_of_kinds, st.lists(st.integers(0, 150), max_size=5))
def test_blocks_are_what_the_definition_says_however_rows_are_cut(rows, cuts):
    kinds = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
    right = np.array([row[2:] for row in rows], dtype=bool).reshape(-1, 2)
    expected = plain_blocks(kinds.tolist(), right.tolist(), 3)
    block, found = MacroBlock(3), []
    for low, high in pairwise([0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]):
        found += [(low + at, *means) for at, *means in block.take(kinds[low:high], right[low:high])]
    assert [each[0] for each in found] == [each[0] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=2**-24)


def mixed(seed, count=400):
    """Pairs and canary rows, some without a prediction, some of a class that is not of the mean."""
    chance = np.random.default_rng(seed)
    rows = np.concatenate([class_rows(LIKE, count, mode, seed) for mode in (Mode.SHADOW, Mode.CANARY)])
    rows = rows[chance.permutation(len(rows))]
    rows["at"] = np.arange(len(rows))
    rows["prediction"][chance.random(rows["prediction"].shape) < 0.05] = math.nan
    rows["prediction"][chance.random(len(rows)) < 0.05, 0] = 9.0
    rows["label"][chance.random(len(rows)) < 0.05] = 8.0
    return rows


@given(
    st.sampled_from([Metric.PRECISION, Metric.RECALL]), st.integers(0, 2**32), st.lists(st.integers(0, 800), max_size=6)
)
def test_evidence_does_not_depend_on_batches(metric, seed, cuts):
    rail = Guardrail(metric, 0.1, classes=CLASSES, offline_tolerance=0.1)
    policy = Policy(guardrails=(rail,), multiclass=True, restart_seconds=50.0)
    rows = mixed(seed)
    whole, cut_up = (fresh(rail, policy, offline=0.6) for _ in range(2))
    whole.take(labelled(rows))
    for low, high in pairwise([0, *sorted(cuts), len(rows)]):
        cut_up.take(labelled(rows[low:high]))
    for name in ("log_e", "peak", "harm", "coverage", "counts", "bad_label", "may_pass", "unseen"):
        assert getattr(whole, name) == getattr(cut_up, name), name
    assert whole.no_harm.log_e == cut_up.no_harm.log_e
    assert whole.kept.log_e == cut_up.kept.log_e
    assert [whole.estimate(side, 0.05) for side in (0, 1)] == [cut_up.estimate(side, 0.05) for side in (0, 1)]


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL])
def test_the_estimate_is_the_mean_over_the_classes(metric):
    rows = mixed(3)
    rail = Guardrail(metric, 0.1, classes=CLASSES)
    test = fresh(rail, Policy(guardrails=(rail,), multiclass=True))
    test.take(labelled(rows))
    for side, version in ((0, 1), (1, 2)):
        mine = rows["version"] == version
        said, truth = rows["prediction"][mine], np.broadcast_to(rows["label"][:, None], mine.shape)[mine]
        of = said if metric is Metric.PRECISION else np.where(np.isnan(said), math.nan, truth)
        expected = np.mean([np.mean((said == truth)[of == each]) for each in CLASSES])
        found = test.estimate(side, 0.05)
        assert found.value == pytest.approx(expected)
        assert found.lower < found.value < found.upper
        assert found.count == test.counts[side] == np.count_nonzero(np.isin(of, CLASSES))


def test_the_same_from_a_checkpoint():
    rows = mixed(4)
    whole, first = fresh(), fresh()
    whole.take(labelled(rows))
    first.take(labelled(rows[:333]))
    again = thaw(freeze(first), POLICY, like=(fresh(),))
    assert isinstance(again, MacroTest)
    again.take(labelled(rows[333:]))
    assert freeze(again) == freeze(whole)


def test_a_class_that_one_side_never_predicts_is_waited_for():
    rows = class_rows(LIKE, 600, Mode.SHADOW, 1)
    rows["prediction"][:, 1][rows["prediction"][:, 1] == 3.0] = 1.0
    test = fresh()
    test.take(labelled(rows))
    assert (test.unseen, test.log_e, test.harm) == (1, pytest.approx(0.0), None)
    assert test.estimate(1, 0.05) is None
    missing = assess.labelled(POLICY, RAIL, test, Moment(600.0, Mode.SHADOW, 0.0, 0.0)).missing
    assert "labelled predictions of every class on both sides: 1 have none yet" in missing


def test_in_words():
    test = fresh()
    test.take(labelled(class_rows(FAR, 3000, Mode.SHADOW, 2)))
    found = assess.labelled(POLICY, RAIL, test, Moment(3000.0, Mode.SHADOW, 0.0, 0.0))
    report = found.report(harmed=True, threshold=20.0, alpha=0.05)
    assert report.name == "precision_macro"
    assert report.reason.startswith("macro precision 0.4")
    assert " points, evidence" in report.reason
    assert type(fresh(Guardrail(Metric.PRECISION, 0.1, of=1.0))) is RatioTest
