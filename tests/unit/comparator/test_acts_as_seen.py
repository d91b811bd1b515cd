"""What a person asks for is about what they saw, and goes past nobody; each failed before its mend."""

from dataclasses import replace

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, Desk, kinds, on_trial, policy

from comparator.acts import NotOnTrial, Refused
from comparator.events import AliasMove, Command, CommandKind, DecisionKind
from comparator.phases import Phase
from comparator.policy import SignOff, Step, StepKind
from comparator.restraint import Restraint
from comparator.sign_off import not_allowed

C, K = CommandKind, DecisionKind


def roll_back(desk, after=1.0, **seen):
    desk.at += after
    return desk.take(replace(Command(desk.at, C.ROLL_BACK, "ann", "by hand"), **seen))


def judge_rolled_back():
    """Version 1 serves, 3 had the title before, and the judge has just taken version 2 out of its trial."""
    desk = Desk(policy(SHADOW, PROMOTE))
    desk.read(champion=3)
    desk.read(champion=1, previous=3)
    desk.read(challenger=2)
    desk.answers(60, failing=2)
    assert kinds(desk.tick()) == [K.ROLL_BACK]
    desk.confirm()
    desk.read()
    assert desk.phase is Phase.ROLLED_BACK
    return desk


def test_a_rollback_just_after_the_judges_own_moves_nothing_further_back():
    desk = judge_rolled_back()
    with pytest.raises(Refused, match="version 2 was taken out 2 s ago, and version 1 serves; name a version"):
        roll_back(desk)
    with pytest.raises(Refused, match="no version is on trial by now, not version 2"):
        roll_back(desk, champion=1, on_trial=2)  # as the person saw it
    assert desk.title.champion == 1
    assert kinds(roll_back(desk, champion=1, on_trial=0)) == [K.ROLL_BACK]  # who saw that it was over, and means it
    assert desk.title.champion == 3


@pytest.mark.parametrize("act", [C.REJECT, C.ABORT])
def test_a_rollback_just_after_somebody_else_took_the_challenger_out_moves_nothing_further_back(act):
    desk = Desk(policy(SHADOW, SIGNED))
    desk.read(champion=1, previous=3)
    desk.read(challenger=2)
    desk.answers()
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    desk.command(act, actor="ben")
    desk.confirm()
    desk.read()
    with pytest.raises(Refused, match=r"version 2 was taken out \d s ago, and version 1 serves; name a version"):
        roll_back(desk)
    assert kinds(roll_back(desk, after=60.0)) == [K.ROLL_BACK]


def test_a_rollback_counts_from_when_the_registry_confirmed_it():
    desk = Desk(policy(SHADOW, PROMOTE))
    desk.read(champion=1, previous=3)
    desk.read(challenger=2)
    roll_back(desk)
    desk.at += 300.0  # the registry is away
    desk.confirm()
    desk.read()
    with pytest.raises(Refused, match="version 2 was taken out"):
        roll_back(desk)
    assert desk.title.champion == 1


def test_a_champion_that_was_promoted_just_now_is_rolled_back_at_once():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTED)
    assert roll_back(desk)[0].move == AliasMove(2, 1)


@pytest.mark.parametrize(("pinned", "present"), [(PROMOTE, SIGNED), (SIGNED, PROMOTE)])
def test_in_mid_rollout_the_stricter_of_both_policies_says_where_a_rollback_may_go(pinned, present):
    desk = on_trial(policy(SHADOW, CANARY, pinned))
    desk.title.adopt(policy(SHADOW, CANARY, present))
    with pytest.raises(Refused, match="nothing says that version 3 ever had the title"):
        desk.command(C.ROLL_BACK, to=3)
    assert desk.title.champion == 1


def test_who_signs_after_signatures_went_void_is_the_first():
    desk = Desk(policy(SHADOW, Step(StepKind.PROMOTE, sign_off=SignOff(people=2))))
    desk.read(challenger=2)
    desk.answers()
    desk.tick()
    assert kinds(desk.command(C.SIGN_OFF, actor="ann")) == [K.SIGNED]
    rollout = desk.title.rollout
    (signature,) = rollout.signatures
    step, verdict, rails = signature.says
    rollout.signatures = (replace(signature, says=(step, verdict, rails[1:])),)  # as if more were asked by now
    (signed,) = desk.command(C.SIGN_OFF, actor="ben")  # before a tick has told that ann's is void
    assert signed.kind is K.SIGNED
    assert [each["name"] for each in signed.evidence["sign_off"]["signatures"]] == ["ben"]


def test_a_rollback_sent_twice_goes_back_once():
    desk = judge_rolled_back()
    roll_back(desk, after=120.0, champion=1, on_trial=0)
    desk.confirm()
    desk.read(previous=2)
    with pytest.raises(Refused, match="version 3 is the champion by now, not version 1"):
        roll_back(desk, champion=1, on_trial=0)


@pytest.mark.parametrize("steps", [(SHADOW, SIGNED), (SHADOW, CANARY, SIGNED)])
def test_nobody_gives_the_title_past_a_sign_off_by_a_rollback(steps):
    desk = on_trial(policy(*steps))
    desk.command(C.ABORT)
    with pytest.raises(Refused, match="nothing says that version 2 ever had the title, and the policy asks for a sign"):
        desk.command(C.ROLL_BACK, to=2)
    assert desk.title.champion == 1


def test_a_paused_rollout_is_not_signed_off():
    desk = on_trial(policy(SHADOW, SIGNED))
    desk.answers()
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    desk.command(C.PAUSE)
    with pytest.raises(Refused, match="paused; resume it first"):
        desk.command(C.SIGN_OFF)
    desk.command(C.RESUME)
    assert kinds(desk.command(C.SIGN_OFF)) == [K.PROMOTE]


def test_an_alert_from_while_the_challenger_was_held_says_nothing_of_it():
    desk = Desk(policy(SHADOW, PROMOTE, restraint=Restraint(cool_down_seconds=300.0)))
    desk.read(challenger=3)
    desk.command(C.ROLL_BACK)
    desk.confirm()
    desk.read(challenger=2)
    assert desk.phase is Phase.HELD
    began = desk.at + 10.0
    desk.at += 400.0
    desk.read()
    assert desk.phase is Phase.SHADOW
    with pytest.raises(NotOnTrial, match="began before version 2 was on trial"):
        desk.take(Command(desk.at, C.ALERT, "alertmanager", "alert", since=began))
    desk.take(Command(desk.at + 1, C.ALERT, "alertmanager", "alert", since=desk.at))
    assert desk.phase is Phase.ROLLING_BACK


def test_capitals_make_nobody_somebody_else():
    rules = SignOff(people=2, not_registrant=True)
    assert "registered the version" in (not_allowed(rules, "ann", ["Ann"], []) or "")
    assert not_allowed(rules, "ann", ["ben"], []) is None
