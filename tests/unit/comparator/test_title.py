import dataclasses

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, Desk, kinds, on_trial, policy, state

from comparator.events import AliasMove, CommandKind, DecisionKind, Mode, Role, VersionFacts
from comparator.phases import Phase
from comparator.policy import Gate, Step, StepKind
from comparator.title import REGISTRY, Refused, Serving

C, K = CommandKind, DecisionKind


@pytest.fixture(autouse=True)
def restart_agrees(monkeypatch):
    """Every desk of a test is restarted at its end: the same facts give the same state."""
    desks = []
    init = Desk.__init__
    monkeypatch.setattr(Desk, "__init__", lambda self, *a, **k: (init(self, *a, **k), desks.append(self))[0])
    yield
    for desk in desks:
        fresh = desk.restarted()
        assert state(fresh) == state(desk.title)
        assert fresh.champion in (None, desk.title.champion)


def promoted():
    desk = on_trial(phase=Phase.WATCH)
    desk.answers()
    desk.tick()
    desk.confirm()
    desk.read()
    assert desk.phase is Phase.PROMOTED
    return desk


def test_the_whole_way_to_the_title():
    desk = Desk()
    assert desk.read() == []
    assert desk.title.serving == Serving(champion=1)
    (started,) = desk.read(challenger=2)
    assert started.kind is K.START
    serving = desk.title.serving
    assert (serving.other, serving.mode, serving.mirror, serving.share) == (2, Mode.SHADOW, 100, 0)
    desk.answers()
    assert kinds(desk.tick()) == [K.ADVANCE]
    serving = desk.title.serving
    assert (serving.mode, serving.mirror, serving.share) == (Mode.CANARY, 0, 10)
    desk.answers()
    (promotion,) = desk.tick()
    assert promotion.move == AliasMove(1, 2)
    assert desk.title.serving.champion == 1  # the record comes first, the registry second, the routes last
    effect = desk.title.effect
    assert effect is not None
    assert (effect.move, effect.previous, effect.marks, effect.clear_challenger) == (AliasMove(1, 2), 1, (), None)
    assert kinds(desk.confirm()) == [K.MOVED]
    serving = desk.title.serving
    assert (serving.champion, serving.other, serving.other_role) == (2, 1, Role.PREVIOUS)
    assert (serving.mode, serving.share, serving.mirror, serving.previous) == (Mode.WATCH, 0, 100, 1)
    desk.answers()
    assert kinds(desk.tick()) == [K.FINISH]
    assert desk.title.serving == Serving(champion=2, previous=1)
    effect = desk.title.effect
    assert effect is not None
    assert (effect.marks, effect.clear_challenger, effect.confirms) == (((2, "promoted"),), 2, False)
    desk.confirm()
    assert desk.read() == []
    assert desk.aliases == {"champion": 2, "challenger": None, "previous": 1}
    assert desk.title.effect is None


def test_without_a_watch_the_title_is_won_when_it_has_moved():
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTING)
    assert kinds(desk.confirm()) == [K.MOVED]
    assert desk.phase is Phase.PROMOTED
    assert desk.title.serving == Serving(champion=2, previous=1)


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF])
def test_harm_before_the_title_takes_the_challenger_out(phase):
    desk = on_trial(policy(SHADOW, CANARY, SIGNED), phase)
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert (decided.kind, decided.move, decided.trigger) == (K.ROLL_BACK, None, "breaker")
    assert desk.title.serving == Serving(champion=1)  # at once
    effect = desk.title.effect
    assert effect is not None
    assert (effect.move, effect.marks, effect.clear_challenger) == (None, ((2, "rejected"),), 2)
    assert kinds(desk.confirm()) == [K.MOVED]
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.read() == []
    assert desk.aliases == {"champion": 1, "challenger": None, "previous": None}


@pytest.mark.parametrize("registry_moved", [False, True])
def test_harm_while_the_registry_has_yet_to_confirm(registry_moved):
    desk = on_trial(policy(SHADOW, PROMOTE), Phase.PROMOTING)
    if registry_moved:
        desk.aliases.update(champion=2, previous=1)
        assert desk.read() == []  # our own move
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert decided.move == AliasMove(2, 1)
    assert desk.title.serving.champion == 1
    assert desk.read() == []
    desk.confirm()
    assert desk.read() == []
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.aliases["champion"] == 1
    assert desk.aliases["challenger"] is None


