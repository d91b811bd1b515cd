"""Defects that a review of the judge found; each test failed before its mend."""

import numpy as np

from comparator import assess
from comparator.answers import Answers
from comparator.assess import Counts, Moment
from comparator.buckets import Buckets
from comparator.difference import DifferenceTest
from comparator.events import OBSERVATION, Mode
from comparator.pairing import JOINED, SCORED, Joined
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import RatioTest

P99 = Guardrail(Metric.LATENCY, margin=0.1, quantile=0.99)
ERRORS = Guardrail(Metric.ERROR_RATE, margin=0.005)
POLICY = Policy(guardrails=(P99, ERRORS))
WATCH = Moment(at=100_000.0, mode=Mode.WATCH, mode_began_at=0.0, rollout_began_at=0.0)


def begun():
    test = DifferenceTest(600.0)
    test.begin(0.0)
    return test


def test_the_past_does_not_grow_while_a_bucket_stays_open():
    buckets = Buckets(POLICY, [P99])
    row = np.zeros(1, dtype=OBSERVATION)
    row["version"], row["latency"] = 1, 0.1
    for day_second in range(0, 86_400, 30):  # nobody asks for a span: the trial version does not answer
        row["at"] = day_second
        assert buckets.add(Answers.of(row), np.array([False])) == []
    past = buckets._past
    assert len(past._late) + len(past._within) <= 25
    assert past.before(86_400.0).count == 20  # and what a span needs is there


def test_a_late_harm_on_latency_is_not_told_with_the_sign_of_the_whole_mode():
    test = begun()
    for bucket in range(300):
        late = 40 if bucket >= 250 else 0
        test.take(bucket * 10.0, bad=(5, 5 + late), count=(500, 500), excess_bad=5 + late, margin_bad=(5, 5 + late))
    champion, challenger = Counts(answers=1000), Counts(answers=1000)
    champion.latency.add(np.full(1000, 0.2))
    challenger.latency.add(np.full(1000, 0.15))  # over the whole mode it is faster
    found = assess.latency(POLICY, P99, test, (champion, challenger), WATCH)
    assert found.harmful
    reason = found.report(harmed=True, threshold=40.0, alpha=0.05).reason
    assert "worse by -" not in reason
    assert "worse by 5 % or more since the harm began" in reason


def test_evidence_in_a_sentence_has_a_bounded_length():
    test = begun()
    for bucket in range(2000):
        test.take(bucket * 10.0, bad=(0, 50), count=(100, 100), excess_bad=50, margin_bad=(0, 50))
    found = assess.errors(POLICY, ERRORS, test, (Counts(200_000, 0), Counts(200_000, 100_000)), WATCH)
    reason = found.report(harmed=True, threshold=40.0, alpha=0.05).reason
    assert "evidence over 1,000,000,000 (alone it needs 40)" in reason
    assert len(reason) < 250


def test_one_bucket_proves_nothing_not_even_in_a_watch():
    test = begun()
    test.take(0.0, bad=(100, 20), count=(200, 200), excess_bad=20, margin_bad=(100, 20))
    counts = Counts(200, 100), Counts(200, 20)
    for found in (
        assess.errors(POLICY, ERRORS, test, counts, WATCH),
        assess.latency(POLICY, P99, test, counts, WATCH),
    ):
        report = found.report(harmed=False, threshold=40.0, alpha=0.05)
        assert not report.proven
        assert report.reason.endswith("no harm found")


def test_a_proof_on_labels_that_came_first_for_true_cases_does_not_stand_when_the_others_come():
    policy = Policy()
    rail = policy.guardrail(Metric.PRECISION)
    chance = np.random.default_rng(0)
    count = 6000
    true = chance.random(count) < 0.3
    champion = np.where(true, chance.random(count) < 0.8, chance.random(count) < 0.085)  # precision about 0.80
    challenger = np.where(true, chance.random(count) < 0.8, chance.random(count) < 0.17)  # about 0.67
    rows = np.zeros(count, JOINED)
    rows["at"], rows["mode"], rows["sides"], rows["version"] = np.arange(count), Mode.SHADOW, 2, (1, 2)
    rows["prediction"], rows["label"] = np.column_stack([champion, challenger]), true
    test = RatioTest(policy, rail, (2, 1), 0.8)
    test.begin(0.0)
    none = np.zeros(0, SCORED)
    now = Moment(at=float(count), mode=Mode.SHADOW, mode_began_at=0.0, rollout_began_at=0.0)

    test.take(Joined(rows[true], rows, none))  # confirmed cases first, for everybody alike
    assert test.no_harm.reached
    assert test.kept.reached
    assert any("labels" in each for each in assess.labelled(policy, rail, test, now).missing)  # coverage holds

    test.take(Joined(rows[~true], rows[:0], none))
    missing = assess.labelled(policy, rail, test, now).missing
    assert any("labels have turned" in each for each in missing)
    assert any("offline promise" in each for each in missing)
