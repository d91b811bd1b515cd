"""A seeded sample of the judge's benchmark (bench/decisions.py): fails on a real loss, not on noise.

With 12 repetitions at a false-alarm rate of 5 % more than four false alarms come once in 5,000 tries.
"""

import sys
from pathlib import Path
from statistics import median

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
from decisions import judged
from judging.outcomes import Tally, most_delay
from judging.traces import SCENARIOS

NAMED = {each.name: each for each in SCENARIOS}
REPETITIONS = 12
MOST_FALSE = 4


def tried(name, repetitions=REPETITIONS):
    scenario, tally = NAMED[name], Tally()
    for repetition in range(repetitions):
        tally.add(scenario, judged(scenario, repetition, 12345))
    return scenario, tally


@pytest.mark.parametrize(
    "name",
    [
        "identical, shadow",
        "identical, canary 10 %",
        "own bursts of errors of 20 s, canary 10 %",
        "own bursts of slowness of 20 s, shadow",
        "shared outages of 60 s, canary 90 %",
        "heavy tails (Pareto 1.5), shadow",
        "cold challenger, slow for 30 s, shadow",
    ],
)
def test_a_challenger_that_is_no_worse_stays(name):
    _, tally = tried(name)
    assert tally.rolled_back <= MOST_FALSE


def test_an_identical_challenger_is_promoted_when_the_minimum_is_over():
    _, tally = tried("identical, shadow")
    assert tally.promoted >= REPETITIONS - MOST_FALSE
    assert median(tally.promotions) <= 1815.0


@pytest.mark.parametrize(
    "name",
    [
        "precision -10 points, shadow",
        "errors +20 points, canary 10 %",
        "latency x 2, shadow",
        "latency x 2 after 40 minutes, shadow",
        "dead, shadow",
        "dead, canary 10 %",
    ],
)
def test_a_clear_harm_is_found_in_time(name):
    scenario, tally = tried(name)
    assert tally.rolled_back >= REPETITIONS - 1
    assert median(tally.delays) <= 1.25 * most_delay(scenario)  # the promise, and what twelve repetitions may err


def test_a_dead_challenger_is_out_within_seconds():
    for name, most in (("dead, shadow", 20.0), ("dead, canary 10 %", 31.0)):
        _, tally = tried(name)
        assert median(tally.delays) <= most


@pytest.mark.parametrize(
    "name",
    [
        "offline 0.90, live 0.75, shadow",
        "labels only of the champion's positives, own ones at 0.25",
    ],
)
def test_nothing_is_promoted_on_biased_labels_or_on_a_promise_that_does_not_hold(name):
    _, tally = tried(name, 6)
    assert tally.promoted == 0


@pytest.mark.parametrize(
    "name", ["precision at its margin (-2 points), shadow", "latency at its margin (x 1.1), shadow"]
)
def test_at_a_margin_promotions_are_rare(name):
    _, tally = tried(name, 6)
    assert tally.promoted <= 3