def test_harm_in_the_watch_gives_the_title_back_and_masks_the_alias_until_it_has_moved():
    desk = on_trial(phase=Phase.WATCH)
    desk.answers(60, failing=2)
    (decided,) = desk.tick()
    assert (decided.kind, decided.move) == (K.ROLL_BACK, AliasMove(2, 1))
    assert desk.title.serving == Serving(champion=1, previous=1)
    assert desk.read() == []  # @champion still names 2: that is what we are about to change
    assert desk.title.serving.champion == 1
    desk.confirm()
    assert desk.aliases == {"champion": 1, "challenger": None, "previous": 2}
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.read() == []
    with pytest.raises(Refused, match="@previous is version 2, which was rejected"):
        desk.command(C.ROLL_BACK)


@pytest.mark.parametrize(
    "phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF, Phase.PROMOTING, Phase.WATCH], ids=lambda phase: phase.value
)
@pytest.mark.parametrize("how", ["operator", "breaker"])
def test_a_rollback_from_every_phase(phase, how):
    signed = phase is Phase.SIGN_OFF
    desk = on_trial(policy(SHADOW, CANARY, SIGNED if signed else PROMOTE, WATCH), phase)
    (decided,) = desk.command(C.ROLL_BACK) if how == "operator" else desk.breaker()
    assert (decided.trigger, decided.actor) == (how, "ann" if how == "operator" else "titleshot")
    assert desk.title.serving.champion == 1
    assert desk.title.serving.mode is Mode.NONE
    assert desk.tick() == []
    desk.confirm()
    desk.read()
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.title.finished == {(2, desk.policy.digest): "rejected"}
    assert desk.aliases["champion"] == 1
    assert desk.title.effect is None
    assert desk.read(challenger=2) == []  # it had its shot
    desk.confirm()
    assert desk.aliases["challenger"] is None


def test_a_gate_that_is_not_passed_holds_and_says_so_once():
    desk = Desk(dataclasses.replace(policy(), gate=Gate.OFFLINE))
    (held,) = desk.read(challenger=2)
    assert (held.kind, desk.phase) == (K.HOLD, Phase.HELD)
    assert "no git SHA" in held.reason
    assert desk.read() == []
    desk.facts[2] = VersionFacts(2, git_sha="abc")
    (again,) = desk.read()
    assert "git SHA" not in again.reason
    assert again.rollout_id == held.rollout_id
    desk.facts[2] = VersionFacts(2, {"precision": 0.9}, "abc", "def")
    (started,) = desk.read()
    assert (started.kind, started.rollout_id, desk.phase) == (K.START, held.rollout_id, Phase.SHADOW)


def test_an_endpoint_that_is_not_ready_holds():
    desk = Desk()
    desk.ready = frozenset({1})
    (held,) = desk.read(challenger=2)
    assert "has not answered its readiness probe" in held.reason
    assert desk.title.serving == Serving(champion=1)
    desk.ready = frozenset({1, 2})
    assert kinds(desk.read()) == [K.START]


def test_a_held_rollout_that_is_paused_does_not_start():
    desk = Desk()
    desk.ready = frozenset({1})
    desk.read(challenger=2)
    desk.command(C.PAUSE)
    desk.ready = frozenset({1, 2})
    assert desk.read() == []
    desk.command(C.RESUME)
    assert kinds(desk.read()) == [K.START]


def test_a_sign_off_promotes_and_only_when_asked_for():
    desk = on_trial(policy(SHADOW, SIGNED))
    with pytest.raises(Refused, match="cannot sign off: the rollout of version 2 is shadow"):
        desk.command(C.SIGN_OFF)
    desk.answers()
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    assert desk.title.serving.mirror == 100  # still compared and guarded
    desk.answers()
    assert desk.tick() == []
    (promotion,) = desk.command(C.SIGN_OFF)
    assert (promotion.kind, promotion.actor) == (K.PROMOTE, "ann")


def test_paused_nothing_advances_but_harm_rolls_back():
    desk = on_trial()
    desk.command(C.PAUSE)
    with pytest.raises(Refused, match="paused"):
        desk.command(C.PAUSE)
    desk.answers()
    assert desk.tick() == []
    desk.command(C.RESUME)
    with pytest.raises(Refused, match="cannot resume"):
        desk.command(C.RESUME)
    assert kinds(desk.tick()) == [K.ADVANCE]
    desk.command(C.PAUSE)
    desk.answers(60, failing=2)
    assert kinds(desk.tick()) == [K.ROLL_BACK]


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF])
def test_a_person_may_promote(phase):
    desk = on_trial(policy(SHADOW, CANARY, SIGNED), phase)
    assert kinds(desk.command(C.PROMOTE)) == [K.PROMOTE]
    with pytest.raises(Refused, match="cannot promote: the rollout of version 2 is promoting"):
        desk.command(C.PROMOTE)


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF])
def test_a_person_may_abort(phase):
    desk = on_trial(policy(SHADOW, CANARY, SIGNED), phase)
    assert kinds(desk.command(C.ABORT)) == [K.ABORT]
    assert desk.title.serving == Serving(champion=1)
    desk.confirm()
    assert desk.aliases["challenger"] is None
    assert desk.read() == []
    with pytest.raises(Refused):
        desk.command(C.ABORT)


