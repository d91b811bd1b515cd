import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.events import Mode, Role
from comparator.pairing import JOINED, SCORED, Joined
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import RatioTest
from comparator.sequence import START_WEIGHT

POLICY = Policy(restart_seconds=500.0, block_requests=8)
RAIL = Guardrail(Metric.PRECISION, margin=0.05, offline_tolerance=0.1)
NOTHING = np.zeros(0, dtype=JOINED)


def fresh(rail=RAIL, offline=0.8):
    test = RatioTest(POLICY, rail, (2, 1), offline)
    test.begin(0.0)
    return test


def pairs(reference, trial, true, mode=Mode.SHADOW):
    rows = np.zeros(len(true), dtype=JOINED)
    rows["at"], rows["mode"], rows["sides"], rows["label"] = np.arange(len(true)), mode, 2, true
    rows["version"], rows["role"] = (1, 2), (Role.CHAMPION, Role.CHALLENGER)
    rows["prediction"] = np.column_stack([reference, trial])
    return rows


def singles(version, positive, true):
    rows = np.zeros(len(true), dtype=JOINED)
    rows["at"], rows["mode"], rows["sides"], rows["label"] = np.arange(len(true)), Mode.CANARY, 1, true
    rows["version"][:, 0] = version
    rows["prediction"][:, 0], rows["prediction"][:, 1] = positive, np.nan
    return rows


def take(test, completed, paired=NOTHING):
    test.take(Joined(completed, paired, np.zeros(0, dtype=SCORED)))


def random_rows(seed, n, mode, ours=0.7, theirs=0.7):
    """Rows of a world where either version's positives are true with a probability of its own."""
    rng = np.random.default_rng(seed)
    true = rng.random(n) < 0.3
    reference, trial = (
        rng.random(n) < np.where(true, 0.3 * precision / 0.3, 0.3 * (1 - precision) / 0.7)
        for precision in (theirs, ours)
    )
    if mode is Mode.CANARY:
        mine = rng.random(n) < 0.3
        return singles(np.where(mine, 2, 1), np.where(mine, trial, reference), true)
    return pairs(reference, trial, true, mode)


def test_models_that_agree_are_no_evidence():
    test = fresh()
    same = np.random.default_rng(1).random(200) < 0.5
    take(test, pairs(same, same, np.random.default_rng(2).random(200) < 0.3))
    assert test.log_e == pytest.approx(0.0)
    assert test.harm == pytest.approx(0.0)


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CANARY])
def test_a_worse_precision_is_found_and_measured(mode):
    test = fresh()
    take(test, random_rows(3, 1500, mode, ours=0.4))
    assert test.log_e > math.log(60)
    assert test.harm == pytest.approx(0.3, abs=0.12)
    assert not test.no_harm.reached
    assert not test.kept.reached


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CANARY])
def test_a_better_precision_is_proven_no_worse_and_stands(mode):
    test = fresh(offline=0.85)
    take(test, random_rows(4, 2500, mode, ours=0.9, theirs=0.5))
    assert test.no_harm.reached
    assert test.kept.reached
    assert test.log_e < math.log(2)


def test_an_offline_promise_that_is_not_kept_is_not_confirmed():
    test = fresh(offline=1.0)
    take(test, random_rows(5, 4000, Mode.SHADOW, ours=0.7, theirs=0.6))
    assert test.no_harm.reached
    assert not test.kept.reached


def test_counts_are_of_labelled_positives():
    test = fresh()
    take(test, pairs([1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]))
    assert test.counts == [2, 2]
    assert [test.estimate(side, 0.05).value for side in (0, 1)] == [0.5, 0.5]
    take(test, singles([1, 2, 3], [1, 1, 1], [1, 1, 1]))
    assert test.counts == [3, 3]


def test_a_missing_prediction_is_no_positive():
    test = fresh()
    take(test, pairs([np.nan, 1.0], [1.0, np.nan], [1, 1]))
    assert test.counts == [1, 1]


def test_a_canary_block_is_the_shortest_run_with_both():
    test = fresh()
    take(test, singles([1, 1, 2], [1, 1, 1], [1, 0, 0]))
    w = 0.5  # (1 + 0) / 2 - 0
    expected = 1 - START_WEIGHT + START_WEIGHT * np.mean(1 + np.array([0.05, 0.1, 0.2, 0.4, 0.8]) * w)
    assert math.exp(test.log_e) == pytest.approx(float(expected))
    take(test, singles([2, 2, 1], [1, 0, 1], [1, 1, 1]))  # what is no positive is in no block
    assert test.harm == pytest.approx(2 / 3 - 1 / 2)


def test_a_shadow_block_bets_on_w():
    test = fresh()
    reference, trial, true = [1, 1, 1, 1, 0, 0, 0, 1], [0, 1, 0, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0, 1, 1]
    take(test, pairs(reference, trial, true))
    w = (4 * 5 - 2 * 5) / 64
    expected = 1 - START_WEIGHT + START_WEIGHT * np.mean(1 + np.array([0.25, 0.5, 1.0, 2.0, 3.9]) * w)
    assert math.exp(test.log_e) == pytest.approx(float(expected))
    allowed = 0.05 * (5 * 5 - 2) / 64
    expected = np.mean(1 + np.array([0.25, 0.5, 1.0, 2.0, 3.9]) * (allowed - w))
    assert math.exp(test.no_harm.log_e) == pytest.approx(float(expected))


def test_labels_that_exist_only_where_the_champion_acted_are_seen():
    test = fresh()
    reference, trial = [1] * 20 + [0] * 20, [0] * 20 + [1] * 20
    rows = pairs(reference, trial, [1] * 40)
    take(test, rows[:20], paired=rows)
    assert test.coverage == (1.0, 0.0)


def test_with_few_that_only_the_challenger_found_coverage_is_not_judged():
    test = fresh()
    rows = pairs([1] * 20, [0] * 20, [1] * 20)
    take(test, rows, paired=rows)
    assert test.coverage is None


@given(st.lists(st.integers(0, 120), max_size=6), st.integers(0, 1000))
@settings(max_examples=40)
def test_evidence_does_not_depend_on_batches(cuts, seed):
    rows = np.concatenate([random_rows(seed, 60, Mode.SHADOW), random_rows(seed + 1, 60, Mode.CANARY)])
    rows = rows[np.random.default_rng(seed).permutation(120)]
    whole, cut_up = fresh(), fresh()
    take(whole, rows)
    edges = [0, *sorted(cuts), 120]
    for low, high in pairwise(edges):
        take(cut_up, rows[low:high])
    assert whole.log_e == cut_up.log_e
    assert whole.harm == cut_up.harm
    assert whole.no_harm.log_e == cut_up.no_harm.log_e
    assert whole.no_harm.reached == cut_up.no_harm.reached
    assert whole.kept.log_e == cut_up.kept.log_e
