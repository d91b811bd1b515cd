"""Deadlines, silence, warm-up and freeze windows of a rollout: live, and in a replay."""

import numpy as np
import pytest
from duel import Duel, Model, traffic
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import Decision, DecisionKind, Mode, Role, VersionFacts
from comparator.guardrail import Verdict
from comparator.pairing import Pairing
from comparator.patience import DEADLINE, NO_DATA
from comparator.phases import Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, SignOff, Step, StepKind
from comparator.policy_error import PolicyError
from comparator.replaying import replay
from comparator.restraint import FreezeWindow, Restraint, Then
from comparator.rollout import Rollout
from comparator.warm_up import WarmUp

RAILS = (Guardrail(Metric.LATENCY, 1.0, quantile=0.9), Guardrail(Metric.ERROR_RATE, 0.05))
QUICK = {"bucket_seconds": 1.0, "bucket_min_answers": 4, "min_buckets": 10, "min_answers": 100, "gate": Gate.OFF}
EQUAL = Duel(Model(0.1, 0.7), Model(0.1, 0.7))


def policy(*steps, restraint=None, **numbers):
    return Policy(
        steps=steps or (Step(StepKind.SHADOW, 100, 10.0), Step(StepKind.PROMOTE)),
        guardrails=RAILS,
        restraint=restraint or Restraint(),
        **{**QUICK, **numbers},
    )


def started(judged_by, at=1000.0):
    rollout = Rollout(7, judged_by, VersionFacts(2), reference=1)
    rollout.apply(rollout.start(at, "go"))
    return rollout


def fed(rollout, seconds, seed=1, duel=EQUAL):
    observations, labels = traffic(duel, np.random.default_rng(seed), seconds)
    observations["rollout_id"] = rollout.rollout_id
    rollout.take(Pairing(3600.0).take(observations, labels))
    return float(observations["at"].max())


@pytest.mark.parametrize("then", Then)
def test_a_step_that_lasts_too_long_is_told_once_or_ended_and_never_passes(then):
    rollout = started(policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=60.0, at_deadline=then)))
    assert rollout.propose(1059.0) is None
    decision = rollout.propose(1060.0)
    assert (decision.kind.value, decision.trigger) == (then.value, DEADLINE)
    assert "step 1 (shadow) has lasted 1 min, the most that the policy gives it: waiting for" in decision.reason
    rollout.apply(decision)
    assert rollout.phase is (Phase.SHADOW if then is Then.NOTIFY else Phase.ABORTED)
    assert rollout.propose(1061.0) is None


def test_a_sign_off_has_a_deadline_of_its_own():
    steps = Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE, sign_off=True, within_seconds=60.0)
    rollout = started(policy(*steps))
    rollout.apply(Decision(DecisionKind.AWAIT_SIGN_OFF, 2000.0, 7, 2, "passed", phase=Phase.SIGN_OFF.value))
    assert rollout.propose(2059.0) is None
    assert "the wait for a sign-off has lasted 1 min" in rollout.propose(2060.0).reason


def signing(then=Then.ABORT):
    return policy(
        Step(StepKind.SHADOW, 100, 5.0),
        Step(StepKind.PROMOTE, sign_off=SignOff(people=3), within_seconds=3600.0, at_deadline=then),
    )


def test_signatures_give_a_sign_off_no_more_time():
    rollout = started(signing())
    rollout.apply(Decision(DecisionKind.AWAIT_SIGN_OFF, 2000.0, 7, 2, "passed", phase=Phase.SIGN_OFF.value))
    rollout.apply(rollout.signed(3000.0, "fine", "ann"))
    rollout.apply(rollout.unsigned(4000.0, "turned"))
    rollout.apply(rollout.signed(5590.0, "fine", "ann"))
    assert rollout.propose(5599.0) is None
    assert rollout.propose(5600.0).kind is DecisionKind.ABORT


