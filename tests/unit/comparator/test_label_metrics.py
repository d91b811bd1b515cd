"""Every metric from labels: what its quantities are, that its bounds hold, and that batches do not show."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_worlds import IN_PAIRS, RAILS, WORLDS, joined, rows

from comparator import assess
from comparator.assess import Moment
from comparator.events import Mode
from comparator.label_metric import LabelMetric
from comparator.pairing import JOINED
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import CANARY_BETS, PAIR_BETS, Blocks, RatioTest, Rows

NAN = math.nan
metrics = st.sampled_from(list(RAILS))


def fresh(metric, offline=None, rail=None):
    test = RatioTest(Policy(restart_seconds=50.0), rail or RAILS[metric], (2, 1), offline)
    test.begin(0.0)
    return test


def wild_rows(seed, count, mode=None):
    """Anything that can come: missing predictions, scores and labels that are not legal, other versions."""
    chance = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    out["at"] = np.cumsum(chance.exponential(3.0, count))
    out["mode"] = mode if mode is not None else chance.choice([Mode.SHADOW, Mode.CANARY, Mode.WATCH], count)
    out["sides"] = np.where(out["mode"] == Mode.CANARY, 1, 2)
    out["label"] = chance.choice([0, 1, 1, 0.5, -7], count)
    out["prediction"] = chance.choice([0, 1, 1, 0.3, 12, NAN], (count, 2))
    out["score"] = chance.choice([0, 1, 0.25, 0.9, 1.5, NAN], (count, 2))
    swapped = chance.random(count) < chance.choice([0.5, 0.1])
    out["version"] = np.where(swapped[:, None], [2, 1], [1, 2])
    out["version"][out["sides"] == 1, 1] = 0
    out["version"][chance.random(count) < 0.05] = 9
    return out


@pytest.mark.parametrize(
    ("metric", "label", "prediction", "score", "n", "d"),
    [
        (Metric.PRECISION, 1, 1, NAN, 1, 1),
        (Metric.PRECISION, 0, 1, NAN, 0, 1),
        (Metric.PRECISION, 1, 0, NAN, 0, 0),
        (Metric.PRECISION, 1, NAN, NAN, 0, 0),
        (Metric.RECALL, 1, 1, NAN, 1, 1),
        (Metric.RECALL, 1, 0, NAN, 0, 1),
        (Metric.RECALL, 0, 1, NAN, 0, 0),
        (Metric.RECALL, 1, NAN, NAN, 0, 0),
        (Metric.ACCURACY, 0, 0, NAN, 1, 1),
        (Metric.ACCURACY, 0, 1, NAN, 0, 1),
        (Metric.ACCURACY, 0, NAN, NAN, 0, 0),
        (Metric.F1, 1, 1, NAN, 2, 2),
        (Metric.F1, 0, 1, NAN, 0, 1),
        (Metric.F1, 1, 0, NAN, 0, 1),
        (Metric.F1, 0, 0, NAN, 0, 0),
        (Metric.F1, 1, NAN, NAN, 0, 0),
        (Metric.BRIER, 1, 0, 0.25, 0.5625, 1),
        (Metric.BRIER, 1, 0, NAN, 0, 0),
        (Metric.BRIER, 1, 0, 1.5, 0, 0),
        (Metric.MAE, -3, 2, NAN, 0.5, 1),
        (Metric.MAE, -30, 2, NAN, 1, 1),
        (Metric.MAE, 1, math.inf, NAN, 0, 0),
        (Metric.MAE, 1.7e308, -1.7e308, NAN, 1, 1),
        (Metric.RMSE, -3, -0.5, NAN, 0.25, 1),
        (Metric.RMSE, -30, 2, NAN, 1, 1),
        (Metric.RMSE, 1, math.inf, NAN, 0, 0),
        (Metric.RMSE, 1.7e308, -1.7e308, NAN, 1, 1),
        (Metric.REWARD, 1.5, NAN, NAN, 0.5, 1),
        (Metric.REWARD, -100, 0, NAN, 0, 1),
        (Metric.REWARD, 100, 0, NAN, 1, 1),
    ],
)
def test_the_quantities_of_a_row(metric, label, prediction, score, n, d):
    found = LabelMetric(RAILS[metric]).quantities(*(np.array([[float(each)]]) for each in (label, prediction, score)))
    assert [part.tolist() for part in found] == [[[n]], [[d]]]


@given(metrics, st.integers(0, 2**32), st.integers(2, 20))
@settings(max_examples=3 * settings().max_examples)
def test_w_is_within_its_bound_and_no_bet_loses_all(metric, seed, size):
    test = fresh(metric)
    rows_ = Rows(wild_rows(seed, 300), (2, 1), test.metric)
    for n, d in ((rows_.n_ref, rows_.d_ref), (rows_.n_trial, rows_.d_trial)):
        assert np.all((n >= 0) & (n <= d) & (d <= 2))
    _, pair, w, margin, _ = Blocks(size, relative=test.metric.relative).cut(rows_)
    assert np.all(margin >= 0)
    for which, bound, bets in (
        (pair, test.metric.pair_bound(size), PAIR_BETS),
        (~pair, test.metric.canary_bound, CANARY_BETS),
    ):
        assert np.all(np.abs(w[which]) <= bound * (1 + 1e-12))
        for sign in (1, -1):
            assert np.all(1 + sign * w[which] * bets.max() / bound >= 1 - bets.max() - 1e-9)
            assert np.all(1 + (0.3 * margin[which] - sign * w[which]) * bets.max() / bound > 0)


@pytest.mark.parametrize("metric", IN_PAIRS)
def test_the_bound_of_pairs_is_reached(metric):
    rows_ = np.zeros(8, dtype=JOINED)
    rows_["mode"], rows_["sides"], rows_["version"] = Mode.SHADOW, 2, (1, 2)
    rows_["label"] = [1] * 4 + [0] * 4 if metric is Metric.PRECISION else 1
    rows_["prediction"] = [(1, 0)] * 4 + [(0, 1)] * 4 if metric is Metric.PRECISION else (1, 0)
    rows_["score"] = (0, 1)
    if metric in (Metric.MAE, Metric.RMSE):
        rows_["prediction"] = (-99, 1)
    test = fresh(metric)
    _, _, w, _, _ = Blocks(8).cut(Rows(rows_, (2, 1), test.metric))
    most = test.metric.pair_bound(8)
    assert abs(w.item()) == pytest.approx(most)


@given(metrics, st.lists(st.integers(0, 200), max_size=8), st.integers(0, 2**32))
@settings(max_examples=2 * settings().max_examples)
def test_evidence_does_not_depend_on_batches(metric, cuts, seed):
    given_rows = wild_rows(seed, 200)
    if metric is not Metric.REWARD:
        given_rows["label"][::7] = 1 / 3
    given_rows["score"][::3, 0] = 1 / 3
    rail = RAILS[metric]
    if metric in (Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1, Metric.BRIER):
        rail = Guardrail(metric, 0.05, offline_tolerance=0.1)
    whole, cut_up = (fresh(metric, offline=0.6, rail=rail) for _ in range(2))
    whole.take(joined(given_rows, given_rows))
    for low, high in pairwise([0, *sorted(cuts), 200]):
        cut_up.take(joined(given_rows[low:high], given_rows[low:high]))
    for test in (whole, cut_up):
        assert math.isfinite(test.log_e)
    for name in ("log_e", "peak", "harm", "coverage", "counts", "bad_label", "bad_score", "may_pass"):
        assert getattr(whole, name) == getattr(cut_up, name), name
    assert whole.no_harm.log_e == cut_up.no_harm.log_e
    assert whole.kept.log_e == cut_up.kept.log_e
    assert [whole.estimate(side, 0.05) for side in (0, 1)] == [cut_up.estimate(side, 0.05) for side in (0, 1)]


@given(st.lists(st.booleans(), max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_a_canary_block_is_the_shortest_run_with_both(owners, cuts):
    given_rows = np.zeros(len(owners), dtype=JOINED)
    given_rows["at"], given_rows["mode"], given_rows["sides"] = np.arange(len(owners)), Mode.CANARY, 1
    given_rows["version"][:, 0] = np.where(owners, 2, 1)
    given_rows["prediction"][:, 1] = NAN
    test, found = Blocks(8), []
    for low, high in pairwise([0, *sorted(min(cut, len(owners)) for cut in cuts), len(owners)]):
        at, _, _, _, sums = test.cut(Rows(given_rows[low:high], (2, 1), LabelMetric(RAILS[Metric.ACCURACY])))
        found += [(when, ref, trial) for when, (ref, _, trial, _) in zip(at.tolist(), sums.tolist(), strict=True)]
    expected, run = [], []
    for when, owner in enumerate(owners):
        run.append(owner)
        if len(set(run)) == 2:
            expected.append((when, run.count(False), run.count(True)))
            run = []
    assert found == expected


def test_what_is_not_legal_is_counted_once_and_left_out():
    given_rows = rows(Metric.BRIER, 1, 40, Mode.SHADOW, 1)
    given_rows["label"][:3] = 2.0
    given_rows["score"][3:5, 1] = 1.5
    brier, accuracy = fresh(Metric.BRIER), fresh(Metric.ACCURACY)
    for test in (brier, accuracy):
        test.take(joined(given_rows))
    assert (brier.bad_label, brier.bad_score, brier.counts) == (3, 2, [37, 35])
    assert (accuracy.bad_label, accuracy.bad_score, accuracy.counts) == (3, 0, [37, 37])


@pytest.mark.parametrize("metric", [Metric.RECALL, Metric.ACCURACY, Metric.BRIER])
def test_labels_that_exist_only_where_the_champion_acted_are_seen(metric):
    given_rows = rows(metric, 1, 400, Mode.SHADOW, 2)
    given_rows["prediction"] = np.random.default_rng(3).integers(0, 2, (400, 2))
    test = fresh(metric)
    test.take(joined(given_rows[given_rows["prediction"][:, 0] == 1], given_rows))
    everywhere, somewhere = test.coverage
    assert everywhere == pytest.approx(0.5, abs=0.1)
    assert somewhere == 0.0
    found = assess.labelled(Policy(), RAILS[metric], test, Moment(400.0, Mode.SHADOW, 0.0, 0.0))
    assert "0% of the requests on which the two disagree" in found.missing[-1]
    assert not any("disagree" in each for each in _labelled_everywhere(metric, given_rows).missing)


def _labelled_everywhere(metric, given_rows):
    test = fresh(metric)
    test.take(joined(given_rows, given_rows))
    return assess.labelled(Policy(), RAILS[metric], test, Moment(400.0, Mode.SHADOW, 0.0, 0.0))


def test_numbers_disagree_beyond_the_margin():
    given_rows = rows(Metric.MAE, 1, 60, Mode.SHADOW, 2)
    given_rows["prediction"] = [(5.0, 5.9)] * 20 + [(5.0, 6.1)] * 20 + [(5.0, 3.9)] * 20
    test = fresh(Metric.MAE)
    test.take(joined(given_rows[:50], given_rows))
    assert test.coverage == (1.0, 0.5)


def test_a_reward_is_not_judged_in_shadow():
    test = fresh(Metric.REWARD)
    given_rows = rows(Metric.REWARD, 3, 500, Mode.CANARY, 1)
    pairs = given_rows.copy()
    pairs["mode"], pairs["sides"], pairs["version"] = Mode.SHADOW, 2, (1, 2)
    test.take(joined(pairs, pairs))
    assert (test.counts, test.coverage) == ([0, 0], None)
    assert test.log_e == pytest.approx(0.0)
    found = assess.labelled(Policy(), RAILS[Metric.REWARD], test, Moment(9.0, Mode.SHADOW, 0.0, 0.0))
    assert found.missing == ["a canary: in shadow the challenger's answers are not acted upon, and have no reward"]
    test.take(joined(given_rows))
    found = assess.labelled(Policy(), RAILS[Metric.REWARD], test, Moment(9.0, Mode.CANARY, 0.0, 0.0))
    assert "more labelled requests of 100" not in found.missing[0]
    assert found.harmful


@pytest.mark.parametrize(
    ("metric", "offline", "tolerance", "kept"),
    [
        (Metric.RECALL, 0.75, 0.2, True),
        (Metric.RECALL, 0.95, 0.1, False),
        (Metric.F1, 0.8, 0.2, True),
        (Metric.F1, 0.95, 0.1, False),
        (Metric.BRIER, 0.2, 0.2, True),
        (Metric.BRIER, 0.1, 0.1, False),
        (Metric.BRIER, 0.5, 0.6, True),
        (Metric.ACCURACY, 0.05, 0.1, True),
    ],
)
def test_an_offline_promise_is_confirmed_or_not(metric, offline, tolerance, kept):
    rail = Guardrail(metric, 0.1, offline_tolerance=tolerance)
    test = fresh(metric, offline=offline, rail=rail)
    test.take(joined(rows(metric, 1, 3000, Mode.SHADOW, 4)))
    assert test.promise_kept is kept
    missing = assess.labelled(Policy(), rail, test, Moment(9e3, Mode.SHADOW, 0.0, 0.0)).missing
    assert any("offline promise" in each for each in missing) is not kept


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Metric.RECALL, "recall 0."),
        (Metric.F1, "F1 0."),
        (Metric.BRIER, "Brier score 0.5"),
        (Metric.MAE, "mean absolute error 6."),
        (Metric.RMSE, "root mean squared error 3."),
    ],
)
def test_sentences(metric, says):
    test = fresh(metric)
    test.take(joined(rows(metric, len(WORLDS[metric]) - 1, 3000, Mode.SHADOW, 1)))
    found = assess.labelled(Policy(), RAILS[metric], test, Moment(9e3, Mode.SHADOW, 0.0, 0.0))
    report = found.report(harmed=True, threshold=20.0, alpha=0.05)
    assert report.reason.startswith(says)
    assert "against the champion's" in report.reason
    units = {Metric.MAE: ", evidence", Metric.RMSE: " %, evidence"}
    assert units.get(metric, " points, evidence") in report.reason
