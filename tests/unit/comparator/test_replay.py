import dataclasses
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from duel import Duel, Model, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator import replaying
from comparator.events import LABEL, OBSERVATION, DecisionKind, Mode, Outcome, Role, Tick
from comparator.policy import Guardrail, Metric, Policy, Step, StepKind
from comparator.replaying import Replay, replay
from comparator.title import Title

POLICY = Policy(
    steps=(
        Step(StepKind.SHADOW, 100, 5.0),
        Step(StepKind.CANARY, 50, 5.0),
        Step(StepKind.PROMOTE),
        Step(StepKind.WATCH, 100, 5.0),
    ),
    guardrails=(Guardrail(Metric.PRECISION, 0.1), Guardrail(Metric.ERROR_RATE, 0.1)),
    bucket_seconds=1.0,
    bucket_min_answers=3,
    min_buckets=5,
    min_answers=50,
    min_labelled_positives=10,
)
GOOD = Duel(Model(0.12, 0.4), Model(0.12, 0.9), label_delay=1.0)
BAD = Duel(Model(0.12, 0.9), Model(0.12, 0.2), label_delay=1.0)


def whole_road(seed=1, rate=50.0):
    """A record in which shadow is followed by canary and watch: at every moment there is traffic of all modes."""
    rng, duel = np.random.default_rng(seed), dataclasses.replace(GOOD, rate=rate)
    parts = [traffic(duel, rng, 50.0, mode=mode, canary=0.5) for mode in (Mode.SHADOW, Mode.CANARY, Mode.WATCH)]
    return np.concatenate([each for each, _ in parts]), np.concatenate([each for _, each in parts])


def kinds(decisions):
    return [decision.kind for decision in decisions]


def test_a_good_challenger_goes_the_whole_road():
    decisions = replay(POLICY, *whole_road())
    assert kinds(decisions) == [
        DecisionKind.START,
        DecisionKind.ADVANCE,
        DecisionKind.PROMOTE,
        DecisionKind.MOVED,
        DecisionKind.FINISH,
    ]
    times = [decision.at for decision in decisions]
    assert times == sorted(times)
    assert all(decision.evidence for decision in decisions)


def test_a_bad_challenger_is_rolled_back():
    decisions = replay(POLICY, *traffic(BAD, np.random.default_rng(2), 60.0))
    assert kinds(decisions) == [DecisionKind.START, DecisionKind.ROLL_BACK, DecisionKind.MOVED]
    assert decisions[1].trigger == "precision"


def test_a_record_without_the_next_steps_traffic_waits():
    decisions = replay(POLICY, *traffic(GOOD, np.random.default_rng(3), 60.0))
    assert kinds(decisions) == [DecisionKind.START, DecisionKind.ADVANCE]


def test_a_step_lasts_at_least_its_minimum():
    long = dataclasses.replace(POLICY, steps=(Step(StepKind.SHADOW, 100, 40.0), *POLICY.steps[1:]))
    start, advance, *_ = replay(long, *whole_road())
    assert advance.at - start.at == pytest.approx(40.0, abs=0.6)


def test_the_offline_promise_is_the_callers():
    policy = dataclasses.replace(POLICY, guardrails=(Guardrail(Metric.PRECISION, 0.1, offline_tolerance=0.1),))
    record = traffic(GOOD, np.random.default_rng(4), 60.0)
    assert kinds(replay(policy, *record)) == [DecisionKind.START]
    assert kinds(replay(policy, *record, offline={"precision": 0.7})) == [DecisionKind.START, DecisionKind.ADVANCE]


@cache
def _once():
    observations, labels = whole_road()
    observations = observations[np.argsort(observations["at"], kind="stable")]
    labels = labels[np.argsort(labels["at"], kind="stable")]
    return observations, labels, replay(POLICY, observations, labels)


