"""Ids that come again: counted, and no evidence for anything. Errors, latencies and answers, live and in replays."""

import dataclasses
import json
import time
from functools import cache

import numpy as np
import pytest
from duel import Duel, Model, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator import evidence
from comparator.checkpoint import freeze
from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Decision,
    DecisionKind,
    Labels,
    Mode,
    Observations,
    Outcome,
    Role,
    Tick,
    VersionFacts,
)
from comparator.pairing import Pairing
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.replaying import Replay, replay, replayed
from comparator.resuming import checkpoint, go_on, rejoin
from comparator.title import Title

NOTABLE_REPEATED = evidence.NOTABLE_REPEATED


def setup_module():
    """The laws below are of what is left out; how much of that lets nothing pass has a test of its own."""
    evidence.NOTABLE_REPEATED = 2.0


def teardown_module():
    evidence.NOTABLE_REPEATED = NOTABLE_REPEATED


ERRORS = Policy(
    steps=(Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.1),),
    gate=Gate.OFF,
    bucket_seconds=1.0,
    bucket_min_answers=3,
    min_buckets=5,
    min_answers=50,
)
SLOW = Guardrail(Metric.LATENCY, 9.0, quantile=0.9)
NO_LABELS = np.zeros(0, dtype=LABEL)


def pairs(count, *, failing=None, every=0.02, start=1000.0, first_id=1):
    """Shadow pairs, each of an id of its own, in order of time."""
    rows = np.zeros(2 * count, dtype=OBSERVATION)
    rows["at"] = start + np.repeat(np.arange(count), 2) * every
    rows["request_lo"] = first_id + np.repeat(np.arange(count), 2)
    rows["version"], rows["role"] = np.tile([1, 2], count), np.tile([Role.CHAMPION, Role.CHALLENGER], count)
    rows["mode"], rows["attempted_both"] = Mode.SHADOW, True
    rows["outcome"] = np.where(rows["version"] == failing, Outcome.SERVER_ERROR, Outcome.OK)
    rows["latency"], rows["prediction"], rows["score"] = 0.05, 1.0, np.nan
    return rows


def canary(rows):
    """The same, answered by one side each."""
    rows = rows.copy()
    rows["mode"], rows["attempted_both"] = Mode.CANARY, False
    return rows


def copies(rows, count, *, every=0.02):
    """A pair, and copies of it later."""
    many = np.tile(rows, count)
    many["at"] = rows["at"][0] + np.repeat(np.arange(count), rows.size) * every
    return many


def kinds(decisions):
    return [decision.kind for decision in decisions]


def started(policy):
    title = Title(policy)
    versions = {1: VersionFacts(1), 2: VersionFacts(2)}
    (start,) = title.receive(AliasesRead(1000.0, 1, 2, None, versions=versions, ready=frozenset({1, 2})))
    title.receive(start)
    return title


def live(policy, observations, labels=NO_LABELS, *, restart_at=None, slice_seconds=1.0):
    """What the title decides, looked at every second, and the title. It goes on from a checkpoint once if asked to."""
    title, decided, received = started(policy), [], []
    last = max([*observations["at"].tolist(), *labels["at"].tolist()])
    for at in np.arange(1000.0, last + slice_seconds, slice_seconds):
        if restart_at is not None and at == restart_at:
            kept = json.loads(json.dumps(checkpoint(title)))
            again = started(policy)
            for fact in received:
                if isinstance(fact, Decision):
                    again.receive(fact)
                else:
                    rejoin(again, fact)
            go_on(again, kept)
            title = again
        seen = observations[(observations["at"] >= at) & (observations["at"] < at + slice_seconds)]
        seen["rollout_id"] = title.rollout.rollout_id
        told = labels[(labels["at"] > at) & (labels["at"] <= at + slice_seconds)]
        for fact in (Observations(seen), Labels(told)):
            title.receive(fact)
            received.append(fact)
        for decision in title.receive(Tick(at + slice_seconds)):
            decided.append(decision)
            received.append(decision)
            title.receive(decision)
    return decided, title


