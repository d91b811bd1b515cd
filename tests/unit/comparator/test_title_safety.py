"""Where a title must not go, and what must not come back: unready targets, and versions whose shot is over."""

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, kinds, on_trial, policy, state

from comparator.events import AliasMove, CommandKind, DecisionKind
from comparator.phases import Phase
from comparator.title import Refused, Serving

C, K = CommandKind, DecisionKind


def test_harm_in_the_watch_waits_for_a_reference_that_answers():
    desk = on_trial(phase=Phase.WATCH)
    desk.ready = frozenset({2})
    desk.read()
    desk.answers(60, failing=2)
    assert desk.tick() == []  # a failing champion is better than a dead one
    with pytest.raises(Refused, match="the endpoint of version 1 is not ready"):
        desk.command(C.ROLL_BACK)
    assert desk.breaker() == []
    desk.ready = frozenset({1, 2})
    desk.read()
    assert kinds(desk.tick()) == [K.ROLL_BACK]


def test_a_rollback_before_the_title_has_moved_waits_for_nothing():
    desk = on_trial(phase=Phase.PROMOTING)
    desk.ready = frozenset()
    desk.read()
    assert kinds(desk.command(C.ROLL_BACK)) == [K.ROLL_BACK]
    assert desk.title.serving == Serving(champion=1)


def test_nothing_is_promoted_whose_endpoint_is_not_ready():
    desk = on_trial(policy(SHADOW, PROMOTE))
    desk.answers()
    desk.ready = frozenset({1})
    desk.read()
    assert desk.tick() == []
    with pytest.raises(Refused, match="the endpoint of version 2 is not ready"):
        desk.command(C.PROMOTE)
    desk.ready = frozenset({1, 2})
    desk.read()
    assert kinds(desk.tick()) == [K.PROMOTE]


def test_a_sign_off_does_not_promote_what_is_not_ready():
    desk = on_trial(policy(SHADOW, SIGNED), Phase.SIGN_OFF)
    desk.ready = frozenset({1})
    desk.read()
    with pytest.raises(Refused, match="not ready"):
        desk.command(C.SIGN_OFF)


def test_readiness_does_not_come_from_the_registry_alone():
    desk = on_trial(phase=Phase.WATCH)
    fresh = desk.restarted()  # and the registry is away: nothing has been read
    assert fresh.aliases is None
    desk.title = fresh
    fresh.ready = frozenset({1})
    assert kinds(desk.command(C.ROLL_BACK)) == [K.ROLL_BACK]


def test_without_the_registry_a_rollback_of_the_title_names_its_version():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTING)
    desk.confirm()
    desk.title = desk.restarted()
    with pytest.raises(Refused, match="name a version"):
        desk.command(C.ROLL_BACK)


def test_a_retry_is_over_once_any_rollout_has_begun():
    desk = on_trial()
    desk.command(C.ROLL_BACK)
    desk.confirm()
    desk.read()
    desk.command(C.START, to=2)
    assert kinds(desk.read(challenger=3)) == [K.START]  # somebody was faster
    assert desk.title.retry is None
    assert desk.title.effect is None


def test_a_named_rollback_works_before_the_registry_has_been_read_again():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTING)
    desk.confirm()
    desk.title = desk.restarted()
    desk.title.ready = frozenset({3})
    (decided,) = desk.command(C.ROLL_BACK, to=3)
    assert decided.move == AliasMove(2, 3)
    assert desk.title.serving.champion == 3


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY])
def test_an_aborted_version_does_not_start_again_because_the_policy_changed_meanwhile(phase):
    desk = on_trial(policy(SHADOW, CANARY, PROMOTE), phase)
    desk.title.adopt(policy(SHADOW, PROMOTE))
    assert kinds(desk.command(C.ABORT)) == [K.ABORT]
    assert desk.read() == []  # @challenger still names it: the registry has yet to be told
    effect = desk.title.effect
    assert effect is not None
    assert (effect.marks, effect.clear_challenger) == (((2, "aborted"),), 2)
    desk.confirm()
    assert desk.read() == []
    assert desk.aliases["challenger"] is None
    assert kinds(desk.read(challenger=2)) == [K.START]  # by hand, under the new policy: another shot


def test_the_winner_is_marked_and_its_alias_cleared_although_the_policy_changed_meanwhile():
    desk = on_trial(phase=Phase.WATCH)
    desk.title.adopt(policy(SHADOW, PROMOTE))
    desk.answers()
    desk.tick()
    desk.confirm()
    desk.read()
    assert desk.phase is Phase.PROMOTED
    assert desk.aliases == {"champion": 2, "challenger": None, "previous": 1}


def test_an_abort_that_was_not_carried_out_is_found_again_after_a_restart_under_another_policy():
    desk = on_trial()
    desk.command(C.ABORT)
    desk.title = desk.restarted(policy(SHADOW, PROMOTE))
    assert desk.read() == []
    assert desk.title.effect.clear_challenger == 2


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.WATCH])
def test_a_harmful_version_has_had_its_shot_although_somebody_moves_the_champion_during_its_rollback(phase):
    desk = on_trial(phase=phase)
    desk.answers(60, failing=2)
    assert kinds(desk.tick()) == [K.ROLL_BACK]
    assert kinds(desk.read(champion=3)) == [K.FOREIGN_MOVE]
    assert desk.title.finished == {(2, desk.policy.digest): "rejected"}
    assert desk.read() == []  # no new rollout of version 2
    desk.confirm()
    desk.read()
    assert desk.aliases == {"champion": 3, "challenger": None, "previous": desk.aliases["previous"]}
    assert state(desk.restarted()) == state(desk.title)


def test_the_title_goes_back_while_the_registry_has_yet_to_hear_of_the_challengers_rollback():
    desk = on_trial(policy(SHADOW, CANARY, PROMOTE, WATCH), Phase.CANARY)
    desk.command(C.ROLL_BACK)  # and MLflow is away
    (decided,) = desk.command(C.ROLL_BACK, to=3)
    assert (decided.rollout_id, decided.move) == (0, AliasMove(1, 3))
    assert desk.title.serving == Serving(champion=3)
    assert desk.read() == []
    assert kinds(desk.confirm()) == [K.MOVED]
    assert desk.read() == []
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.aliases == {"champion": 3, "challenger": None, "previous": 1}
    assert desk.title.finished == {(1, desk.policy.digest): "rejected", (2, desk.policy.digest): "rejected"}
    assert (desk.title.pending, desk.title.effect) == (None, None)
    assert state(desk.restarted()) == state(desk.title)