@given(st.lists(st.floats(0, 70), max_size=8))
@settings(max_examples=settings().max_examples // 5, deadline=None)
def test_any_batching_gives_the_same_decisions(cuts):
    observations, labels, expected = _once()
    run = Replay(POLICY, champion=1, challenger=2)
    edges = [0.0, *(1000.0 + cut for cut in sorted(cuts)), 1e9]
    for low, high in pairwise(edges):
        run.feed(
            observations[slice(*np.searchsorted(observations["at"], [low, high]))],
            labels[slice(*np.searchsorted(labels["at"], [low, high]))],
        )
    run.finish()
    assert run.decisions == expected


@cache
def _in_steps(step):
    """A record whose rows come many at one moment, observations and labels, on the edges of the looks, too."""
    record = [columns.copy() for columns in _once()[:2]]
    for columns in record:
        columns["at"] = np.floor(columns["at"] / step) * step
    return *record, replay(POLICY, *record)


@given(st.sampled_from([0.25, 0.5, 2.0]), st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 3, deadline=None)
def test_cuts_between_rows_of_one_moment_do_not_show(step, seed):
    """Every moment is cut, and of each kind its own share of the moment's rows is fed before the cut."""
    observations, labels, expected = _in_steps(step)
    assert len(expected) == 5
    run, rng, done = Replay(POLICY, champion=1, challenger=2), np.random.default_rng(seed), [0, 0]
    for moment in np.unique(np.concatenate([observations["at"], labels["at"]])):
        stops = []
        for columns in (observations, labels):
            low, high = (int(np.searchsorted(columns["at"], moment, side)) for side in ("left", "right"))
            stops.append(int(rng.integers(low, high + 1)))
        run.feed(observations[done[0] : stops[0]], labels[done[1] : stops[1]])
        done = stops
    run.feed(observations[done[0] :], labels[done[1] :])
    run.finish()
    assert run.decisions == expected


def test_the_order_of_the_rows_does_not_matter_where_times_differ():
    observations, labels = traffic(BAD, np.random.default_rng(5), 60.0)
    shuffled = np.random.default_rng(6).permutation(observations.size)
    assert replay(POLICY, observations[shuffled], labels) == replay(POLICY, observations, labels)


def test_wrong_columns_are_refused():
    observations, labels = traffic(BAD, np.random.default_rng(7), 5.0)
    with pytest.raises(ValueError, match="expected columns"):
        replay(POLICY, labels, labels)
    with pytest.raises(ValueError, match="no observation of the champion"):
        replay(POLICY, np.zeros(0, dtype=OBSERVATION), labels)
    for wrong in (np.nan, -1.0, 1.7e12):
        for columns in (observations, labels):
            at, columns["at"][3] = columns["at"][3], wrong
            expected = f"at: row 3: expected seconds since the epoch, before the year 10000, not {wrong!r}"
            with pytest.raises(ValueError, match=expected):
                replay(POLICY, observations, labels)
            with pytest.raises(ValueError, match=expected):
                Replay(POLICY, champion=1, challenger=2).feed(observations, labels)
            columns["at"][3] = at


def test_an_empty_record_decides_nothing():
    empty = replay(POLICY, np.zeros(0, dtype=OBSERVATION), np.zeros(0, dtype=LABEL), champion=1, challenger=2)
    assert empty == []


LATE = Duel(Model(0.12, 0.7), Model(0.12, 0.7), label_delay=1.0)


def late_harm(seed):
    """The challenger begins to fail, and to be slow, in the middle."""
    observations, labels = traffic(LATE, np.random.default_rng(seed), 60.0)
    bad = (observations["version"] == 2) & (observations["at"] > 1030.0)
    observations["latency"][bad] *= 3
    observations["outcome"][bad & (np.arange(observations.size) % 4 == 0)] = Outcome.SERVER_ERROR
    return observations, labels


def biased(seed):
    """Labels only where the champion acted."""
    observations, labels = traffic(GOOD, np.random.default_rng(seed), 60.0)
    acted = observations["request_lo"][(observations["version"] == 1) & (observations["prediction"] == 1.0)]
    return observations, labels[np.isin(labels["request_lo"], acted)]


RECORDS = {
    "the whole road": whole_road,
    "bad": lambda seed: traffic(BAD, np.random.default_rng(seed), 60.0),
    "late harm": late_harm,
    "biased labels": biased,
    "equal": lambda seed: traffic(LATE, np.random.default_rng(seed), 60.0),
    "low traffic": lambda seed: traffic(
        Duel(Model(0.12, 0.9), Model(0.12, 0.2, errors=0.3), rate=0.5), np.random.default_rng(seed), 150.0
    ),
    "a canary that dies": lambda seed: traffic(
        Duel(Model(0.12, 0.7), Model(0.12, 0.7, errors=1.0)), np.random.default_rng(seed), 60.0, mode=Mode.CANARY
    ),
}
RAILS = (
    *POLICY.guardrails,
    Guardrail(Metric.LATENCY, 0.3, quantile=0.9),
    Guardrail(Metric.RECALL, 0.3),
)


@pytest.mark.parametrize(
    ("record", "seed"), [*((record, 1) for record in RECORDS), ("late harm", 2), ("equal", 2), ("low traffic", 2)]
)
def test_many_looks_at_once_find_what_one_look_after_another_finds(record, seed, monkeypatch):
    policy = dataclasses.replace(POLICY, guardrails=RAILS, tau_window_seconds=10.0, tau_lag_seconds=1.0)
    if record == "a canary that dies":
        policy = dataclasses.replace(policy, steps=(Step(StepKind.CANARY, 10, 5.0), Step(StepKind.PROMOTE)))
    made = RECORDS[record](seed)
    many = replay(policy, *made, tick_seconds=1.0)
    monkeypatch.setattr(replaying, "MOST_STRIDE", 1)
    monkeypatch.setattr(replaying, "LEAST_STRIDE", 1)
    assert replay(policy, *made, tick_seconds=1.0) == many


def lull_before_labels():
    """Traffic ends before its labels come: nothing but labels can make the pass."""
    observations, labels = traffic(GOOD, np.random.default_rng(1), 30.0)
    labels["at"] += 40.0
    return POLICY, observations, labels


def minimum_in_a_lull():
    """All is proven, and the minimum is over when nobody asks."""
    observations, labels = traffic(GOOD, np.random.default_rng(1), 30.0)
    late, _ = traffic(GOOD, np.random.default_rng(2), 2.0, start=1120.0)
    policy = dataclasses.replace(POLICY, steps=(Step(StepKind.SHADOW, 100, 60.0), *POLICY.steps[1:]))
    return policy, np.concatenate([observations, late]), labels


@pytest.mark.parametrize("made", [lull_before_labels, minimum_in_a_lull])
def test_a_pass_while_no_bucket_closes_is_not_missed(made, monkeypatch):
    policy, observations, labels = made()
    policy = dataclasses.replace(policy, guardrails=(*policy.guardrails, Guardrail(Metric.LATENCY, 0.5, quantile=0.9)))
    policy = dataclasses.replace(policy, tau_window_seconds=10.0, tau_lag_seconds=1.0)
    many = replay(policy, observations, labels)
    monkeypatch.setattr(replaying, "MOST_STRIDE", 1)
    monkeypatch.setattr(replaying, "LEAST_STRIDE", 1)
    one = replay(policy, observations, labels)
    assert DecisionKind.ADVANCE in kinds(one)
    assert many == one


LULL, YEAR = 450.0, 365.25 * 86_400
TICK = 5.0  # one look after another is slow
ROAD = POLICY.steps
SIGN_OFF = (Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE, sign_off=True))