def test_copies_of_one_failed_pair_roll_nothing_back():
    good, failed = pairs(200, every=0.25), pairs(1, failing=2, start=1010.0, first_id=9999)
    record = np.concatenate([good, copies(failed, 3000)])
    record = record[np.argsort(record["at"], kind="stable")]
    patient = dataclasses.replace(ERRORS, min_answers=10**6)  # nothing but harm ends it
    assert kinds(replay(patient, record, NO_LABELS)) == [DecisionKind.START]
    decided, title = live(patient, record)
    assert decided == []
    assert title.pairing.repeated == 2 * 2999
    assert title.rollout.report(1100.0).left_out["repeated"] == 2 * 2999
    fresh = np.concatenate([good, pairs(3000, failing=2, start=1010.0, first_id=5000)])  # ids of their own do
    fresh = fresh[np.argsort(fresh["at"], kind="stable")]
    assert DecisionKind.ROLL_BACK in kinds(replay(patient, fresh, NO_LABELS))


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CANARY])
def test_copies_of_one_failed_answer_do_not_trip_the_breaker(mode):
    steps = (Step(StepKind.CANARY, 50, 5.0), Step(StepKind.PROMOTE)) if mode is Mode.CANARY else ERRORS.steps
    patient = dataclasses.replace(ERRORS, steps=steps, min_answers=10**6, guardrails=(SLOW,))
    good, failed = pairs(200, every=0.25), pairs(1, failing=2, start=1010.0, first_id=9999)
    other = pairs(3000, failing=2, start=1010.0, first_id=5000)
    if mode is Mode.CANARY:
        good, other = canary(good), canary(other)
        good["request_lo"], other["request_lo"] = np.arange(good.size), 5000 + np.arange(other.size)
        failed = canary(failed)[1:]
    for rows, expected in ((copies(failed, 3000), False), (other, True)):
        record = np.concatenate([good, rows])
        record = record[np.argsort(record["at"], kind="stable")]
        decided, _ = live(patient, record)
        assert [decision.trigger for decision in decided] == (["breaker"] if expected else [])


def test_copies_of_one_good_pair_promote_nothing():
    record = copies(pairs(1), 2000)
    assert kinds(replay(ERRORS, record, NO_LABELS)) == [DecisionKind.START]
    assert kinds(replay(ERRORS, pairs(2000), NO_LABELS)) == [
        DecisionKind.START,
        DecisionKind.PROMOTE,
        DecisionKind.MOVED,
    ]
    decided, title = live(ERRORS, record)
    report = title.rollout.report(1050.0)
    assert decided == []
    assert report.answers == 1
    assert "49 more answers of 50" in report.reason
    assert report.left_out["repeated"] == 3998


def test_where_many_come_again_nothing_passes(monkeypatch):
    """Who asks again because the first answer hangs gives a sample without what hangs."""
    monkeypatch.setattr(evidence, "NOTABLE_REPEATED", NOTABLE_REPEATED)
    good = pairs(400, every=0.25)
    for again, promoted in ((2, True), (40, False)):
        record = np.concatenate([good, copies(pairs(again, start=good["at"][0] + 1.0), 2)])
        record = record[np.argsort(record["at"], kind="stable")]
        found = kinds(replay(ERRORS, record, NO_LABELS))
        assert (DecisionKind.PROMOTE in found) == promoted


def test_a_few_that_come_again_are_counted_without_a_word():
    record = np.concatenate([pairs(400), pairs(1, start=1020.0)])
    _, title = live(dataclasses.replace(ERRORS, min_answers=10**6), record)
    report = title.rollout.report(1050.0)
    assert report.left_out["repeated"] == 2
    assert "left out" not in report.reason


def test_the_count_is_shown_once_in_a_replay():
    run = replayed(ERRORS, copies(pairs(1), 50), NO_LABELS)
    assert run.left_out == {"repeated": 98}
    assert run.report.left_out["repeated"] == 98


