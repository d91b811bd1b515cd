"""About how long passes take: against known figures, a simulation, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.planning import answers_for_errors, pairs_for_latency, plan, rows_for_labels
from comparator.policy import Guardrail, Metric, Policy, Step, StepKind
from comparator.sequence import mixture_radius

USUAL = Policy()
PRECISION, LATENCY, ERRORS = USUAL.guardrails


@pytest.mark.parametrize(("sigma", "low", "high"), [(0.5, 5_000, 12_000), (1.0, 20_000, 45_000)])
def test_a_margin_of_a_tenth_on_p99(sigma, low, high):
    pairs = pairs_for_latency(USUAL, LATENCY, sigma)
    assert low < pairs < high
    chance = np.random.default_rng(3)
    champion, challenger = np.exp(sigma * chance.standard_normal((2, 60, int(2 * pairs))))
    tau = math.exp(sigma * 2.3263)
    differences = (challenger > tau * 1.1).astype(float) - (champion > tau)

    def shown(count):
        each = differences[:, : int(count)]
        radii = [mixture_radius(square + 1, USUAL.alpha) for square in (each * each).sum(axis=1)]
        return float(np.mean(each.sum(axis=1) + radii < 0))

    assert shown(pairs / 3) < 0.2
    assert shown(pairs * 2) > 0.8


def test_labels_and_errors():
    assert 550 < rows_for_labels(USUAL, PRECISION, 0.25, 0.05) < 850  # the offline promise
    assert 1_000 < answers_for_errors(USUAL, ERRORS) < 5_000
    assert rows_for_labels(USUAL, PRECISION, 0.25, 0.5) == USUAL.min_labelled_positives
    hopeless = Guardrail(Metric.ERROR_RATE, 0.000_000_1)
    assert answers_for_errors(USUAL, hopeless) > 1e9


def test_the_default_policy_at_a_rate():
    shadow, small, large = plan(USUAL, rate=100)
    assert [each.longest.what for each in (shadow, small, large)] == ["its minimum"] * 3
    shadow, small, large = plan(USUAL, rate=1)
    assert shadow.low == 24 * 3600
    assert small.longest.what == "p99_latency"
    assert {need.what for need in large.needs} == {"its minimum", "1,000 answers"}  # the rest was shown in the mode
    assert small.low < small.high


def test_a_bucket_waits_for_answers_of_both():
    (canary,) = plan(Policy(steps=(Step(StepKind.CANARY, 1),)), rate=1.0)
    buckets = next(need for need in canary.needs if need.what.endswith("buckets"))
    assert buckets.low == pytest.approx(30 * 10 / 0.01)


def test_what_only_a_canary_shows_never_passes_in_shadow():
    reward = Guardrail(Metric.REWARD, 0.1, range=(0.0, 1.0))
    steps = (Step(StepKind.SHADOW), Step(StepKind.CANARY, 10), Step(StepKind.CANARY, 50))
    shadow, first, second = plan(Policy(steps=steps, guardrails=(reward,)), rate=10)
    assert math.isinf(shadow.high)
    assert "only a canary" in shadow.longest.what
    assert any(need.what.startswith("reward") for need in first.needs)
    assert not any(need.what.startswith("reward") for need in second.needs)


@given(rate=st.floats(0.01, 1e5), more=st.floats(1.01, 100), labelled=st.floats(0.001, 1))
def test_more_traffic_never_takes_longer(rate, more, labelled):
    slow, fast = plan(USUAL, rate, labelled), plan(USUAL, rate * more, labelled)
    assert len(slow) == len(fast) == 3
    for before, after in zip(slow, fast, strict=True):
        assert after.low <= before.low
        assert after.high <= before.high
        assert before.step.min_seconds <= before.low <= before.high


@given(margin=st.floats(0.001, 0.5), wider=st.floats(1.1, 10))
def test_a_wider_margin_never_takes_longer(margin, wider):
    narrow, wide = (Guardrail(Metric.LATENCY, each, quantile=0.99) for each in (margin, margin * wider))
    assert pairs_for_latency(USUAL, wide, 0.5) <= pairs_for_latency(USUAL, narrow, 0.5) * 1.02