def lull(record, at, seconds):
    """Nothing comes for so long, from `at` on."""
    made = tuple(columns.copy() for columns in record)
    for columns in made:
        columns["at"][columns["at"] > at] += seconds
    return made


def road():
    return whole_road(rate=20.0)


def shed():
    """All is proven, but copies were shed: nothing may pass."""
    observations, labels = road()
    observations["shed"] = (observations["role"] == Role.CHAMPION) & (np.arange(observations.size) % 2 == 0)
    return observations, labels


def first_steps(seconds, *, grace=0.0):
    """The minimum of the first step is `seconds`; labels are held so long."""
    steps = (Step(StepKind.SHADOW, 100, seconds), *ROAD[1:])
    return dataclasses.replace(POLICY, steps=steps, label_grace_seconds=grace)


LULLS = {
    "the first minimum is over": (first_steps(LULL / 2), road, 1030.0),
    "labels come due": (first_steps(5.0, grace=LULL / 2), road, 1040.0),
    "labels come due before the minimum is over": (first_steps(0.75 * LULL, grace=LULL / 2), road, 1040.0),
    "a watch ends": (
        dataclasses.replace(POLICY, steps=(*ROAD[:-1], Step(StepKind.WATCH, 100, LULL / 2))),
        road,
        1045.0,
    ),
    "a sign-off": (dataclasses.replace(POLICY, steps=SIGN_OFF), road, 1030.0),
    "a split by hand": (dataclasses.replace(POLICY, steps=ROAD[:2]), road, 1040.0),
    "shed copies": (POLICY, shed, 1040.0),
    "harm within the margin": (
        dataclasses.replace(POLICY, guardrails=(Guardrail(Metric.PRECISION, 0.9), Guardrail(Metric.ERROR_RATE, 0.1))),
        lambda: late_harm(1),
        1045.0,
    ),
    "just before harm is found": (POLICY, lambda: late_harm(2), 1032.0),
}