def test_in_a_canary_an_id_has_one_role():
    policy = dataclasses.replace(ERRORS, steps=(Step(StepKind.CANARY, 50, 5.0), Step(StepKind.PROMOTE)))
    record = canary(pairs(300, failing=2))  # every id is asked of the champion first, then of the challenger, and fails
    decided, title = live(policy, record)
    assert decided == []
    assert title.rollout.report(1010.0).answers == 0
    assert title.pairing.repeated == 300


def test_a_client_that_asks_again_after_a_failure_has_had_its_answer():
    """On both sides alike: a copy that is asked again is left out with the answer that it is a copy of."""
    record = np.concatenate([pairs(100, failing=2), pairs(100, start=1010.0)])
    _, title = live(dataclasses.replace(ERRORS, min_answers=10**6), record)
    champion, challenger = title.rollout.evidence._counts
    assert (champion.answers, champion.failed) == (100, 0)
    assert (challenger.answers, challenger.failed) == (100, 100)


def test_the_copy_of_a_retry_is_left_out_where_the_first_copy_was_shed():
    first = pairs(50)
    first["attempted_both"], first["shed"] = False, True
    record = np.concatenate([first[first["version"] == 1], pairs(50, start=1010.0)])
    _, title = live(dataclasses.replace(ERRORS, min_answers=10**6), record)
    report = title.rollout.report(1020.0)
    assert report.left_out["repeated"] == 100
    assert report.shed == 1.0
    assert report.answers == 0


def test_of_a_request_of_many_rows_the_answer_comes_again_with_row_0():
    request = np.repeat(pairs(1), 100)
    request["row"] = np.tile(np.arange(100), 2)
    record = copies(request, 30)
    _, title = live(dataclasses.replace(ERRORS, min_answers=10**6), record)
    report = title.rollout.report(1010.0)
    assert report.answers == 1
    assert report.left_out["repeated"] == 29 * 200


def test_before_the_rollout_counts_too():
    title = Title(ERRORS)
    before = pairs(100, start=900.0)
    before["mode"], before["attempted_both"] = Mode.NONE, False
    title.receive(Observations(before[before["version"] == 1]))
    versions = {1: VersionFacts(1), 2: VersionFacts(2)}
    (start,) = title.receive(AliasesRead(1000.0, 1, 2, None, versions=versions, ready=frozenset({1, 2})))
    title.receive(start)
    again = pairs(100)
    again["rollout_id"] = title.rollout.rollout_id
    title.receive(Observations(again))
    assert title.rollout.report(1010.0).answers == 0


@pytest.mark.parametrize(("labelled", "later"), [(True, 3600.0), (False, 7200.0)])
def test_what_is_long_forgotten_is_new(labelled, later):
    """A row that has met its label is remembered for an hour, any other for the retention of labels."""
    pairing = Pairing(7200.0)
    pairing.observe(pairs(1))
    if labelled:
        label = np.zeros(1, dtype=LABEL)
        label["at"], label["request_lo"] = 1000.0, 1
        pairing.label(label)
    assert pairing.observe(pairs(1, start=1000.0 + later)).observed.size == 0
    assert pairing.observe(pairs(1, start=1000.5 + later)).observed.size == 2


def test_the_scoreboard_shows_the_traffic():
    _, title = live(ERRORS, copies(pairs(1), 100))
    assert title.scoreboard.score(2).answers == 100


def test_one_id_over_and_over_takes_no_time_to_speak_of():
    record = copies(pairs(1), 16_000, every=0.0)
    began = time.process_time()
    joined = Pairing(7200.0).observe(record)
    assert time.process_time() - began < 1.0
    assert (joined.observed.size, joined.repeated.size) == (2, 31_998)


# ---- any record, with any of its observations once more, later

