"""Webhooks that confirm and are told: what holds, what rejects, and what a restart knows."""

from dataclasses import replace

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, Desk, kinds, policy, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comparator.confirming import Ask
from comparator.events import CommandKind, Confirmation, DecisionKind, Notified
from comparator.outside import Outside
from comparator.phases import Phase
from comparator.proof import proven, recompute
from comparator.restraint import Restraint

K = DecisionKind
START = Outside(confirm_start=("board", "desk"))
TITLE = Outside(confirm_promote=("desk",))
TOLD = Outside(on_rollback=("chat", "pager"))


class Office(Desk):
    """A desk with webhooks: `say` is an answer to what is asked now, or was."""

    def asked(self):
        return [(each.ask.value, each.webhook) for each in self.title.questions(self.at)]

    def say(self, verdict, webhook="desk", ask=None, reason="because", **changes):
        rollout = self.title.rollout
        ask = ask or (Ask.START if rollout.phase is Phase.HELD else Ask.PROMOTE)
        about = rollout.rollout_id, rollout.step, rollout.policy.digest
        fact = Confirmation(self.at, *about, ask.value, webhook, verdict, reason)
        return self.take(replace(fact, **changes))

    def tell(self, webhook, problem="", number=None):
        self.at += 1
        number = number or next(iter(self.title.notices.open))
        return self.take(Notified(self.at, number, webhook, "", problem))


def office(outside, *steps, **changes):
    desk = Office(policy(*steps or (SHADOW, PROMOTE, WATCH), outside=outside, **changes))
    desk.read(challenger=2)
    return desk


def test_a_start_waits_for_everybody_to_confirm():
    desk = office(START)
    assert (desk.phase, desk.title.rollout.hold_reason) == (
        Phase.HELD,
        "waiting for board and desk to confirm the start",
    )
    assert desk.asked() == [("confirm_start", "board"), ("confirm_start", "desk")]
    (confirmed,) = desk.say("pass")
    assert (confirmed.kind, confirmed.actor, confirmed.trigger) == (K.CONFIRMED, "webhook:desk", "webhook")
    assert confirmed.reason == "desk confirmed the start: because"
    assert desk.asked() == [("confirm_start", "board")]  # at once
    (held,) = desk.read()
    assert held.reason == "waiting for board to confirm the start"
    assert desk.asked() == [("confirm_start", "board")]
    assert state(desk.restarted()) == state(desk.title)
    desk.say("pass", "board")
    (started,) = desk.read()
    assert (started.kind, desk.phase) == (K.START, Phase.SHADOW)
    assert state(desk.restarted()) == state(desk.title)


@pytest.mark.parametrize("answers", [["inconclusive"], ["inconclusive"] * 50, []])
def test_what_is_inconclusive_holds(answers):
    desk = office(START)
    for verdict in answers:
        assert desk.say(verdict, reason="no connection") == []
        assert desk.read() == []
    assert desk.phase is Phase.HELD
    (latest,) = desk.title.rollout.confirmations.as_data() or [{"verdict": "inconclusive"}]
    assert latest["verdict"] == "inconclusive"


def test_a_start_that_is_turned_down_rejects_the_version():
    desk = office(START)
    (rejected,) = desk.say("fail", "board", reason="no change ticket")
    assert (rejected.kind, rejected.actor) == (K.REJECT, "webhook:board")
    assert rejected.reason == "board turned the start down: no change ticket"
    assert desk.title.effect.marks == ((2, "rejected"),)
    desk.confirm()
    assert (desk.phase, desk.aliases["challenger"]) == (Phase.ROLLED_BACK, None)
    assert desk.read(challenger=2) == []  # it has had its shot
    assert state(desk.restarted()) == state(desk.title)
    desk.command(CommandKind.START, to=2)
    desk.confirm()
    desk.read()
    assert desk.phase is Phase.HELD
    assert desk.asked()  # another rollout is confirmed anew


def test_others_are_asked_only_when_all_else_is_there():
    desk = Office(policy(outside=START, restraint=Restraint(cool_down_seconds=100.0)))
    desk.ready = frozenset({1})
    desk.read(challenger=2)
    assert "readiness probe" in desk.title.rollout.hold_reason
    assert desk.asked() == []
    assert desk.say("pass") == []
    desk.ready = frozenset({1, 2})
    desk.read()
    assert desk.asked()
    desk.command(CommandKind.PAUSE)
    assert desk.asked() == []
    assert desk.say("pass") == []
    desk.command(CommandKind.RESUME)
    assert desk.asked()


def test_another_policy_is_confirmed_anew():
    desk = office(Outside(confirm_start=("board", "desk")))
    desk.say("pass", "board")
    desk.title.adopt(policy(outside=Outside(confirm_start=("board",))))
    desk.read()
    assert desk.asked() == [("confirm_start", "board")]


