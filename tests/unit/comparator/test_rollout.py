import dataclasses

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, Desk, policy

from comparator.events import AliasMove, BreakerTripped, Decision, DecisionKind, Mode, VersionFacts
from comparator.phases import COMPARED, TERMINAL, TRANSITIONS, Phase
from comparator.policy import Step, StepKind
from comparator.rollout import IllegalTransition, Rollout, Subject

K = DecisionKind


def rollout_in(phase):
    """A rollout in this phase, on a legal way there."""
    ways = {
        Phase.HELD: [],
        Phase.SHADOW: [(K.START, Phase.SHADOW, 0)],
        Phase.CANARY: [(K.START, Phase.SHADOW, 0), (K.ADVANCE, Phase.CANARY, 1)],
        Phase.SIGN_OFF: [(K.START, Phase.SHADOW, 0), (K.AWAIT_SIGN_OFF, Phase.SIGN_OFF, -1)],
        Phase.PROMOTING: [(K.START, Phase.SHADOW, 0), (K.PROMOTE, Phase.PROMOTING, -1)],
        Phase.WATCH: [(K.START, Phase.SHADOW, 0), (K.PROMOTE, Phase.PROMOTING, -1), (K.MOVED, Phase.WATCH, 3)],
        Phase.ROLLING_BACK: [(K.ROLL_BACK, Phase.ROLLING_BACK, -1)],
        Phase.PROMOTED: [
            (K.START, Phase.SHADOW, 0),
            (K.PROMOTE, Phase.PROMOTING, -1),
            (K.MOVED, Phase.PROMOTED, -1),
        ],
        Phase.ROLLED_BACK: [(K.ROLL_BACK, Phase.ROLLING_BACK, -1), (K.MOVED, Phase.ROLLED_BACK, -1)],
        Phase.ABORTED: [(K.ABORT, Phase.ABORTED, -1)],
        Phase.SUPERSEDED: [(K.SUPERSEDE, Phase.SUPERSEDED, -1)],
    }
    rollout = Rollout(7, policy(), VersionFacts(2), reference=1)
    for kind, target, step in ways[phase]:
        rollout.apply(decision(kind, target, step))
    assert rollout.phase is phase
    return rollout


def decision(kind, phase, step=-1):
    return Decision(kind, 1000.0, 7, 2, "why", phase=phase.value, step=step)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("kind", [kind for kind in K if kind not in (K.PAUSE, K.RESUME, K.NOTIFY)])
def test_the_table_is_all_there_is(phase, kind):
    for target in Phase:
        step = {Phase.SHADOW: 0, Phase.CANARY: 1, Phase.WATCH: 3}.get(target, -1)
        rollout = rollout_in(phase)
        if target in TRANSITIONS.get((phase, kind), frozenset()):
            rollout.apply(decision(kind, target, step))
            assert rollout.phase is target
        else:
            with pytest.raises(IllegalTransition):
                rollout.apply(decision(kind, target, step))
            assert rollout.phase is phase


def test_what_is_over_stays_over():
    assert not any(phase in TERMINAL for phase, _ in TRANSITIONS)
    assert all(any((phase, kind) in TRANSITIONS for kind in K) for phase in Phase if phase not in TERMINAL)


def test_every_phase_can_be_reached_and_every_living_one_can_end():
    reached, ends = {Phase.HELD}, set(TERMINAL)
    for _ in Phase:
        for (phase, _kind), targets in TRANSITIONS.items():
            if phase in reached:
                reached |= targets
            if targets & ends:
                ends.add(phase)
    assert reached == set(Phase)
    assert ends == set(Phase)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_pause_changes_no_phase(phase):
    rollout = rollout_in(phase)
    rollout.apply(rollout.toggle(K.PAUSE, 1.0, "wait", "ann"))
    assert (rollout.paused, rollout.phase) == (True, phase)
    rollout.apply(rollout.toggle(K.RESUME, 1.0, "go on", "ann"))
    assert (rollout.paused, rollout.phase) == (False, phase)