@pytest.mark.parametrize("then", Then)
def test_a_pause_takes_no_time_of_a_step(then):
    rollout = started(policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=60.0, at_deadline=then)))
    for kind, at in ((DecisionKind.PAUSE, 1010.0), (DecisionKind.RESUME, 5010.0), (DecisionKind.PAUSE, 5020.0)):
        rollout.apply(rollout.toggle(kind, at, "lunch", "ann"))
        assert rollout.propose(at) is None
    rollout.apply(rollout.toggle(DecisionKind.RESUME, 9020.0, "lunch", "ann"))
    assert rollout.propose(9059.0) is None
    assert rollout.propose(9060.0).kind.value == then.value


def test_a_pause_takes_no_time_of_a_sign_off_that_begins_or_ends_within_it():
    rollout = started(signing())
    rollout.apply(rollout.toggle(DecisionKind.PAUSE, 1010.0, "lunch", "ann"))
    rollout.apply(Decision(DecisionKind.AWAIT_SIGN_OFF, 2000.0, 7, 2, "passed", phase=Phase.SIGN_OFF.value))
    rollout.apply(rollout.toggle(DecisionKind.RESUME, 9000.0, "lunch", "ann"))
    assert rollout.propose(12_599.0) is None
    assert rollout.propose(12_600.0).kind is DecisionKind.ABORT


def test_a_freeze_window_takes_no_time_of_a_step_and_nothing_is_ended_in_it():
    """It begins 00:16:40, the window is from 00:20 to 01:00."""
    step = Step(StepKind.SHADOW, 100, 5.0, within_seconds=600.0, at_deadline=Then.ABORT)
    rollout = started(policy(step, restraint=frozen(20)))
    assert [rollout.propose(at) for at in (1600.0, 3599.0, 3999.0)] == [None] * 3
    assert rollout.propose(4000.0).kind is DecisionKind.ABORT  # 200 s before the window, 400 s after it


def test_frozen_time_within_a_pause_is_left_out_once():
    step = Step(StepKind.SHADOW, 100, 5.0, within_seconds=600.0, at_deadline=Then.ABORT)
    rollout = started(policy(step, restraint=frozen(20)))
    rollout.apply(rollout.toggle(DecisionKind.PAUSE, 1300.0, "lunch", "ann"))
    rollout.apply(rollout.toggle(DecisionKind.RESUME, 3700.0, "lunch", "ann"))
    assert rollout.propose(4099.0) is None  # 200 s before the window, none in it, 400 s after the pause
    assert rollout.propose(4100.0).kind is DecisionKind.ABORT


def test_a_watch_goes_on_in_a_freeze_window_and_so_does_its_deadline():
    steps = Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE), Step(StepKind.WATCH, 100, 5.0, within_seconds=60.0)
    rollout = started(policy(*steps, restraint=frozen(20)))
    rollout.apply(rollout.promote(1200.0, "by hand", "ann"))
    rollout.apply(rollout.moved(1210.0, "told"))
    assert rollout.propose(1270.0).trigger == DEADLINE


def test_time_in_which_nothing_could_be_heard_is_no_silence():
    rollout = started(silent(Then.ABORT))
    rollout.deaf(1055.0)
    assert rollout.propose(1114.0) is None
    assert rollout.propose(1115.0).kind is DecisionKind.ABORT


def test_a_silence_begins_anew_after_a_pause():
    rollout = started(silent(Then.ABORT))
    rollout.apply(rollout.toggle(DecisionKind.PAUSE, 1010.0, "lunch", "ann"))
    rollout.apply(rollout.toggle(DecisionKind.RESUME, 5010.0, "lunch", "ann"))
    assert rollout.propose(5069.0) is None
    assert rollout.propose(5070.0).kind is DecisionKind.ABORT


