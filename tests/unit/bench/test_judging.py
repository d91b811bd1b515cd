"""The pieces of the judge's benchmark: bounds, traces that hold their truth, peers that see an obvious harm."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
from judging import oracle
from judging.minutes import even, minutes_of, nominal_p99, usual
from judging.outcomes import Tally, clopper_pearson, failures
from judging.peers import PEERS
from judging.traces import PRECISION, SCENARIOS, Incidents, Scenario, Side, make

NAMED = {each.name: each for each in SCENARIOS}
QUIET = Scenario("quiet", seconds=2400.0)


@pytest.mark.parametrize(
    ("successes", "count", "lower", "upper"),
    [(0, 10, 0.0, 0.3085), (5, 100, 0.0164, 0.1128), (100, 2000, 0.0409, 0.0605), (10, 10, 0.6915, 1.0)],
)
def test_clopper_pearson_as_in_the_tables(successes, count, lower, upper):
    assert clopper_pearson(successes, count) == pytest.approx((lower, upper), abs=1e-4)


def test_names_and_seeds_are_unique():
    assert len(NAMED) == len(SCENARIOS)
    assert len({each.salt for each in SCENARIOS}) == len(SCENARIOS)


def test_a_trial_can_be_made_again():
    one, again, other = make(QUIET, 3), make(QUIET, 3), make(QUIET, 4)
    assert one.observations.tobytes() == again.observations.tobytes()
    assert one.labels.tobytes() == again.labels.tobytes()
    assert one.observations.tobytes() != other.observations.tobytes()


def precision(trace, side):
    positive = trace.positive[side]
    return trace.truth[positive].mean(), int(positive.sum())


@pytest.mark.parametrize("loss", [-0.04, 0.0, 0.05, 0.1])
def test_traces_have_the_precision_and_the_share_that_they_state(loss):
    trace = make(replace(QUIET, precision_loss=loss, rate=50.0), 1)
    for side, expected in ((0, PRECISION), (1, PRECISION - loss)):
        value, count = precision(trace, side)
        assert value == pytest.approx(expected, abs=4 * np.sqrt(0.25 / count))
        assert count == pytest.approx(0.24 * trace.asked.size, rel=0.05)


def test_the_same_model_says_the_same():
    trace = make(replace(QUIET, same_model=True, champion=Side(errors=0.0), challenger=Side(errors=0.0)), 1)
    assert np.array_equal(trace.positive[0], trace.positive[1])


def test_traces_have_the_errors_and_the_latency_that_they_state():
    trace = make(replace(QUIET, rate=50.0, challenger=Side(errors=0.05, slower=2.0), onset=1200.0), 1)
    late = trace.asked >= 1200.0
    assert trace.failed[1][late].mean() == pytest.approx(0.05, abs=0.004)
    assert trace.failed[1][~late].mean() == pytest.approx(0.001, abs=0.001)
    assert np.median(trace.latency[1][late]) / np.median(trace.latency[0][late]) == pytest.approx(2.0, rel=0.03)
    assert np.quantile(trace.latency[0], 0.99) == pytest.approx(nominal_p99(QUIET), rel=0.03)


def test_incidents_are_as_frequent_on_both_sides():
    bad = Side(errors=0.0, incidents=Incidents(300.0, 20.0, errors=1.0))
    both = replace(QUIET, rate=2.0, champion=bad, challenger=bad)
    failed = np.mean([make(both, each).failed.mean(axis=1) for each in range(40)], 0)
    assert failed == pytest.approx([20 / 320] * 2, abs=0.012)


def test_a_canary_has_its_share_and_each_request_one_answer():
    trace = make(replace(QUIET, percent=10, rate=50.0), 1)
    asked = ~np.isnan(trace.at)
    assert (asked.sum(axis=0) == 1).all()
    assert asked[1].mean() == pytest.approx(0.1, abs=0.01)
    thinned = ~np.isnan(even(replace(QUIET, percent=10), trace).at)
    assert thinned[0].sum() == pytest.approx(thinned[1].sum(), rel=0.05)


def test_labels_only_of_the_champions_positives():
    trace = make(replace(QUIET, labels_of_champion=True), 1)
    assert (trace.positive[0][np.isfinite(trace.label_at)]).all()


traced = cache(make)  # the peers look at the same traces


def decided(name, scenario):
    trace = traced(scenario, 0)
    if name == "Kayenta":
        trace = even(scenario, trace)
    return PEERS[name][0](minutes_of(scenario, trace), usual(scenario))


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_sees_what_is_obvious_and_nothing_where_there_is_nothing(name):
    harms = {
        "error_rate": replace(QUIET, challenger=Side(errors=0.5)),
        "p99_latency": replace(QUIET, challenger=Side(slower=4.0)),
        "precision": replace(QUIET, precision_loss=0.15),
    }
    for shown_by, scenario in harms.items():
        assert (decided(name, scenario) is not None) == (shown_by in PEERS[name][1]), shown_by
    assert decided(name, replace(QUIET, same_model=True)) is None


def test_the_oracle_by_hand():
    scenario = Scenario("x", truth="harm", challenger=Side(errors=0.051), shown_by="error_rate")
    by_hand = (1.645 + 0.842) ** 2 * (0.001 * 0.999 + 0.051 * 0.949) / 0.05**2
    assert oracle.requests(scenario) == pytest.approx(by_hand)
    assert oracle.seconds(scenario) == pytest.approx(by_hand / 10)
    assert oracle.requests(replace(scenario, percent=10)) > 5 * by_hand
    assert oracle.requests(QUIET) is None


def test_what_counts_as_broken():
    harmless, harm = QUIET, NAMED["errors +20 points, shadow"]
    fine, bad = Tally(trials=400, rolled_back=20), Tally(trials=400, rolled_back=40)
    assert failures(harmless, fine) == []
    assert "more than 5%" in failures(harmless, bad)[0]
    assert failures(harm, Tally(trials=100, rolled_back=99, delays=[150.0] * 99)) == []
    assert "missed" in failures(harm, Tally(trials=100, rolled_back=80, delays=[150.0] * 80))[0]
    assert "median delay" in failures(harm, Tally(trials=100, rolled_back=100, delays=[250.0] * 100))[0]
    early = Tally()
    early.add(NAMED["latency x 2 after 40 minutes, shadow"], ("roll_back", 600.0))
    assert (early.rolled_back, early.early) == (0, 1)
