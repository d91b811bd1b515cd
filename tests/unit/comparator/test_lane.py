"""A lane: judged in shadow like any challenger, with nothing to say in the registry but marks."""

import contextlib

import pytest
from desk import PROMOTE, SHADOW, Desk, kinds, policy, state
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.acts import Refused
from comparator.events import CommandKind, DecisionKind, VersionFacts
from comparator.gated import Outcome
from comparator.guardrail import Verdict
from comparator.lane import Lane
from comparator.phases import Phase
from comparator.policy import Gate
from comparator.title import Effect, Title

C, K = CommandKind, DecisionKind


def of_lane(rules=None, gates=lambda: ("", {})) -> Desk:
    """A desk of a lane: what `challenger` names there is what the lane's alias does."""
    desk = Desk(rules or policy(SHADOW))
    desk.title = Title(desk.policy, sticky=True, lane=Lane("challenger-b", gates))
    return desk


def begun(**given) -> Desk:
    desk = of_lane(**given)
    desk.read()
    assert kinds(desk.read(challenger=2)) == [K.START]
    return desk


def test_what_passes_stays_in_shadow_and_moves_nothing():
    desk = begun()
    for _ in range(3):
        desk.answers()
        assert desk.tick() == []
    assert desk.phase is Phase.SHADOW
    assert desk.title.rollout.report(desk.at).verdict is Verdict.PASS
    assert desk.title.effect is None
    assert "@challenger-b names version 2" in desk.recorded[0].reason


def test_harm_ends_it_with_a_mark_and_the_alias_stays():
    desk = begun()
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert (decided.kind, decided.move) == (K.ROLL_BACK, None)
    assert desk.title.serving.other is None
    assert desk.title.effect == Effect(marks=((2, "rejected"),), confirms=True)
    assert kinds(desk.confirm()) == [K.MOVED]
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.title.effect is None
    for _ in range(3):
        assert desk.read() == []  # one shot under each policy
    assert desk.aliases == {"champion": 1, "challenger": 2, "previous": None}
    desk.title.adopt(policy(SHADOW, min_answers=6))
    assert kinds(desk.read()) == [K.START]


@pytest.mark.parametrize("kind", [C.ABORT, C.ROLL_BACK])
def test_a_person_ends_it_and_gives_it_another_shot(kind):
    desk = begun()
    desk.command(kind)
    if kind is C.ROLL_BACK:
        desk.confirm()
    assert desk.read() == []
    assert desk.title.effect is None
    assert kinds(desk.command(C.START, to=2)) == [K.RETRY]
    assert desk.title.effect is None  # its alias was never cleared, and is not set
    assert kinds(desk.read()) == [K.START]


def test_another_shot_is_for_what_the_alias_names():
    desk = begun()
    desk.command(C.ABORT)
    desk.read(challenger=None)
    with pytest.raises(Refused, match="@challenger-b does not name version 2"):
        desk.command(C.START, to=2)


@pytest.mark.parametrize("kind", [C.PROMOTE, C.SIGN_OFF, C.REJECT])
def test_it_is_never_promoted(kind):
    desk = begun()
    with pytest.raises(Refused, match="set @challenger to the version of @challenger-b"):
        desk.command(kind, evidence="x")
    assert desk.phase is Phase.SHADOW


def test_it_moves_no_title_by_a_rollback():
    desk = begun()
    with pytest.raises(Refused, match="a lane moves no title"):
        desk.command(C.ROLL_BACK, to=3)
    desk.command(C.ABORT)
    desk.read(previous=3)
    assert desk.title.way_back is None
    with pytest.raises(Refused, match="is aborted"):
        desk.command(C.ROLL_BACK)
    assert desk.title.pending is None


def test_it_begins_anew_when_the_champion_changes():
    desk = begun()
    desk.answers()
    (moved,) = desk.read(champion=3)
    assert moved.kind is K.FOREIGN_MOVE
    assert "not by titleshot" not in moved.reason
    assert desk.phase is Phase.ABORTED
    assert desk.title.effect is None
    assert kinds(desk.read()) == [K.START]
    rollout = desk.title.rollout
    assert (rollout.version, rollout.reference) == (2, 3)


def test_its_alias_is_in_its_words():
    desk = begun()
    (ended,) = desk.read(challenger=3)
    assert ended.reason == "@challenger-b was moved from version 2 to 3"
    (begins,) = desk.read()
    assert begins.reason.startswith("@challenger-b names version 3")
    (gone,) = desk.read(challenger=None)
    assert gone.reason == "@challenger-b no longer names version 3"


def test_the_gate_is_that_of_the_model():
    own = policy(SHADOW, PROMOTE, gate=Gate.REQUIRED)
    reports = {}
    desk = of_lane(policy(SHADOW, gate=Gate.REQUIRED), lambda: (own.digest, reports))
    desk.facts[2] = VersionFacts(2, {}, git_sha="a", data_hash="b")
    desk.read()
    (held,) = desk.read(challenger=2)
    assert held.kind is K.HOLD
    assert "no report of the gate in staging" in held.reason
    reports[2, own.digest, 1] = Outcome(Verdict.PASS, "it passed")
    assert kinds(desk.read()) == [K.START]


ALIASES = st.sampled_from([None, 1, 2, 3])
STEPS = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(["champion", "challenger", "previous"]), ALIASES),
    st.tuples(st.just("answers"), st.sampled_from([None, 1, 2, 3])),
    st.tuples(st.just("command"), st.sampled_from(list(C)), ALIASES),
    st.sampled_from([("tick",), ("breaker",), ("confirm",)]),
)


@settings(deadline=None, max_examples=5 * settings().max_examples)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_it_tells_the_registry_marks_alone_and_a_restart_agrees(steps):
    desk = of_lane()
    desk.read()
    for what, *how in steps:
        named = dict(desk.aliases)
        match what:
            case "read":
                named[how[0]] = how[1]
                desk.read(**{how[0]: how[1]})
            case "answers":
                desk.answers(30, failing=how[0])
            case "command":
                with contextlib.suppress(Refused):
                    desk.command(how[0], how[1], evidence="x")
            case _:
                getattr(desk, what)()
        assert desk.aliases == named
        assert desk.title.pending is None
        assert desk.phase not in (Phase.CANARY, Phase.SIGN_OFF, Phase.PROMOTING, Phase.WATCH, Phase.PROMOTED)
        effect = desk.title.effect
        assert effect is None or effect == Effect(marks=((desk.title.rollout.version, "rejected"),), confirms=True)
        assert desk.title.serving.share == 0
    fresh = Title(desk.title.policy, dict(desk.title.policies), sticky=True, lane=desk.title.lane)
    for fact in desk.recorded:
        assert fresh.receive(fact) == []
    assert state(fresh) == state(desk.title)