def test_a_silence_begins_anew_with_a_step():
    """Also of a version that has answered nothing in the step before."""
    steps = Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.CANARY, 10, 5.0), Step(StepKind.PROMOTE)
    rollout = started(policy(*steps, restraint=Restraint(no_data_seconds=60.0, no_data_then=Then.ABORT)))
    last = fed(rollout, 5.0)
    rollout.apply(Decision(DecisionKind.ADVANCE, last + 50.0, 7, 2, "on", phase=Phase.CANARY.value, step=1))
    assert rollout.propose(last + 109.0) is None
    assert rollout.propose(last + 110.0).kind is DecisionKind.ABORT


# ---- freeze windows: what passes waits


@pytest.mark.parametrize("sign_off", [None, SignOff()])
def test_what_passes_in_a_freeze_window_waits_for_its_end(sign_off):
    passes = policy(Step(StepKind.SHADOW, 100, 10.0), Step(StepKind.PROMOTE, sign_off=sign_off), restraint=frozen(17))
    rollout = started(passes)
    last = fed(rollout, 200.0)
    assert last > 17 * 60.0
    assert rollout.report(last).verdict is Verdict.PASS
    assert [rollout.propose(at) for at in (last, 2000.0, 3599.5)] == [None] * 3
    expected = DecisionKind.PROMOTE if sign_off is None else DecisionKind.AWAIT_SIGN_OFF
    assert rollout.propose(3601.0).kind is expected


def test_nothing_advances_in_a_freeze_window():
    steps = Step(StepKind.SHADOW, 100, 10.0), Step(StepKind.CANARY, 10, 10.0), Step(StepKind.PROMOTE)
    rollout = started(policy(*steps, restraint=frozen(17)))
    last = fed(rollout, 200.0)
    assert rollout.report(last).verdict is Verdict.PASS
    assert rollout.propose(last) is None
    assert rollout.propose(3601.0).kind is DecisionKind.ADVANCE


def test_harm_rolls_back_in_a_freeze_window():
    rollout = started(policy(restraint=frozen(17)))
    last = fed(rollout, 200.0, duel=Duel(Model(0.1, 0.7), Model(0.1, 0.7, errors=0.5)))
    assert rollout.propose(last).kind is DecisionKind.ROLL_BACK


def test_a_watch_ends_in_a_freeze_window():
    """What has the title goes no further by it: the watch ends where it has seen enough."""
    steps = Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE), Step(StepKind.WATCH, 100, 5.0)
    rollout = started(policy(*steps, restraint=frozen(16)))
    rollout.apply(rollout.promote(1000.0, "by hand", "ann"))
    rollout.apply(rollout.moved(1000.0, "told"))
    observations, labels = traffic(EQUAL, np.random.default_rng(1), 200.0)
    observations["rollout_id"], observations["mode"] = 7, Mode.WATCH
    observations["role"] = np.where(observations["version"] == 2, Role.CHAMPION, Role.PREVIOUS)
    rollout.take(Pairing(3600.0).take(observations, labels))
    last = float(observations["at"].max())
    assert rollout.report(last).verdict is Verdict.PASS
    assert rollout.propose(last).kind is DecisionKind.FINISH


def test_a_step_that_is_over_has_no_deadline_while_the_registry_has_yet_to_confirm():
    rollout = started(policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=60.0, at_deadline=Then.ABORT)))
    rollout.apply(rollout.promote(1030.0, "by hand", "ann"))
    assert rollout.propose(9999.0) is None


def test_silence_ends_nothing_that_has_the_title_or_is_about_to_get_it():
    steps = Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE), Step(StepKind.WATCH, 100, 5.0)
    rollout = started(policy(*steps, restraint=Restraint(no_data_seconds=60.0, no_data_then=Then.ABORT)))
    rollout.apply(rollout.promote(1030.0, "by hand", "ann"))
    told = rollout.propose(1090.0)
    assert (told.kind, told.trigger) == (DecisionKind.NOTIFY, NO_DATA)
    rollout.apply(told)
    rollout.apply(rollout.moved(1100.0, "told"))
    assert rollout.propose(1159.0) is None  # a step that begins begins a silence
    assert rollout.propose(1160.0).kind is DecisionKind.NOTIFY