@pytest.mark.parametrize("phase", list(Phase))
def test_traffic_is_shared_only_while_it_is_compared(phase):
    rollout = rollout_in(phase)
    assert (rollout.mode is not Mode.NONE) == (phase in COMPARED)
    assert (rollout.percent > 0) == (phase in COMPARED)


@pytest.mark.parametrize("phase", sorted(COMPARED))
def test_a_breaker_rolls_its_own_rollout_back(phase):
    rollout = rollout_in(phase)
    assert rollout.on_breaker(BreakerTripped(1001.0, 8, 20, 20)) is None
    decided = rollout.on_breaker(BreakerTripped(1001.0, 7, 18, 20))
    assert decided is not None
    assert (decided.kind, decided.trigger) == (K.ROLL_BACK, "breaker")
    assert "18 of its last 20" in decided.reason
    titled = phase in (Phase.PROMOTING, Phase.WATCH)
    assert decided.move == (AliasMove(expected=2, to=1) if titled else None)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in COMPARED])
def test_without_comparison_nothing_is_proposed(phase):
    rollout = rollout_in(phase)
    assert rollout.propose(2000.0) is None
    assert rollout.on_breaker(BreakerTripped(1001.0, 7, 18, 20)) is None


def test_a_step_is_held_for_its_duration():
    desk = Desk(policy(dataclasses.replace(SHADOW, min_seconds=100.0), PROMOTE))
    desk.read(challenger=2)
    desk.answers()
    assert desk.tick(0.1) == []
    (decided,) = desk.tick(100.0)
    assert decided.kind is K.PROMOTE


def test_a_policy_without_promote_compares_and_guards_only():
    desk = Desk(policy(Step(StepKind.CANARY, 20)))
    desk.read(challenger=2)
    assert desk.phase is Phase.CANARY
    desk.answers()
    assert desk.tick() == []
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert (decided.kind, decided.trigger) == (K.ROLL_BACK, "breaker")


@pytest.mark.parametrize(
    ("steps", "road"),
    [
        ((SHADOW, PROMOTE), [K.PROMOTE]),
        ((SHADOW, SHADOW, PROMOTE, WATCH), [K.ADVANCE, K.PROMOTE]),
        ((SHADOW, CANARY, SIGNED), [K.ADVANCE, K.AWAIT_SIGN_OFF]),
        ((CANARY, Step(StepKind.CANARY, 50), PROMOTE), [K.ADVANCE, K.PROMOTE]),
    ],
)
def test_steps_are_taken_in_order(steps, road):
    desk = Desk(policy(*steps))
    desk.read(challenger=2)
    taken = []
    for _ in range(8):
        desk.answers()
        taken += [decided.kind for decided in desk.tick()]
    assert taken == road


def test_evidence_is_written_into_every_decision():
    desk = Desk()
    (started,) = desk.read(challenger=2)
    assert Subject.from_data(started.evidence) == Subject(1, {})
    desk.answers()
    (advanced,) = desk.tick()
    assert advanced.evidence["verdict"] == "pass"
    assert advanced.policy_digest == desk.policy.digest


def test_a_subject_that_is_none_is_refused():
    with pytest.raises(TypeError, match="not the subject"):
        Subject.from_data({"reference": "1", "offline": {}})


def test_a_report_is_made_once_a_moment():
    rollout = rollout_in(Phase.SHADOW)
    assert rollout.report(1001.0) is rollout.report(1001.0)
    assert rollout.report(1002.0) is not rollout.report(1001.0)


def test_watch_steps_follow_the_move():
    rollout = rollout_in(Phase.PROMOTING)
    decided = rollout.moved(1002.0, "confirmed")
    assert (decided.phase, decided.step) == ("watch", 3)
    assert WATCH.percent == 100