def test_a_watch_cannot_be_aborted():
    with pytest.raises(Refused, match="cannot abort: the rollout of version 2 is watch"):
        on_trial(phase=Phase.WATCH).command(C.ABORT)


def test_another_challenger_supersedes_and_the_next_read_starts_it():
    desk = on_trial()
    (ended,) = desk.read(challenger=3)
    assert (ended.kind, ended.actor, desk.phase) == (K.SUPERSEDE, REGISTRY, Phase.SUPERSEDED)
    assert desk.title.serving == Serving(champion=1)
    (started,) = desk.read()
    assert (started.kind, started.version) == (K.START, 3)
    assert kinds(desk.read(challenger=2)) == [K.SUPERSEDE]  # and back: it has not had its shot
    assert kinds(desk.read()) == [K.START]


@pytest.mark.parametrize("named", [None, 1])
def test_a_challenger_that_is_named_no_more_ends_its_rollout(named):
    desk = on_trial()
    assert kinds(desk.read(challenger=named)) == [K.ABORT]
    assert desk.read() == []
    assert kinds(desk.read(challenger=2)) == [K.START]


def test_a_new_challenger_waits_until_the_watch_is_over():
    desk = on_trial(phase=Phase.WATCH)
    desk.confirm()
    assert desk.read(challenger=3) == []
    desk.answers()
    assert kinds(desk.tick()) == [K.FINISH]
    (started,) = desk.read()
    assert (started.kind, started.version) == (K.START, 3)


def test_champion_and_challenger_the_same_is_no_rollout():
    desk = Desk()
    assert desk.read(challenger=1) == []
    assert desk.title.effect is None


def test_a_champion_moved_by_hand_is_followed_once_it_is_ready():
    desk = Desk()
    desk.read()
    desk.ready = frozenset({1})
    assert desk.read(champion=3) == []
    assert (desk.title.awaited, desk.title.serving.champion) == (3, 1)
    desk.ready = frozenset({1, 3})
    (followed,) = desk.read()
    assert (followed.kind, followed.actor, followed.rollout_id) == (K.FOREIGN_MOVE, REGISTRY, 0)
    assert (desk.title.awaited, desk.title.serving.champion) == (None, 3)


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF, Phase.PROMOTING, Phase.WATCH])
def test_a_foreign_move_wins_and_ends_the_rollout(phase):
    signed = phase is Phase.SIGN_OFF
    desk = on_trial(policy(SHADOW, CANARY, SIGNED if signed else PROMOTE, WATCH), phase)
    desk.confirm() if phase is Phase.WATCH else None
    (moved,) = desk.read(champion=3)
    assert moved.kind is K.FOREIGN_MOVE
    assert (desk.phase, desk.title.serving.champion, desk.title.pending) == (Phase.ABORTED, 3, None)


def test_a_foreign_move_during_a_rollback_wins_too():
    desk = on_trial(phase=Phase.WATCH)
    desk.command(C.ROLL_BACK)
    assert kinds(desk.read(champion=3)) == [K.FOREIGN_MOVE]
    assert (desk.phase, desk.title.serving.champion, desk.title.pending) == (Phase.ABORTED, 3, None)


def test_a_challenger_made_champion_by_hand_has_no_rollout_left():
    desk = on_trial()
    assert kinds(desk.read(champion=2)) == [K.FOREIGN_MOVE]
    assert desk.read() == []
    assert desk.title.serving.champion == 2


def test_an_alias_that_is_gone_moves_nobody():
    desk = Desk()
    desk.read()
    assert desk.read(champion=None) == []
    assert desk.title.serving.champion == 1


def test_with_nothing_serving_a_server_that_still_starts_is_better_than_none():
    desk = Desk(champion=None)
    desk.ready = frozenset()
    assert desk.read() == []
    assert desk.title.serving.champion is None
    assert desk.read(champion=1, challenger=2) != []
    assert desk.title.serving.champion == 1