def test_a_paused_rollout_has_no_deadline():
    rollout = started(policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=60.0)))
    rollout.apply(Decision(DecisionKind.PAUSE, 1001.0, 7, 2, "lunch"))
    assert rollout.propose(1100.0) is None


def test_silence_is_told_once_for_each_silence():
    rollout = started(silent())
    last = fed(rollout, 5.0)
    assert rollout.propose(last + 59.0) is None
    first = rollout.propose(last + 60.0)
    assert (first.kind, first.trigger) == (DecisionKind.NOTIFY, NO_DATA)
    assert "has answered nothing for 1 min" in first.reason
    rollout.apply(first)
    assert rollout.propose(last + 300.0) is None
    observations, labels = traffic(EQUAL, np.random.default_rng(2), 5.0, start=last + 301.0)
    observations["rollout_id"] = 7
    rollout.take(Pairing(3600.0).take(observations, labels))
    assert rollout.propose(float(observations["at"].max()) + 61.0).kind is DecisionKind.NOTIFY


def silent(then=Then.NOTIFY):
    return policy(
        Step(StepKind.SHADOW, 100, 3600.0),
        restraint=Restraint(no_data_seconds=60.0, no_data_then=then),
        min_answers=10_000,
    )


def test_silence_can_end_a_rollout():
    rollout = started(silent(Then.ABORT))
    assert rollout.propose(1060.0).kind is DecisionKind.ABORT


@pytest.mark.parametrize(
    "step",
    [
        {"kind": StepKind.PROMOTE, "within_seconds": 60.0},
        {"kind": StepKind.SHADOW, "min_seconds": 60.0, "within_seconds": 60.0},
        {"kind": StepKind.WATCH, "within_seconds": 60.0, "at_deadline": Then.ABORT},
    ],
)
def test_a_deadline_that_makes_no_sense(step):
    with pytest.raises(PolicyError):
        Step(**step)


def test_what_came_later_is_not_in_the_text_of_earlier_policies_and_is_read_back():
    assert "restraint" not in Policy().canonical()
    assert "within" not in Policy().canonical()
    full = policy(
        Step(StepKind.SHADOW, 100, 1.0, within_seconds=9.0, at_deadline=Then.ABORT),
        restraint=Restraint(5.0, 10, 600.0, 3, (FreezeWindow((4, 5), 57_600.0, 28_800.0),), 3600.0, Then.ABORT),
    )
    assert Policy.from_canonical(full.canonical()) == full
    assert Policy.from_canonical(full.canonical()).digest == full.digest


# ---- in a replay: looks that are left out find nothing


def frozen(from_minute):
    """Until 1 o'clock; the record begins at 00:16:40."""
    return Restraint(freeze=(FreezeWindow(tuple(range(7)), from_minute * 60.0, 3600.0),))


TICK = 5.0


def decided(judged_by, observations, labels, **options):
    return [
        (each.kind, each.at, each.trigger)
        for each in replay(judged_by, observations, labels, champion=1, challenger=2, **options)
    ]


@pytest.mark.parametrize(
    "judged_by",
    [
        policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=30.0), min_answers=10_000),
        policy(Step(StepKind.SHADOW, 100, 5.0, within_seconds=30.0, at_deadline=Then.ABORT), min_answers=10_000),
        silent(),
        silent(Then.ABORT),
        policy(restraint=frozen(17)),
        policy(restraint=Restraint(warm_up_seconds=7.0, warm_up_answers=30)),
    ],
    ids=["deadline", "deadline aborts", "silence", "silence aborts", "frozen", "warm-up"],
)
def test_a_replay_decides_as_a_look_at_every_tick_does(judged_by):
    first, labels = traffic(EQUAL, np.random.default_rng(5), 40.0)
    later, more = traffic(EQUAL, np.random.default_rng(6), 40.0, start=float(first["at"].max()) + 100.0)
    after, most = traffic(EQUAL, np.random.default_rng(7), 20.0, start=4000.0)
    observations = np.concatenate([first, later, after])
    labels = np.concatenate([labels, more, most])
    found = decided(judged_by, observations, labels, tick_seconds=TICK)
    assert found == ticked(judged_by, observations, labels)
    assert len(found) > 1