def test_two_may_confirm_in_the_same_moment():
    desk = office(START)
    assert kinds(desk.say("pass", "board")) == [K.CONFIRMED]
    assert kinds(desk.say("pass", "desk")) == [K.CONFIRMED]
    assert kinds(desk.read()) == [K.START]


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_policy_that_asks_the_same_is_confirmed_anew_too(confirmed):
    desk = office(START)
    if confirmed:
        desk.say("pass", "board")
        desk.say("pass", "desk")
    desk.title.adopt(policy(outside=START, alpha=0.01))
    assert kinds(desk.read()) == [K.HOLD]
    assert desk.read() == []
    assert desk.asked() == [("confirm_start", "board"), ("confirm_start", "desk")]
    desk.say("pass", "board")
    desk.say("pass", "desk")
    assert kinds(desk.read()) == [K.START]
    assert desk.title.rollout.policy.alpha == 0.01
    assert state(desk.restarted()) == state(desk.title)


def test_a_promotion_waits_for_its_confirmation_and_stays_guarded():
    desk = office(TITLE)
    assert desk.asked() == []  # nothing to promote yet
    desk.answers()
    assert desk.tick() == []
    assert desk.asked() == [("confirm_promote", "desk")]
    (question,) = desk.title.questions(desk.at)
    assert (question.verdict, question.phase, question.champion) == ("pass", "shadow", 1)
    assert question.evidence_digest == desk.look()
    for _ in range(5):
        assert desk.say("inconclusive") == []
        assert desk.tick() == []
    assert desk.say("pass", rollout_id=1) == []
    assert desk.say("pass", step=1) == []
    assert desk.say("pass", webhook="board") == []
    assert kinds(desk.say("pass")) == [K.CONFIRMED]
    assert desk.asked() == []
    assert desk.say("fail") == []  # it has answered
    assert state(desk.restarted()) == state(desk.title)
    (promoted,) = desk.tick()
    assert promoted.kind is K.PROMOTE


def test_harm_rolls_back_while_a_confirmation_is_waited_for():
    desk = office(TITLE)
    desk.answers()
    desk.tick()
    assert desk.asked()
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert decided.kind is K.ROLL_BACK
    assert desk.asked() == []
    assert desk.say("pass") == []


def test_a_pass_for_evidence_that_has_turned_does_not_count():
    desk = office(TITLE)
    desk.answers()
    desk.tick()
    desk.command(CommandKind.PAUSE)
    assert desk.say("pass") == []
    desk.command(CommandKind.RESUME)
    assert desk.asked()


def test_a_promotion_that_is_turned_down_takes_the_challenger_out():
    desk = office(TITLE, CANARY, PROMOTE)
    desk.answers(60)
    desk.tick()
    assert desk.asked()
    before = list(desk.recorded)
    about = desk.title.rollout.rollout_id, 0, desk.policy.digest
    fact = Confirmation(desk.at, *about, "confirm_promote", "desk", "fail", "not today")
    (proposal,) = desk.title.receive(fact)
    kept = proven(desk.title, proposal)
    decisions = [each for each in before if hasattr(each, "kind")]
    assert recompute(decisions, kept.decision, kept.state, desk.policy).differences == ()
    (rejected,) = desk.take(fact)
    assert (rejected.kind, rejected.phase) == (K.REJECT, "rolling_back")
    assert desk.title.serving.share == 0
    assert desk.title.champion == 1


def test_an_answer_about_another_policy_starts_nothing():
    desk = office(START)
    digest, (before, _) = desk.title.rollout.policy.digest, desk.title.questions(desk.at)
    desk.title.adopt(policy(CANARY, PROMOTE, outside=START))
    desk.read()
    for webhook in START.confirm_start:
        assert desk.say("pass", webhook, policy_digest=digest) == []
    assert desk.phase is Phase.HELD
    assert desk.title.questions(desk.at)[0].id != before.id
    desk.say("pass", "desk")
    assert kinds(desk.say("pass", "board") + desk.read()) == [K.CONFIRMED, K.START]


def test_people_are_asked_after_webhooks_and_have_the_last_word():
    desk = office(TITLE, SHADOW, SIGNED)
    desk.answers()
    assert desk.tick() == []
    desk.say("pass")
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    assert kinds(desk.command(CommandKind.SIGN_OFF)) == [K.PROMOTE]