JUDGED = Policy(
    steps=(
        Step(StepKind.SHADOW, 100, 3.0),
        Step(StepKind.CANARY, 50, 3.0),
        Step(StepKind.PROMOTE),
        Step(StepKind.WATCH),
    ),
    guardrails=(
        Guardrail(Metric.PRECISION, 0.1),
        Guardrail(Metric.LATENCY, 1.0, quantile=0.9),
        Guardrail(Metric.ERROR_RATE, 0.1),
    ),
    gate=Gate.OFF,
    bucket_seconds=1.0,
    bucket_min_answers=3,
    min_buckets=5,
    min_answers=50,
    min_labelled_positives=10,
    tau_window_seconds=10.0,
    tau_lag_seconds=1.0,
)
DUELS = {
    "good": Duel(Model(0.12, 0.4), Model(0.12, 0.9), label_delay=2.0),
    "bad": Duel(Model(0.12, 0.9), Model(0.12, 0.4), label_delay=2.0),
    "failing": Duel(Model(0.12, 0.9), Model(0.12, 0.9, errors=0.3), label_delay=2.0),
}


@cache
def record(name):
    rng = np.random.default_rng(11)
    parts = [traffic(DUELS[name], rng, 25.0, mode=mode, canary=0.5) for mode in (Mode.SHADOW, Mode.CANARY)]
    found = [np.concatenate([part[side] for part in parts]) for side in (0, 1)]
    found[1]["at"] = np.ceil(found[1]["at"])  # told at the end of a second: live, they come when they are told
    return tuple(each[np.argsort(each["at"], kind="stable")] for each in found)


@cache
def without(name, how):
    return judged(how, *record(name))


def judged(how, observations, labels, cut=None):
    """Decisions, the evidence at the end, and how many are counted as repeated."""
    if how == "replay":
        run = Replay(JUDGED, champion=1, challenger=2)
        if cut is None:
            run.feed(observations, labels)
        else:
            for low, high in ((0.0, cut), (cut, np.inf)):
                run.feed(*(rows[(rows["at"] >= low) & (rows["at"] < high)] for rows in (observations, labels)))
        run.finish()
        decisions, title = run.decisions, run._title
    else:
        decisions, title = live(JUDGED, observations, labels, restart_at=cut)
    evidence = freeze(title.rollout.evidence)
    counted = dict(evidence["$.Evidence"]["_left_out"]["$map"]).pop("repeated")
    return [plain(decision) for decision in decisions], unmarked(evidence), title.pairing.repeated, counted


def plain(decision):
    left_out = decision.evidence.get("left_out", {})
    kept = {kind: count for kind, count in left_out.items() if kind != "repeated"}
    return dataclasses.replace(decision, evidence={**decision.evidence, "left_out": kept})


def unmarked(evidence):
    evidence = json.loads(json.dumps(evidence))
    marks = evidence["$.Evidence"]["_left_out"]["$map"]
    marks[:] = [each for each in marks if each[0] != "repeated"]
    return evidence


@pytest.mark.parametrize("how", ["replay", "live"])
@pytest.mark.parametrize("name", DUELS)
@given(data=st.data())
@settings(max_examples=settings().max_examples // 5, deadline=None)
def test_what_comes_again_changes_nothing_and_is_counted(name, how, data):
    observations, labels = record(name)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    share = data.draw(st.sampled_from([0.01, 0.5, 3.0]))
    cut = data.draw(st.sampled_from([None, 1004.0, 1011.0, 1018.0]))
    chosen = rng.integers(0, observations.size, int(share * observations.size))
    again = observations[chosen]
    later = np.minimum(again["at"] + rng.exponential(3.0, again.size) * rng.integers(0, 2, again.size), 1024.5)
    late = again["at"] < 1024.0  # nothing comes after the record: time alone may decide
    again["at"] = later
    again = again[late]
    for field, value in (("outcome", Outcome.SERVER_ERROR), ("latency", 5.0), ("prediction", 1.0)):
        again[field][rng.random(again.size) < 0.5] = value
    both = np.concatenate([observations, again])
    both = both[np.argsort(both["at"], kind="stable")]  # of one moment the first stays the first
    decisions, evidence, repeated, counted = judged(how, both, labels, cut)
    expected, expected_evidence, none, _ = without(name, how)
    assert none == 0
    assert repeated == again.size
    assert counted <= repeated
    assert decisions == expected
    assert evidence == expected_evidence
