"""What was in production when, told by the decisions alone, as the title itself has it."""

import contextlib
import itertools

from desk import Desk, on_trial
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import AliasMove, CommandKind, Decision, DecisionKind
from comparator.phases import Phase
from comparator.reigns import Reign, reigns

MOVES = st.builds(
    Decision,
    kind=st.sampled_from(DecisionKind),
    at=st.just(0.0),
    rollout_id=st.just(0),
    version=st.just(1),
    reason=st.just("why"),
    actor=st.sampled_from(["titleshot", "registry", "ann"]),
    move=st.none() | st.builds(AliasMove, expected=st.integers(1, 3), to=st.integers(1, 3)),
    evidence=st.just({}) | st.builds(lambda version: {"reference": version}, st.integers(1, 3)),
)


def told(desk):
    return reigns(each for each in desk.recorded if isinstance(each, Decision))


def brief(found):
    return [(reign.version, reign.by) for reign in found]


def test_without_a_decision_nothing_is_told():
    assert reigns([]) == []


def test_the_champion_of_the_first_rollout_reigned_before_the_record():
    assert told(on_trial()) == [Reign(1, None)]


def test_a_promotion_and_a_rollback_by_hand():
    desk = on_trial(phase=Phase.WATCH)
    promoted = desk.at
    desk.command(CommandKind.ROLL_BACK)
    rolled_back = desk.at
    desk.confirm()
    assert brief(told(desk)) == [(1, "ann"), (2, "titleshot"), (1, "")]
    last, middle, first = told(desk)
    assert (first.until, middle.since, middle.until, last.since, last.until) == (
        promoted, promoted, rolled_back, rolled_back, None,
    )  # fmt: skip
    decisions = [each for each in desk.recorded if isinstance(each, Decision)]
    assert decisions[middle.decision].kind is DecisionKind.PROMOTE
    assert middle.reason == decisions[middle.decision].reason
    assert decisions[last.decision].kind is DecisionKind.ROLL_BACK


def test_a_move_by_hand_in_the_registry():
    desk = Desk()
    desk.read()
    desk.read(champion=3)
    assert brief(told(desk)) == [(3, "registry"), (1, "")]
    assert told(desk)[0].since == desk.at


def test_a_promotion_that_was_rolled_back_before_the_registry_knew_never_reigned():
    desk = on_trial(phase=Phase.PROMOTING)
    desk.command(CommandKind.ROLL_BACK)
    desk.confirm()
    assert brief(told(desk)) == [(1, "")]


@given(st.lists(MOVES, max_size=12), st.lists(st.floats(1, 9), min_size=12, max_size=12))
def test_reigns_follow_one_another_and_the_last_is_open(decisions, waits):
    at, timed = 0.0, []
    for decision, wait in zip(decisions, waits, strict=False):
        at += wait
        timed.append(Decision(**{name: getattr(decision, name) for name in decision.__slots__} | {"at": at}))
    found = reigns(timed)[::-1]
    for before, after in itertools.pairwise(found):
        assert before.until == after.since
        assert before.version != after.version
        assert before.since is None or before.since < before.until
    if found:
        assert found[-1].until is None
        assert [reign.since is None for reign in found] == [True] + [False] * (len(found) - 1)


@given(st.lists(st.sampled_from(["answer", "bad", "tick", "confirm", "roll back", "promote", "by hand"]), max_size=14))
def test_the_last_reign_is_the_title_s_champion(acts):
    desk = on_trial()
    for act in acts:
        match act:
            case "answer" | "bad":
                desk.answers(failing=desk.title.rollout.version if act == "bad" else None)
            case "tick":
                desk.tick()
            case "confirm":
                desk.confirm()
            case "by hand":
                desk.read(champion=3)
            case _:
                asked(desk, CommandKind.ROLL_BACK if act == "roll back" else CommandKind.PROMOTE)
    assert told(desk)[0].version == desk.title.champion


def asked(desk, kind):
    from comparator.acts import Refused

    with contextlib.suppress(Refused):
        desk.command(kind)