def test_a_promotion_that_was_confirmed_is_decided_again():
    desk = office(TITLE)
    desk.answers()
    desk.tick()
    desk.say("pass")
    from comparator.events import Tick

    (proposal,) = desk.title.receive(Tick(desk.at + 1))
    kept = proven(desk.title, proposal)
    before = [each for each in desk.recorded if hasattr(each, "kind")]
    again = recompute(before, kept.decision, kept.state, desk.policy)
    assert (again.differences, again.decision.kind) == ((), K.PROMOTE)
    unconfirmed = [each for each in before if each.kind is not K.CONFIRMED]
    assert recompute(unconfirmed, kept.decision, kept.state, desk.policy).differences


def test_who_is_told_of_a_rollback_and_until_when():
    desk = office(TOLD)
    desk.answers()
    desk.command(CommandKind.ROLL_BACK)
    (number, notice), *_ = desk.title.notices.open.items()
    assert (notice.webhooks, notice.champion, notice.decision.kind) == ({"chat", "pager"}, 1, K.ROLL_BACK)
    assert len(notice.evidence_digest) == 64
    assert desk.tell("chat", problem="the answer was 500") == []
    assert desk.tell("somebody") == []
    assert state(desk.restarted()) == state(desk.title)
    assert desk.restarted().notices.open == desk.title.notices.open
    (told,) = desk.tell("chat")
    assert (told.kind, told.rollout_id, told.reason) == (K.TOLD, 0, "chat was told of the roll back")
    assert desk.tell("chat") == []
    desk.confirm()
    desk.read(challenger=3)
    desk.tell("pager")
    assert desk.title.notices.open == {}
    assert desk.tell("pager", number=number) == []
    assert state(desk.restarted()) == state(desk.title)


def test_a_title_that_is_moved_back_is_told_too():
    desk = office(TOLD)
    desk.answers()
    desk.tick()
    desk.confirm()
    assert desk.phase is Phase.WATCH
    desk.command(CommandKind.ROLL_BACK)
    (notice,) = desk.title.notices.open.values()
    assert (notice.decision.version, notice.champion) == (2, 1)
    assert state(desk.restarted()) == state(desk.title)


def test_nobody_is_told_of_rollbacks_under_a_policy_that_named_nobody():
    desk = office(Outside())
    desk.answers()
    desk.command(CommandKind.ROLL_BACK)
    assert desk.title.notices.open == {}
    assert desk.restarted(policy(outside=TOLD)).notices.open == {}


ASKED = st.builds(
    Outside,
    st.just(()),
    st.sampled_from([(), ("desk",), ("board", "desk")]),
    st.sampled_from([(), ("desk",), ("board", "desk")]),
    st.sampled_from([("pager",), ("chat", "pager")]),
)
moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            st.sampled_from(["pass", "pass", "pass", "inconclusive", "fail"]),
            st.sampled_from(["board", "desk"]),
        ),
        st.tuples(st.just("go on"), st.sampled_from([None, None, None, 2])),
        st.tuples(st.just("confirm")),
        st.tuples(st.just("name"), st.sampled_from([2, 3])),
        st.tuples(st.just("tell"), st.sampled_from(["chat", "pager"]), st.booleans()),
    ),
    min_size=8,
    max_size=40,
)


@settings(max_examples=3 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ASKED, moves)
def test_whatever_happens_nothing_goes_forward_unconfirmed_and_a_restart_comes_to_the_same(outside, life):
    desk = office(outside, SHADOW, PROMOTE, WATCH)
    for what, *rest in life:
        if what == "say" and desk.title.rollout.active:
            decided = desk.say(*rest)
            assert not decided or rest[0] != "inconclusive"
            desk.read()
        elif what == "go on":
            desk.answers(40, failing=rest[0])
            desk.tick()
        elif what == "name":
            desk.read(challenger=rest[0])
            desk.read()
        elif what == "tell" and desk.title.notices.open:
            desk.tell(rest[0], "no connection" if rest[1] else "")
        elif what == "confirm":
            desk.confirm()
    assert state(desk.restarted()) == state(desk.title)
    decisions = [each for each in desk.recorded if hasattr(each, "kind")]
    for index, each in enumerate(decisions):
        if each.kind not in (K.START, K.PROMOTE):
            continue
        what = "confirm_start" if each.kind is K.START else "confirm_promote"
        said = [
            one.evidence["confirmation"]["webhook"]
            for one in decisions[:index]
            if one.kind is K.CONFIRMED
            and one.rollout_id == each.rollout_id
            and one.evidence["confirmation"]["what"] == what
        ]
        assert sorted(said) == list(getattr(outside, what))
    told = [each for each in decisions if each.kind is K.TOLD]
    ended = [each for each in decisions if each.kind in (K.ROLL_BACK, K.REJECT)]
    left = sum(len(notice.webhooks) for notice in desk.title.notices.open.values())
    assert len(told) + left == len(outside.on_rollback) * len(ended)