def ticked(judged_by, observations, labels, tick=TICK):
    """One look after another."""
    rollout = started(judged_by, at=1000.0)
    pairing, found = Pairing(judged_by.label_retention_seconds), [(DecisionKind.START, 1000.0, "")]
    observations = observations[np.argsort(observations["at"], kind="stable")].copy()
    labels = labels[np.argsort(labels["at"], kind="stable")]
    observations["rollout_id"] = 7
    spans = [np.floor(each["at"] / tick) for each in (observations, labels)]
    for span in range(int(1000.0 / tick), int(max(each.max() for each in spans)) + 1):
        if rollout.phase is not Phase.SHADOW:
            break
        now = [each[which == span] for each, which in zip((observations, labels), spans, strict=True)]
        rollout.take(pairing.take(*now))
        decision = rollout.propose((span + 1) * tick)
        if decision is not None:
            found.append((decision.kind, decision.at, decision.trigger))
            rollout.apply(decision)
    if found[-1][0] is DecisionKind.PROMOTE:
        found.append((DecisionKind.MOVED, found[-1][1], ""))
    return found


def test_a_replay_starts_when_a_freeze_window_ends():
    observations, labels = traffic(EQUAL, np.random.default_rng(5), 40.0)
    later, more = traffic(EQUAL, np.random.default_rng(7), 60.0, start=3590.0)
    found = decided(policy(restraint=frozen(16)), np.concatenate([observations, later]), np.concatenate([labels, more]))
    assert [each[:2] for each in found[:2]] == [(DecisionKind.HOLD, 1000.0), (DecisionKind.START, 3600.0)]
    assert found[2][0] is DecisionKind.PROMOTE


# ---- warm-up


def test_a_cold_challenger_is_left_out_and_the_breaker_sees_it():
    cold = Duel(Model(0.1, 0.7), Model(0.1, 0.7, errors=1.0))
    rollout = started(policy(restraint=Restraint(warm_up_answers=500)))
    last = fed(rollout, 8.0, duel=cold)
    report = rollout.report(last)
    assert report.left_out["warm_up"] > 50
    assert report.answers == 0
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "the end of its warm-up:" in report.reason
    assert rollout.evidence._breaker.open or rollout.evidence.tripped


@given(
    times=st.lists(st.floats(0.0, 20.0), max_size=30),
    trial=st.lists(st.booleans(), min_size=30, max_size=30),
    seconds=st.sampled_from([0.0, 5.0, 50.0]),
    answers=st.sampled_from([0, 1, 7]),
    cut=st.integers(0, 30),
)
def test_the_warm_up_is_over_after_both_however_the_answers_are_cut(times, trial, seconds, answers, cut):
    at = np.sort(np.array(times))
    mine = np.array(trial[: at.size], dtype=bool)
    whole, parts = WarmUp(seconds, answers), WarmUp(seconds, answers)
    if whole.over:
        assert (seconds, answers) == (0.0, 0)
        return
    cold = whole.take(at, mine)
    pieces = [
        np.zeros(at[piece].size, dtype=bool) if parts.over else parts.take(at[piece], mine[piece])
        for piece in (slice(0, cut), slice(cut, None))
    ]
    assert np.array_equal(cold, np.concatenate(pieces))
    first = at[mine][0] if mine.any() else np.inf
    for index in range(at.size):
        warm = at[index] >= first + seconds and np.count_nonzero(mine[:index]) >= answers
        assert cold[index] == (not warm)
