"""How shots ended, and which decision is told as the one that ended them."""

import pytest
from desk import PROMOTE, SHADOW, WATCH, Desk, kinds, on_trial, policy

from comparator.events import CommandKind, DecisionKind
from comparator.phases import Phase


def told(desk):
    return {ending: (each.kind, each.actor, each.reason) for ending, each in desk.title.endings.decisions.items()}


def test_a_promotion_has_ended_once_the_registry_confirmed_it_by_the_decision_to_promote():
    desk = on_trial(policy(SHADOW, PROMOTE, WATCH), Phase.PROMOTING)
    assert told(desk) == {}
    desk.confirm()
    (decision,) = desk.title.endings.decisions.values()
    assert list(desk.title.endings.decisions) == desk.title.endings.untold == [(2, "promoted")]
    assert (decision.kind, decision.actor) == (DecisionKind.PROMOTE, "titleshot")
    assert decision.policy_digest == desk.policy.digest


def test_the_end_of_the_watch_tells_nothing_anew():
    desk = on_trial(policy(SHADOW, PROMOTE, WATCH), Phase.WATCH)
    ending = (2, "promoted")
    desk.title.endings.told(ending, desk.title.endings.decisions[ending])
    desk.answers()
    assert kinds(desk.tick(10_000)) == [DecisionKind.FINISH]
    assert desk.title.endings.untold == []


def test_who_is_rolled_back_in_the_watch_was_promoted_and_then_rejected():
    desk = on_trial(policy(SHADOW, PROMOTE, WATCH), Phase.WATCH)
    desk.command(CommandKind.ROLL_BACK, reason="complaints")
    desk.confirm()
    assert desk.title.endings.untold == [(2, "rejected"), (2, "promoted")]
    assert told(desk)[2, "rejected"] == (DecisionKind.ROLL_BACK, "ann", "complaints")
    assert told(desk)[2, "promoted"][0] is DecisionKind.PROMOTE


def test_a_title_that_goes_back_by_hand_is_told_of_the_version_that_loses_it():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTED)
    desk.command(CommandKind.ROLL_BACK, to=3, reason="the other one")
    desk.confirm()
    assert told(desk)[2, "rejected"] == (DecisionKind.ROLL_BACK, "ann", "the other one")
    assert {version for version, _ in told(desk)} == {2}


def test_a_rollback_to_a_third_version_ends_both_the_shot_and_the_reign():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.SHADOW)
    desk.command(CommandKind.ROLL_BACK, to=3, reason="neither")
    desk.confirm()
    assert {ending: reason for ending, (_, _, reason) in told(desk).items()} == {
        (1, "rejected"): "neither",
        (2, "rejected"): "neither",
    }


def test_an_abort_is_told_but_not_what_somebody_did_in_the_registry():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.SHADOW)
    desk.read(challenger=None)
    assert (desk.phase, told(desk)) == (Phase.ABORTED, {})
    desk.read(challenger=2)
    desk.command(CommandKind.ABORT, reason="not now")
    assert told(desk) == {(2, "aborted"): (DecisionKind.ABORT, "ann", "not now")}


def test_of_two_endings_alike_the_later_one_is_told():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.SHADOW)
    desk.command(CommandKind.ABORT, reason="first")
    first = desk.title.endings.decisions[2, "aborted"]
    desk.command(CommandKind.START, to=2, reason="again")
    desk.read(challenger=2)
    desk.command(CommandKind.ABORT, reason="second")
    desk.title.endings.told((2, "aborted"), first)  # was on its way to the registry meanwhile
    assert desk.title.endings.untold == [(2, "aborted")]
    assert told(desk)[2, "aborted"][2] == "second"


@pytest.mark.parametrize("champion", [1, 3])
def test_a_restart_tells_all_of_it_again(champion):
    desk = Desk(policy(SHADOW, PROMOTE), champion=champion)
    desk.read(challenger=2)
    desk.command(CommandKind.ABORT, reason="not now")
    again = desk.restarted()
    assert again.endings.decisions == desk.title.endings.decisions
    assert again.endings.untold == [(2, "aborted")]


def test_what_cannot_be_told_lets_the_others_go_first():
    desk = on_trial(policy(SHADOW, PROMOTE, WATCH), Phase.WATCH)
    desk.command(CommandKind.ROLL_BACK, reason="complaints")
    desk.confirm()
    desk.title.endings.postpone((2, "rejected"))
    assert desk.title.endings.untold == [(2, "promoted"), (2, "rejected")]