def lulled(name, *, ends):
    """The case's policy, and its record with a lull in it."""
    policy, made, at = LULLS[name]
    record = lull(made(), at, LULL)
    if not ends:  # only one row comes after it
        record = tuple(columns[columns["at"] <= at + LULL] for columns in record)
        last = record[0][-1:].copy()
        last["at"] = at + LULL
        record = (np.concatenate([record[0], last]), record[1])
    return policy, record


@cache
def decided(name, *, ends):
    policy, record = lulled(name, ends=ends)
    return replay(policy, *record, tick_seconds=TICK)


@pytest.mark.parametrize("name", LULLS)
@pytest.mark.parametrize("ends", [True, False])
def test_a_lull_changes_no_decision(name, ends, monkeypatch):
    many = decided(name, ends=ends)
    monkeypatch.setattr(replaying, "MOST_STRIDE", 1)
    monkeypatch.setattr(replaying, "LEAST_STRIDE", 1)
    policy, record = lulled(name, ends=ends)
    assert replay(policy, *record, tick_seconds=TICK) == many


def test_lulls_have_decisions_in_them():
    """Else the test above holds nothing."""
    within = {}
    for name, (_, _, at) in LULLS.items():
        within[name] = [each.kind.value for each in decided(name, ends=True) if at + 10 < each.at < at + LULL - 10]
    assert within["the first minimum is over"] == ["advance"]
    assert "advance" in within["labels come due"]
    assert within["labels come due before the minimum is over"] == ["advance"]
    assert within["a watch ends"] == ["finish"]


@given(
    lulls=st.lists(st.tuples(st.floats(1001, 1060), st.floats(1, 200)), min_size=1, max_size=3),
    minimum=st.floats(0, 300),
    grace=st.sampled_from([0.0, 20.0]),
    bucket=st.sampled_from([1.0, 2.7]),
    cuts=st.lists(st.floats(0, 600), max_size=3),
)
@settings(max_examples=settings().max_examples // 3, deadline=None)
def test_lulls_anywhere_change_no_decision_however_the_record_is_cut(lulls, minimum, grace, bucket, cuts):
    observations, labels = _once()[:2]
    for at, seconds in sorted(lulls, reverse=True):
        observations, labels = lull((observations, labels), at, seconds)
    policy = dataclasses.replace(first_steps(minimum, grace=grace), bucket_seconds=bucket)
    many = Replay(policy, champion=1, challenger=2, tick_seconds=TICK)
    for low, high in pairwise([0.0, *(1000.0 + cut for cut in sorted(cuts)), 1e9]):
        many.feed(
            observations[slice(*np.searchsorted(observations["at"], [low, high]))],
            labels[slice(*np.searchsorted(labels["at"], [low, high]))],
        )
    many.finish()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replaying, "MOST_STRIDE", 1)
        patched.setattr(replaying, "LEAST_STRIDE", 1)
        assert replay(policy, observations, labels, tick_seconds=TICK) == many.decisions


def looks(policy, record, monkeypatch):
    """How many ticks the title receives."""
    ticks = []
    receive = Title.receive

    def counted(self, fact):
        if isinstance(fact, Tick):
            ticks.append(fact.at)
            assert len(ticks) < 20_000, "it walks from tick to tick"
        return receive(self, fact)

    with monkeypatch.context() as patched:
        patched.setattr(Title, "receive", counted)
        replay(policy, *record, tick_seconds=TICK)
    return len(ticks)


@pytest.mark.parametrize("name", LULLS)
def test_a_lull_costs_a_few_looks_however_long_it_is(name, monkeypatch):
    policy, made, at = LULLS[name]
    without = looks(policy, made(), monkeypatch)
    assert looks(policy, lull(made(), at, 270 * YEAR), monkeypatch) < without + 100


@pytest.mark.parametrize("far", [0.0, 270 * YEAR])
def test_one_time_far_away_does_not_keep_a_replay_busy(far, monkeypatch):
    observations, labels = whole_road()
    observations["at"][5] = far
    assert looks(dataclasses.replace(POLICY, steps=SIGN_OFF), (observations, labels), monkeypatch) < 200
