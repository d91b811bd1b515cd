"""What predictions for labelled rows come to, and what is said of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.gated import Measured
from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from comparator.policy import Guardrail, Metric
from router.staging.metrics import Answers, figure, minimum, no_regression, none_predicted, reproduced

PRECISION = Guardrail(Metric.PRECISION, 0.02)
MAE = Guardrail(Metric.MAE, 1.0, range=(0.0, 10.0))
BRIER = Guardrail(Metric.BRIER, 0.02)


def answers(prediction, score=None):
    prediction = np.asarray(prediction, dtype=float)
    return Answers(prediction, np.full(len(prediction), np.nan) if score is None else np.asarray(score, dtype=float))


def counted(rail, labels, prediction, score=None):
    return figure(LabelMetric(rail), np.asarray(labels, dtype=float), answers(prediction, score))


def of_precision(right, wrong, others=0):
    """So many positives that are right and wrong, and so many negatives."""
    labels = [1.0] * right + [0.0] * wrong + [0.0] * others
    return counted(PRECISION, labels, [1.0] * (right + wrong) + [0.0] * others)


def asked(rail=PRECISION, least=None):
    return Measured(rail, True, least)


def test_the_figure_and_its_bounds():
    found = of_precision(70, 30, 100)
    assert (found.value, found.counting) == (0.7, 100)
    assert (found.lower, found.upper) == pytest.approx((0.61578, 0.77508), abs=1e-5)
    assert of_precision(0, 0, 50) is None


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1])
def test_each_metric_is_what_its_name_says(metric):
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0] * 10)
    predicted = np.array([1, 1, 0, 1, 0, 0, 0, 0] * 10)
    expected = {"precision": 2 / 3, "recall": 2 / 3, "accuracy": 6 / 8, "f1": 2 / 3}
    found = counted(Guardrail(metric, 0.02), labels, predicted)
    assert found.value == pytest.approx(expected[metric.value])
    assert found.lower < found.value < found.upper


def test_losses_are_in_their_own_units():
    found = counted(MAE, [1.0, 2.0, 3.0] * 20, [2.0, 2.0, 5.0] * 20)
    assert found.value == pytest.approx(1.0)
    assert 0 < found.lower < 1 < found.upper < 10
    found = counted(BRIER, [1.0, 0.0] * 20, [1.0, 0.0] * 20, [0.9, 0.2] * 20)
    assert found.value == pytest.approx((0.01 + 0.04) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict", "says"),
    [
        (5, 0, Verdict.INCONCLUSIVE, "5 labelled positives count for precision, at least 30 have to"),
        (29, 0, Verdict.INCONCLUSIVE, "29 labelled positives"),
        (800, 200, Verdict.PASS, "precision 0.800 [0.778, 0.821] on 1,000 labelled positives"),
        (40, 10, Verdict.INCONCLUSIVE, "rows would tell"),
        (700, 300, Verdict.INCONCLUSIVE, "too close for any number of rows to tell"),
        (30, 20, Verdict.INCONCLUSIVE, "rows would tell"),
        (300, 200, Verdict.FAIL, "expected at least 0.7"),
    ],
)
def test_a_minimum_is_judged_by_the_bound(right, wrong, verdict, says):
    check = minimum(asked(least=0.7), of_precision(right, wrong), right + wrong)
    assert check.verdict is verdict, check.reason
    assert says in check.reason


def test_the_minimum_of_a_loss_is_the_most():
    good = counted(MAE, [1.0] * 300, [1.5] * 300)
    assert minimum(asked(MAE, 2.0), good, 300).verdict is Verdict.PASS
    assert "expected at most 2" in minimum(asked(MAE, 2.0), good, 300).reason
    assert minimum(asked(MAE, 0.1), good, 300).verdict is Verdict.FAIL


def test_about_so_many_rows_as_it_says_tell():
    check = minimum(asked(least=0.7), of_precision(40, 10), 50)
    told = int(check.reason.split("about ")[1].split(" rows")[0].replace(",", ""))
    assert 50 < told < 1000
    times = told / 50
    assert minimum(asked(least=0.7), of_precision(round(40 * times), round(10 * times)), told).verdict is Verdict.PASS


def test_a_leaked_evaluation_does_not_hold():
    check = reproduced(asked(), of_precision(400, 600), 1.0, 0.05, 1000)
    assert check.verdict is Verdict.FAIL
    assert check.reason.endswith("the evaluation in the registry does not hold")
    assert check.numbers["offline"] == 1.0


@pytest.mark.parametrize(
    ("offline", "verdict", "says"),
    [
        (0.80, Verdict.PASS, "expected the offline 0.800 within 5 points"),
        (0.50, Verdict.PASS, "expected the offline 0.500"),  # better than it was promised
        (0.84, Verdict.INCONCLUSIVE, "rows would tell"),
        (0.95, Verdict.FAIL, "does not hold"),
        (None, Verdict.INCONCLUSIVE, "no offline precision is recorded on the version"),
    ],
)
def test_whether_the_offline_figure_is_reproduced(offline, verdict, says):
    check = reproduced(asked(), of_precision(800, 200), offline, 0.05, 1000)
    assert check.verdict is verdict, check.reason
    assert says in check.reason


def test_a_loss_that_is_larger_than_promised():
    found = counted(MAE, [1.0] * 300, [3.0] * 300)
    assert reproduced(asked(MAE), found, 0.5, 0.5, 300).verdict is Verdict.FAIL
    assert reproduced(asked(MAE), found, 1.9, 0.5, 300).verdict is Verdict.PASS


def pair(count, champion_right, ours_right, seed=1):
    chance = np.random.default_rng(seed)
    labels = (chance.random(count) < 0.4).astype(float)
    ease = chance.random(count)  # what one gets right the better one does, too
    sides = [np.where(ease < right, labels, 1 - labels) for right in (ours_right, champion_right)]
    return (labels, *sides)


@pytest.mark.parametrize(
    ("count", "champion", "ours", "verdict", "says"),
    [
        (3000, 0.8, 0.8, Verdict.PASS, "better by 0 points"),
        (3000, 0.8, 0.9, Verdict.PASS, "better by"),
        (3000, 0.9, 0.7, Verdict.FAIL, "worse by"),
        (200, 0.8, 0.8, Verdict.INCONCLUSIVE, "rows would tell"),
        (40, 0.9, 0.9, Verdict.INCONCLUSIVE, "at least 30 have to"),
    ],
)
def test_no_regression_on_the_same_rows(count, champion, ours, verdict, says):
    labels, mine, theirs = pair(count, champion, ours)
    check = no_regression(asked(), counted(PRECISION, labels, mine), counted(PRECISION, labels, theirs), count)
    assert check.verdict is verdict, check.reason
    assert says in check.reason


def test_who_could_not_be_counted_is_named():
    some = of_precision(50, 50)
    assert "of the champion count" in no_regression(asked(), some, None, 100).reason
    assert "of the staged server count" in no_regression(asked(), None, some, 100).reason


@pytest.mark.parametrize("rail", [MAE, BRIER, Guardrail(Metric.F1, 0.05), Guardrail(Metric.RECALL, 0.05)])
def test_a_regression_of_any_metric_is_found_and_its_reverse_passes(rail):
    labels, good, poor = pair(2000, 0.6, 0.95)
    score = [np.where(side == labels, np.abs(labels - 0.1), np.abs(labels - 0.9)) for side in (good, poor)]
    if rail is MAE:
        good, poor, labels = labels * 3 + 0.5, labels * 3 + 4.0, labels * 3
    ours, theirs = (counted(rail, labels, side, each) for side, each in zip((good, poor), score, strict=True))
    assert no_regression(asked(rail), theirs, ours, 2000).verdict is Verdict.FAIL
    assert no_regression(asked(rail), ours, theirs, 2000).verdict is Verdict.PASS


@given(st.integers(30, 400), st.integers(0, 400), st.floats(0.05, 0.95))
def test_better_figures_never_get_a_worse_verdict(right, wrong, least):
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    one = minimum(asked(least=least), of_precision(right, wrong), right + wrong)
    better = minimum(asked(least=least), of_precision(right + 1, max(0, wrong - 1)), right + wrong)
    assert order.index(better.verdict) >= order.index(one.verdict)


def test_rows_without_a_prediction_are_counted():
    assert none_predicted(answers([1.0, np.nan, 0.0, np.nan])) == 2


RMSE = Guardrail(Metric.RMSE, 0.1, range=(0.0, 10.0))


def of_errors(errors, rail=RMSE):
    return counted(rail, [20.0] * len(errors), [20.0 + each for each in errors])


def test_the_root_mean_squared_error_and_its_bounds():
    found = of_errors([3.0, -4.0, 0.0, 5.0] * 25)
    assert found.value == pytest.approx((50 / 4) ** 0.5, rel=1e-6)
    assert 2.5 < found.lower < found.value < found.upper < 5
    assert "root mean squared error 3.536 [" in minimum(asked(RMSE, 5.0), found, 100).reason
    assert minimum(asked(RMSE, 2.0), found, 100).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("times", "verdict", "says"),
    [
        (1.0, Verdict.PASS, "better by 0 %"),
        (0.8, Verdict.PASS, "better by 20 % ["),
        (1.08, Verdict.PASS, "worse by 8 % ["),
        (1.3, Verdict.FAIL, "worse by 30 % ["),
    ],
)
def test_an_rmse_is_no_worse_by_a_part_of_the_champions(times, verdict, says):
    errors = np.random.default_rng(1).normal(0, 2.0, 4000)
    check = no_regression(asked(RMSE), of_errors(times * errors), of_errors(errors), 4000)
    assert check.verdict is verdict, check.reason
    assert says in check.reason
    assert "the margin is 10 %" in check.reason
    assert check.numbers["lower"] <= check.numbers["loss"] <= check.numbers["upper"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("runs", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_an_rmse_at_its_margin_seldom_passes_and_seldom_fails(sign, runs):
    chance, wrong = np.random.default_rng(5), 0
    for _ in range(runs):
        theirs, ours = chance.normal(0, 2.0, 400), chance.normal(0, 2.0 * (1.1 + sign * 1e-9), 400)
        verdict = no_regression(asked(RMSE), of_errors(ours), of_errors(theirs), 400).verdict
        wrong += verdict is (Verdict.PASS if sign > 0 else Verdict.FAIL)
    assert wrong <= 0.05 * runs  # without an allowance for chance: betting errs far less often than it may


def test_a_champion_without_errors_and_rows_without_a_prediction():
    check = no_regression(asked(RMSE), of_errors([5.0] * 100), of_errors([0.0] * 100), 100)
    assert check.verdict is Verdict.FAIL
    assert check.numbers["loss"] == 1000
    holes = of_errors([2.0, np.nan] * 100)
    assert no_regression(asked(RMSE), holes, of_errors([2.0] * 200), 200).verdict is not Verdict.FAIL


def test_the_offline_rmse_is_reproduced_within_a_part_of_it():
    found = of_errors(np.random.default_rng(2).normal(0, 2.0, 4000))
    assert reproduced(asked(RMSE), found, 2.0, 0.1, 4000).verdict is Verdict.PASS
    check = reproduced(asked(RMSE), found, 1.0, 0.1, 4000)
    assert check.verdict is Verdict.FAIL
    assert "expected the offline 1.000 within 10 %" in check.reason


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL, Metric.F1])
def test_a_class_is_measured_against_all_others(metric):
    labels, said = np.array([5.0, 5.0, 7.0, 9.0, 7.0] * 20), np.array([5.0, 7.0, 5.0, 9.0, 7.0] * 20)
    one = figure(LabelMetric(Guardrail(metric, 0.02, of=5), multiclass=True), labels, answers(said))
    two = counted(Guardrail(metric, 0.02), labels == 5, said == 5)
    assert (one.value, one.lower, one.upper, one.counting) == (two.value, two.lower, two.upper, two.counting)
    whole = figure(LabelMetric(Guardrail(Metric.ACCURACY, 0.02), multiclass=True), labels, answers(said))
    assert whole.value == pytest.approx(3 / 5)


MACRO = Guardrail(Metric.PRECISION, 0.1, classes=(1, 2, 3))


def of_classes(right, seed=1, count=3000):
    """Rows of three classes, of which so many are told right; labels, and what is said."""
    chance = np.random.default_rng(seed)
    labels = 1.0 + chance.choice(3, count, p=(0.6, 0.3, 0.1))
    said = np.where(chance.random(count) < right, labels, 1.0 + chance.choice(3, count))
    return labels, figure(LabelMetric(MACRO, multiclass=True), labels, answers(said)), said


def test_the_mean_over_classes_and_its_bounds():
    labels, found, said = of_classes(0.8)
    assert found.value == pytest.approx(np.mean([np.mean(labels[said == each] == each) for each in (1, 2, 3)]))
    assert found.lower < found.value < found.upper
    assert minimum(asked(MACRO, 0.5), found, 3000).verdict is Verdict.PASS
    assert "macro precision 0." in minimum(asked(MACRO, 0.99), found, 3000).reason
    assert figure(LabelMetric(MACRO, multiclass=True), labels, answers(np.where(said == 3, 1, said))) is None


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.8, Verdict.PASS), (0.82, Verdict.PASS), (0.5, Verdict.FAIL), (0.71, Verdict.INCONCLUSIVE)]
)
def test_a_mean_over_classes_is_no_worse_by_its_margin(right, verdict):
    theirs, ours = of_classes(0.8)[1], of_classes(right)[1]
    check = no_regression(asked(MACRO), ours, theirs, 3000)
    assert check.verdict is verdict, check.reason
    assert check.numbers["lower"] <= check.numbers["loss"] <= check.numbers["upper"]
    if verdict is Verdict.INCONCLUSIVE:
        assert "rows would tell" in check.reason


CALIBRATION = Guardrail(Metric.CALIBRATION, 0.1)


def of_scores(adds, count=3000, seed=1):
    """Of rows whose label is 1 with a chance of 0.2 or 0.7; so much is added to the chance."""
    chance = np.random.default_rng(seed)
    chances = chance.choice([0.2, 0.7], count)
    return counted(CALIBRATION, chance.random(count) < chances, np.zeros(count), chances + adds)


def test_the_calibration_error_and_its_bounds():
    found = of_scores(0.15)
    assert found.value == pytest.approx(0.15, abs=0.03)
    assert 0.05 < found.lower < found.value < found.upper < 0.3
    assert minimum(asked(CALIBRATION, 0.3), found, 3000).verdict is Verdict.PASS
    assert "calibration error 0." in minimum(asked(CALIBRATION, 0.02), found, 3000).reason
    assert counted(CALIBRATION, [1.0], [1.0]) is None


@pytest.mark.parametrize(
    ("adds", "verdict"),
    [(0.0, Verdict.PASS), (-0.05, Verdict.PASS), (0.25, Verdict.FAIL), (-0.12, Verdict.INCONCLUSIVE)],
)
def test_a_calibration_error_is_no_larger_by_its_margin(adds, verdict):
    check = no_regression(asked(CALIBRATION), of_scores(adds), of_scores(0.0), 3000)
    assert check.verdict is verdict, check.reason
    assert check.numbers["lower"] <= check.numbers["loss"] <= check.numbers["upper"]