def test_the_title_can_be_moved_back_by_hand():
    desk = promoted()
    (decided,) = desk.command(C.ROLL_BACK)
    assert (decided.kind, decided.move, decided.rollout_id) == (K.ROLL_BACK, AliasMove(2, 1), 0)
    assert desk.title.serving.champion == 1  # routes first
    assert desk.read() == []
    with pytest.raises(Refused, match="is under way"):
        desk.command(C.ROLL_BACK)
    assert kinds(desk.confirm()) == [K.MOVED]
    assert desk.aliases == {"champion": 1, "challenger": None, "previous": 2}
    assert desk.read() == []
    with pytest.raises(Refused, match="which was rejected; name a version"):
        desk.command(C.ROLL_BACK)
    (decided,) = desk.command(C.ROLL_BACK, to=2)  # whoever names it means it
    assert decided.move == AliasMove(1, 2)


@pytest.mark.parametrize(
    ("to", "ready", "why"),
    [
        (None, {1, 2, 3}, "there is no @previous"),
        (1, {1, 2, 3}, "is the champion already"),
        (3, {1, 2}, "is not ready"),
    ],
)
def test_where_the_title_cannot_go_back_to(to, ready, why):
    desk = Desk()
    desk.ready = frozenset(ready)
    desk.read()
    with pytest.raises(Refused, match=why):
        desk.command(C.ROLL_BACK, to=to)


def test_nothing_goes_back_before_the_registry_has_been_read():
    with pytest.raises(Refused, match="has not been read"):
        Desk().command(C.ROLL_BACK)


def test_nothing_goes_back_where_the_registry_names_no_champion():
    desk = Desk()
    desk.read(champion=None)
    with pytest.raises(Refused, match="there is no champion"):
        desk.command(C.ROLL_BACK)


def test_a_named_rollback_in_mid_rollout_ends_it_and_moves_the_title():
    desk = on_trial()
    (decided,) = desk.command(C.ROLL_BACK, to=3)
    assert decided.move == AliasMove(1, 3)
    assert desk.title.serving == Serving(champion=3)
    desk.confirm()
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.aliases == {"champion": 3, "challenger": None, "previous": 1}
    desk.read()
    with pytest.raises(Refused, match="@previous is version 1, which was rejected"):
        desk.command(C.ROLL_BACK)


def test_a_rollback_to_the_version_on_trial_is_refused():
    with pytest.raises(Refused, match="is on trial"):
        on_trial().command(C.ROLL_BACK, to=2)


def test_a_rollback_under_way_is_not_begun_again():
    desk = on_trial()
    desk.command(C.ROLL_BACK)
    with pytest.raises(Refused, match="roll"):
        desk.command(C.ROLL_BACK)


def test_a_version_that_had_its_shot_gets_another_when_a_person_says_so():
    desk = on_trial()
    desk.command(C.ROLL_BACK)
    desk.confirm()
    assert desk.read(challenger=2) == []
    desk.confirm()
    (again,) = desk.command(C.START, to=2)
    assert (again.kind, again.version) == (K.RETRY, 2)
    assert desk.read() == []
    desk.confirm()
    assert desk.aliases["challenger"] == 2
    (started,) = desk.read()
    assert started.kind is K.START
    assert desk.title.retry is None
    assert desk.restarted().retry is None


def test_a_version_that_had_no_shot_needs_no_retry():
    desk = Desk()
    desk.read()
    with pytest.raises(Refused, match="has not had its shot"):
        desk.command(C.START, to=2)
    with pytest.raises(Refused, match="cannot start: there is no rollout"):
        desk.command(C.START)


def test_a_changed_policy_is_for_the_next_rollout_but_lowers_the_share_at_once():
    rules = policy(Step(StepKind.CANARY, 20), Step(StepKind.CANARY, 50), PROMOTE)
    desk = on_trial(rules, Phase.CANARY)
    lower = policy(Step(StepKind.CANARY, 5), Step(StepKind.CANARY, 30), PROMOTE)
    desk.title.adopt(lower)
    assert desk.title.rollout.policy is rules
    assert desk.title.serving.share == 5
    desk.title.adopt(policy(Step(StepKind.CANARY, 90), PROMOTE))
    assert desk.title.serving.share == 20  # never raised
    desk.title.adopt(lower)
    desk.answers()
    desk.tick()
    assert desk.title.serving.share == 30
    assert desk.restarted(lower).serving.share == 30


def test_a_version_rejected_under_one_policy_may_try_under_another():
    desk = on_trial()
    desk.command(C.ROLL_BACK)
    desk.confirm()
    desk.title.adopt(policy(SHADOW, PROMOTE))
    assert kinds(desk.read(challenger=2)) == [K.START]


def test_facts_about_another_rollout_change_nothing():
    desk = on_trial()
    assert desk.breaker(rollout_id=1) == []
    assert desk.phase is Phase.SHADOW


def test_ticks_without_a_rollout_do_nothing():
    desk = Desk()
    assert desk.tick() == []
    assert desk.breaker() == []
    assert desk.title.moved(1.0, "nothing was") is None
