import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator import assess
from comparator.assess import Counts, Moment
from comparator.difference import LONGEST, DifferenceTest, Incident, Runs, log_hypergeometric
from comparator.events import Mode
from comparator.policy import Guardrail, Metric, Policy
from comparator.sequence import START_WEIGHT


def test_thinning_is_the_hypergeometric_distribution():
    k, logs = log_hypergeometric(bad=4, count=10, drawn=5)
    expected = [math.comb(4, i) * math.comb(6, 5 - i) / math.comb(10, 5) for i in k.tolist()]
    assert np.exp(logs) == pytest.approx(expected)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_thinning_sums_to_one(bad, good, drawn):
    count = max(bad + good, 1)
    k, logs = log_hypergeometric(min(bad, count), count, min(drawn, count))
    assert np.sum(np.exp(logs)) == pytest.approx(1.0)
    assert np.sum(np.exp(logs) * k) == pytest.approx(min(drawn, count) * min(bad, count) / count, abs=1e-6)


def test_thinning_of_many_leaves_out_only_what_never_happens():
    k, logs = log_hypergeometric(bad=200_000, count=1_000_000, drawn=500_000)
    assert k.size < 20_000
    assert np.sum(np.exp(logs) * k) == pytest.approx(100_000, rel=1e-6)


def take(test, reference, trial, count=(10, 10), at=0.0):
    test.take(at, bad=(reference, trial), count=count, excess_bad=trial, margin_bad=(reference, trial))


@pytest.mark.parametrize("count", [(10, 10), (18, 2), (2, 18), (5, 15)])
@pytest.mark.parametrize("before", [[], [(3, 0)] * 3, [(0, 9), (0, 0)]])
def test_exchangeable_answers_have_mean_one_whatever_the_share(count, before):
    """The exact mean over all ways to give 7 bad answers to the two sides, after a past of any kind."""
    bad, total = 7, sum(count)
    mean = 0.0
    for mine in range(max(0, bad - count[0]), min(bad, count[1]) + 1):
        chance = math.comb(count[1], mine) * math.comb(count[0], bad - mine) / math.comb(total, bad)
        test = DifferenceTest(1e9)
        for reference, trial in before:
            take(test, reference, trial)
        start = test.log_e
        take(test, bad - mine, mine, count)
        # some weight is on restarts to come: 1 + (E - 1) scales, so compare the part that moves
        moved, held = math.exp(test.log_e) - (1 - START_WEIGHT), math.exp(start) - (1 - START_WEIGHT)
        mean += chance * moved / held
    assert mean <= 1 + 1e-9
    if not before:
        assert mean == pytest.approx(1.0)


def test_one_bucket_at_most_doubles_the_evidence():
    test = DifferenceTest(1e9)
    take(test, 0, 1000, (1000, 1000))
    assert math.exp(test.log_e) <= 2


def test_an_incident_counts_once():
    test = DifferenceTest(1e9, incident_buckets=4)
    for _ in range(40):
        take(test, 0, 0)
    take(test, 0, 10)
    once = test.log_e
    for trial in (9, 2, 1):  # it fades, and is over within what is expected of an incident
        take(test, 0, trial)
        assert test.log_e == pytest.approx(once)
    take(test, 0, 10)
    assert test.log_e > once  # too long for an incident


def forgiven(differences, buckets=4):
    """Which buckets are left out, in a system where differences of 1 are usual."""
    incident, found = Incident(buckets), []
    for _ in range(30):
        incident.take(1.0)
    for d in differences:
        found.append(incident.forgives)
        incident.take(d)
    return found


def test_an_incident_ends_with_its_sign():
    assert forgiven([5, 5, 0, 5, 5]) == [False, True, True, False, True]
    assert forgiven([5, -5, -5, 5]) == [False, True, True, True]  # the next one begins where this one ends
    assert forgiven([1, 2, 3, 1]) == [False] * 4  # nothing notable: no incident
    assert forgiven([5, 1, 1, 1, 1, 1]) == [False, True, True, True, False, False]


def test_the_longest_that_ended_tells_what_to_expect():
    long = [-5.0] * 6
    assert forgiven([*long, 0, 5, *[5] * 13])[8:] == [True] * 11 + [False, False]
    quiet = [0.0] * 21
    assert sum(forgiven([*[5] * 100, *quiet, *[5] * 100])[121:]) == LONGEST - 1


