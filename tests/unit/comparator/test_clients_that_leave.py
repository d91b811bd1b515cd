"""A client that hangs up before its answer says at least how long it had waited."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator import replay
from comparator.answers import Answers
from comparator.buckets import Buckets
from comparator.events import LABEL, OBSERVATION, DecisionKind, Mode, Outcome, Role
from comparator.policy import Guardrail, Metric, Policy, Step, StepKind

P90 = Guardrail(Metric.LATENCY, margin=0.5, quantile=0.9)
POLICY = Policy(
    guardrails=(Guardrail(Metric.LATENCY, margin=0.1, quantile=0.99), Guardrail(Metric.ERROR_RATE, margin=0.005)),
    steps=(Step(StepKind.CANARY, 50, 1800.0), Step(StepKind.PROMOTE)),
)
SECONDS = 2400.0
PATIENCE = 1.0


def canary(hanging, seed, impatient=0.0):
    """50 % each at 10 requests/s, 0.1 s as a rule; a share of the challenger's hang, and clients wait for 1 s."""
    rng = np.random.default_rng(seed)
    n = int(SECONDS * 10)
    rows = np.zeros(n, dtype=OBSERVATION)
    rows["version"] = np.where(rng.random(n) < 0.5, 2, 1)
    mine = rows["version"] == 2
    takes = np.where(mine & (rng.random(n) < hanging), 3600.0, rng.lognormal(np.log(0.1), 0.5, n))
    patience = np.where(rng.random(n) < impatient, rng.exponential(0.2, n), PATIENCE)
    rows["latency"] = np.minimum(takes, patience)
    rows["outcome"] = np.where(takes > patience, Outcome.CANCELLED, Outcome.OK)
    rows["at"] = np.sort(1e9 + SECONDS * rng.random(n)) + rows["latency"]
    rows["role"] = np.where(mine, Role.CHALLENGER, Role.CHAMPION)
    rows["mode"], rows["prediction"], rows["score"] = Mode.CANARY, np.nan, np.nan
    rows["request_lo"] = rng.permutation(n)
    return rows[np.argsort(rows["at"], kind="stable")]


def decisions(rows):
    return replay(POLICY, rows, np.zeros(0, dtype=LABEL), champion=1, challenger=2)


@pytest.mark.parametrize("hanging", [0.05, 0.2])
def test_clients_that_leave_do_not_hide_a_challenger_that_hangs(hanging):
    (found,) = [each for each in decisions(canary(hanging, 7)) if each.kind is DecisionKind.ROLL_BACK]
    assert "p99 latency" in found.reason


def test_impatient_clients_of_equal_versions_are_no_harm():
    for seed in range(4):
        kinds = [each.kind for each in decisions(canary(0.0, seed, impatient=0.3))]
        assert DecisionKind.ROLL_BACK not in kinds


def answers(latency, outcome, trial, at):
    rows = np.zeros(len(latency), dtype=OBSERVATION)
    rows["at"], rows["version"], rows["latency"], rows["outcome"] = at, np.where(trial, 2, 1), latency, outcome
    return Answers.of(rows, with_left=True), np.array(trial, dtype=bool)


def test_only_who_waited_longer_than_the_threshold_counts_and_of_the_trial_by_any_margin():
    policy = Policy(guardrails=(P90,), bucket_seconds=10.0, bucket_min_answers=1, tau_window_seconds=100.0)
    buckets = Buckets(policy, [P90])
    buckets.add(*answers(np.full(40, 0.1), [Outcome.OK] * 40, [0] * 40, np.linspace(0, 9, 40)))
    buckets.add(*answers([0.1], [Outcome.OK], [1], [9.5]))
    gone = Outcome.CANCELLED
    #                    left late, of either   left early  came   slow, in time
    latency = [0.11, 0.11, 0.05, 0.05, 0.09, 0.09, 0.12]
    outcome = [gone, gone, gone, gone, Outcome.OK, Outcome.OK, Outcome.OK]
    buckets.add(*answers(latency, outcome, [0, 1, 0, 1, 0, 1, 1], np.full(7, 15.0)))
    (bucket,) = buckets.add(*answers([0.1, 0.1], [Outcome.OK] * 2, [0, 1], [25.0, 25.0]))
    (slow,) = bucket.slow
    assert bucket.count == [1, 2]  # who left is no answer
    assert slow.count == [2, 3]  # of the champion: left late, came; of the trial one more
    assert slow.slow == [1, 2]
    assert (slow.trial_half, slow.trial_margin, slow.trial_wider) == (1, 1, 1)  # 0.12 is slower by 20 % only
    assert slow.reference_tau == 1


@given(st.lists(st.integers(0, 80), max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_buckets_with_clients_that_left_do_not_depend_on_batches(cuts, seed):
    rng = np.random.default_rng(seed)
    at = 1000 + np.cumsum(rng.exponential(1.0, 80))
    latency, outcome = rng.lognormal(0, 1, 80), rng.choice([Outcome.OK, Outcome.CANCELLED], 80)
    trial = rng.random(80) < 0.4
    rows, mine = answers(latency, outcome, trial, at)
    policy = Policy(guardrails=(P90,), bucket_seconds=10.0, bucket_min_answers=2, tau_window_seconds=100.0)
    whole = Buckets(policy, [P90]).add(rows, mine)
    parts, edges = Buckets(policy, [P90]), [0, *sorted(cuts), 80]
    pieces = [np.arange(80)[low:high] for low, high in pairwise(edges)]
    chosen = [(np.isin(np.arange(80), piece), piece) for piece in pieces]
    cut = [bucket for mask, piece in chosen for bucket in parts.add(rows.where(mask), mine[piece])]
    assert cut == whole
