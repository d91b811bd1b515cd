"""Several classes: a guardrail of one is that of two; accuracy is of all. An RMSE beside a champion without errors."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_worlds import joined

from comparator import assess
from comparator.assess import Moment
from comparator.class_code import class_code
from comparator.events import Mode, Role
from comparator.gate import offline_figure
from comparator.gated import expected_checks
from comparator.label_metric import LabelMetric
from comparator.pairing import JOINED, SCORED, Joined
from comparator.policy import Guardrail, Metric, Policy
from comparator.policy_error import PolicyError
from comparator.ratio import RatioTest
from comparator.scoreboard import Scoreboard

CLASSES = ("cancel", "refund", 3.0)
CODES = np.array([class_code("cancel"), class_code("refund"), 3.0])
OF_A_CLASS = [Metric.PRECISION, Metric.RECALL, Metric.F1]


def policy(*rails):
    return Policy(guardrails=rails, multiclass=True, restart_seconds=50.0)


def fresh(rail, *, multiclass=True):
    test = RatioTest(
        policy(rail) if multiclass else Policy(guardrails=(rail,), restart_seconds=50.0), rail, (2, 1), None
    )
    test.begin(0.0)
    return test


def some_rows(seed, count, right=(0.8, 0.8)):
    """Pairs and canary rows of three classes, of which a side gets a part right, and says nothing now and then."""
    chance = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    out["at"], out["sides"] = np.arange(count), 2
    out["mode"], out["version"], out["role"] = Mode.SHADOW, (1, 2), (Role.CHAMPION, Role.CHALLENGER)
    truth = chance.integers(0, 3, count)
    out["label"] = CODES[truth]
    for side in (0, 1):
        said = np.where(chance.random(count) < right[side], truth, chance.integers(0, 3, count))
        out["prediction"][:, side] = np.where(chance.random(count) < 0.05, math.nan, CODES[said])
    single = chance.random(count) < 0.5
    mine = chance.random(count) < 0.4
    out["mode"][single], out["sides"][single] = Mode.CANARY, 1
    out["version"][single, 0], out["version"][single, 1] = np.where(mine, 2, 1)[single], 0
    out["prediction"][single, 1] = math.nan
    out["score"] = math.nan
    return out


@given(st.sampled_from(OF_A_CLASS), st.integers(0, 2), st.integers(0, 2**32))
def test_a_guardrail_of_a_class_is_that_of_this_class_against_all_others(metric, of, seed):
    rows = some_rows(seed, 300)
    two = rows.copy()
    two["label"] = rows["label"] == CODES[of]
    two["prediction"] = np.where(np.isnan(rows["prediction"]), math.nan, rows["prediction"] == CODES[of])
    one = fresh(Guardrail(metric, 0.05, of=CLASSES[of]))
    other = fresh(Guardrail(metric, 0.05), multiclass=False)
    one.take(joined(rows, rows))
    other.take(joined(two, two))
    for name in ("log_e", "peak", "harm", "coverage", "counts", "bad_label"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.no_harm.log_e == other.no_harm.log_e
    assert [one.estimate(side, 0.05) for side in (0, 1)] == [other.estimate(side, 0.05) for side in (0, 1)]


@given(st.lists(st.integers(0, 200), max_size=6), st.integers(0, 2**32))
def test_accuracy_is_of_all_classes_however_batches_are_cut(cuts, seed):
    rows = some_rows(seed, 200)
    whole, cut_up = (fresh(Guardrail(Metric.ACCURACY, 0.05)) for _ in range(2))
    whole.take(joined(rows, rows))
    for low, high in pairwise([0, *sorted(cuts), 200]):
        cut_up.take(joined(rows[low:high], rows[low:high]))
    assert whole.log_e == cut_up.log_e
    assert whole.no_harm.log_e == cut_up.no_harm.log_e
    for side, version in ((0, 1), (1, 2)):
        mine = rows["prediction"][rows["version"] == version]
        truth = np.broadcast_to(rows["label"][:, None], rows["version"].shape)[rows["version"] == version]
        told = ~np.isnan(mine)
        assert whole.estimate(side, 0.05).value == pytest.approx(np.mean(mine[told] == truth[told]))
        assert whole.counts[side] == np.count_nonzero(told)
    assert whole.bad_label == 0


def test_of_two_classes_a_label_that_is_neither_is_left_out_still():
    test = fresh(Guardrail(Metric.ACCURACY, 0.05), multiclass=False)
    test.take(joined(some_rows(1, 100)))
    assert test.bad_label == 100


def test_a_class_in_words():
    rail = Guardrail(Metric.PRECISION, 0.05, of="cancel")
    test = fresh(rail)
    test.take(joined(some_rows(2, 600, right=(0.9, 0.3))))
    found = assess.labelled(policy(rail), rail, test, Moment(600.0, Mode.CANARY, 0.0, 0.0))
    report = found.report(harmed=True, threshold=20.0, alpha=0.05)
    assert report.name == "precision_of_cancel"
    assert report.reason.startswith("precision of cancel 0.")
    assert "labelled predictions of cancel: worse by" in report.reason
    assert LabelMetric(Guardrail(Metric.RECALL, 0.05, of=3)).rows == "requests labelled 3"


def test_a_right_answer_is_counted_as_tp_and_a_wrong_one_as_fp():
    board = Scoreboard(0.05)
    scored = np.zeros(5, dtype=SCORED)
    scored["version"], scored["label"] = 1, CODES[[0, 1, 2, 0, 0]]
    scored["prediction"] = [*CODES[[0, 1, 0, 1]], math.nan]
    board.label(Joined(np.zeros(0, JOINED), np.zeros(0, JOINED), scored), multiclass=True)
    score = board.score(1)
    assert score.labelled == {"tn": 0, "fn": 0, "fp": 2, "tp": 2}
    assert score.precision.value == 0.5


def test_the_gate_measures_each_guardrail_and_looks_for_its_own_offline_figure():
    rails = (Guardrail(Metric.PRECISION, 0.02, of="cancel"), Guardrail(Metric.PRECISION, 0.02, of="refund"))
    checks = expected_checks(policy(*rails))
    assert {"precision_of_cancel.no_regression", "precision_of_refund.reproduced"} <= set(checks)
    offline = {"precision": 0.5, "precision_score": 0.6, "eval_precision_cancel": 0.7, "test_precision_of_refund": 0.8}
    assert [offline_figure(rail, offline) for rail in rails] == [0.7, 0.8]
    assert "accuracy.reproduced" in expected_checks(policy(Guardrail(Metric.ERROR_RATE, 0.01)))


def test_what_a_policy_of_several_classes_adds_to_its_canonical_text():
    rail = Guardrail(Metric.PRECISION, 0.02, of=3)
    text = policy(rail).canonical()
    assert Policy.from_canonical(text) == policy(Guardrail(Metric.PRECISION, 0.02, of=3.0))
    assert json.loads(text)["guardrails"][0]["of"] == 3.0
    assert "multiclass" not in Policy().canonical()
    assert '"of"' not in Policy().canonical()
    assert "classes" not in Policy().canonical()


@pytest.mark.parametrize(
    "given_rail",
    [
        {"metric": Metric.ACCURACY, "margin": 0.1, "of": "a"},
        {"metric": Metric.F1, "margin": 0.1, "of": ""},
        {"metric": Metric.F1, "margin": 0.1, "of": "a\n"},
        {"metric": Metric.F1, "margin": 0.1, "of": "x" * 257},
        {"metric": Metric.F1, "margin": 0.1, "of": math.nan},
        {"metric": Metric.F1, "margin": 0.1, "of": 2.0**52},
        {"metric": Metric.RMSE, "margin": 0.1},
        {"metric": Metric.RMSE, "margin": 0.1, "range": (1.0, 2.0)},
        {"metric": Metric.RMSE, "margin": 10.5, "range": (0.0, 2.0)},
        {"metric": Metric.RMSE, "margin": 0.1, "range": (0.0, 2.0), "offline_tolerance": 0.1},
    ],
)
def test_guardrails_that_make_no_sense(given_rail):
    with pytest.raises(PolicyError):
        Guardrail(**given_rail)


def test_a_champion_without_errors_has_no_ratio_but_its_challenger_is_harmful():
    rail = Guardrail(Metric.RMSE, 0.1, range=(0.0, 10.0))
    rows = some_rows(3, 400)
    rows["mode"], rows["sides"], rows["version"] = Mode.SHADOW, 2, (1, 2)
    rows["label"], rows["prediction"] = 5.0, (5.0, 8.0)
    test = RatioTest(Policy(guardrails=(rail,)), rail, (2, 1), None)
    test.begin(0.0)
    test.take(joined(rows))
    assert test.estimate(0, 0.05).value == 0.0
    assert test.estimate(1, 0.05).value == pytest.approx(3.0, rel=1e-6)
    assert math.isfinite(test.harm)
    assert test.harm > 1
    assert test.log_e > math.log(20)
    report = assess.labelled(Policy(guardrails=(rail,)), rail, test, Moment(400.0, Mode.SHADOW, 0.0, 0.0))
    assert report.harmful