@given(st.lists(st.integers(-9, 9), max_size=40))
def test_whether_a_bucket_counts_is_known_before_it(differences):
    for last in (-9, 0, 9):
        assert forgiven([*differences, last])[-1] == forgiven([*differences, 1])[-1]


@pytest.mark.parametrize("length", [2, 3, 4])
def test_exchangeable_incidents_have_mean_one(length):
    """Whole incidents, each on either side with the same chance: the mean over all ways is at most 1."""
    incidents = 6
    total = 0.0
    for ways in range(2**incidents):
        test = DifferenceTest(1e9, incident_buckets=4)
        for index in range(incidents):
            mine = ways >> index & 1
            for bad in (20, 30, 12, 25)[:length]:
                take(test, bad * (1 - mine), bad * mine, (100, 100))
            for _ in range(8):
                take(test, 0, 0, (100, 100))
        total += math.exp(test.log_e)
    assert total / 2**incidents <= 1 + 1e-9


def test_lasting_harm_is_found_and_measured():
    test = DifferenceTest(600.0)
    buckets = 0
    while test.log_e < math.log(60):
        take(test, 0, 4, at=buckets * 10.0)
        buckets += 1
    assert buckets < 15
    assert test.harm == pytest.approx(0.4)


def test_harm_is_measured_since_it_began():
    test = DifferenceTest(100.0)
    test.begin(0.0)
    for index in range(100):
        take(test, 0, 5 if index >= 80 else 0, at=index * 10.0)
    assert test.log_e > math.log(60)
    assert test.harm == pytest.approx(0.5)


def test_runs_of_bad_buckets_of_the_reference_make_its_discount_and_those_of_the_trial_do_not():
    ill = [5] * 8 + [0] * 8
    champion_ill, challenger_ill = DifferenceTest(600.0), DifferenceTest(600.0)
    for test in (champion_ill, challenger_ill):
        test.begin(0.0)
    for index, bad in enumerate(ill * 4):
        take(champion_ill, bad, 0, at=index * 10.0)
        take(challenger_ill, 0, bad, at=index * 10.0)
    assert champion_ill._burst.factor > 2.5
    assert challenger_ill._burst.factor == 1.0
    assert Runs().factor == 1.0


def test_alternating_buckets_are_no_burst():
    runs = Runs()
    for index in range(100):
        runs.take(-5.0 * (index % 2))
    assert runs.factor == 1.0


def test_runs_are_the_autocorrelation_written_out():
    rng = np.random.default_rng(8)
    d = np.convolve(rng.normal(size=200), np.ones(4), mode="valid")
    runs = Runs()
    for each in d:
        runs.take(float(each))
    x = d - d.mean()
    total = 0.0
    for lag in range(1, 13):
        rho = float(np.sum(x[lag:] * x[:-lag]) / np.sum(x * x))
        if rho < 1.64 / math.sqrt(x.size):
            break
        total += rho
    assert total > 0
    assert runs.factor == pytest.approx(1 + 2 * total)


def test_the_variance_of_a_sum_of_runs_is_the_spread_times_the_factor():
    rng = np.random.default_rng(5)
    found, sums = [], []
    for _ in range(150):
        values = np.convolve(rng.normal(size=203), np.ones(4), mode="valid")
        runs = Runs()
        for each in values.tolist():
            runs.take(each)
        found.append((runs.spread, runs.spread * runs.factor))
        sums.append(runs.total)
    plain, whole = np.mean(found, axis=0) / np.var(sums)
    assert plain < 0.4
    assert 0.7 < whole < 1.3


def test_failures_in_bursts_are_few_pieces_of_evidence_of_no_harm():
    """6 bursts of 30 failures among 18,000 answers: 1 % +- 0.4 points. As independent ones they would prove 1.8 %."""
    rail = Guardrail(Metric.ERROR_RATE, 0.018)
    test = DifferenceTest(1e9, allowed=rail.margin)
    for index in range(180):
        take(test, 0, 10 if index % 30 < 3 else 0, (100, 100), at=index * 10.0)
    found = assess.errors(
        Policy(), rail, test, (Counts(18_000, 0), Counts(18_000, 180)), Moment(1800, Mode.SHADOW, 0, 0)
    )
    assert 25 < test.dispersion < 35
    assert any("proof" in each for each in found.missing)
    scattered = DifferenceTest(1e9, allowed=rail.margin)
    for index in range(180):
        take(scattered, 0, 1, (100, 100), at=index * 10.0)
    assert scattered.dispersion == 1.0
    assert scattered.no_harm


def test_no_harm_needs_answers_and_allows_a_margin():
    test, strict = DifferenceTest(1e9, allowed=0.05), DifferenceTest(1e9, allowed=0.005)
    assert test.slack() > 0
    for _ in range(40):
        take(test, 0, 0)
        take(strict, 0, 0)
    assert test.no_harm
    assert test.slack() < 0
    assert not strict.no_harm
    assert strict.slack() > 0
    assert strict.slack(times=10.0) < 0
    assert strict.least_allowed == pytest.approx(test.least_allowed)
    assert 0.005 < strict.least_allowed < 0.05
    test.enter()
    assert not test.no_harm
    assert test.slack() > 0


def test_what_was_shown_stands_and_the_present_estimate_is_told():
    test = DifferenceTest(1e9, allowed=0.05)
    for _ in range(40):
        take(test, 0, 0)
    for _ in range(40):
        take(test, 0, 2)
    assert test.no_harm  # at the 40th bucket: the boundary holds at all times together
    assert test.slack() > 0
    assert not test.agrees


def test_bad_times_that_come_after_the_proof_hold_it_near_the_margin():
    rail = Guardrail(Metric.ERROR_RATE, 0.05)
    now = Moment(1000.0, Mode.SHADOW, 0.0, 0.0)
    for trial, held in ((0, False), (1, False), (2, True)):  # excess: 0, 2 and 4 points of the 5 that are allowed
        test = DifferenceTest(1e9, allowed=0.05)
        for index in range(80):
            take(test, 0, trial if index >= 40 else 0, (25, 25))
        counts = Counts(2000, 0), Counts(2000, 40 * trial + 60)  # so many that they are no proof by themselves
        found = assess.errors(Policy(), rail, test, counts, now)
        assert test.no_harm
        assert any("have turned" in each for each in found.missing) == held


def test_a_few_buckets_show_nothing():
    test = DifferenceTest(1e9, allowed=0.05, min_buckets=30)
    for _ in range(29):
        take(test, 0, 0, (100, 100))
    assert test.slack() < 0
    assert not test.no_harm
    take(test, 0, 0, (100, 100))
    assert test.no_harm


def test_a_champions_incident_is_no_proof_for_the_challenger():
    test = DifferenceTest(1e9, allowed=0.01)
    for index in range(40):
        take(test, 10 if index == 20 else 0, 1 if index % 2 else 0)  # 5 % errors against one bad bucket
    assert test.slack() > 0
    assert not test.no_harm


def test_a_bucket_with_one_side_empty_says_nothing():
    test = DifferenceTest(1e9)
    take(test, 5, 0, (10, 0))
    assert (test.log_e, test.harm, test.buckets) == (pytest.approx(0.0), None, 0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=40))
@settings(max_examples=40)
def test_the_numbers_stay_finite(buckets):
    test = DifferenceTest(20.0)
    test.begin(0.0)
    for index, (reference, trial) in enumerate(buckets):
        take(test, reference, trial, (300, 300), at=index * 10.0)
        assert math.isfinite(test.log_e)
        assert test._burst.factor >= 1
        assert math.isfinite(test.slack())


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=40), st.sampled_from([0.001, 0.02, 0.3]))
def test_how_long_a_proof_takes_is_found_as_by_trying_one_time_after_another(buckets, margin):
    test = DifferenceTest(1e9, allowed=margin)
    for index, bad in enumerate(buckets):
        take(test, *bad, (60, 60), at=index * 10.0)
    times = 1.0
    while times < 1e5 and test.slack(times) >= 0:
        times *= 1.1
    found = assess._until(test.slack, 100.0)
    assert found == (pytest.approx((times - 1) * 100.0) if times < 1e5 else None)
    assert assess._until(test.slack, 0.0) is None
