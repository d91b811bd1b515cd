"""Signing off: under which evidence, by whom, and when it is void."""

import json
from dataclasses import replace

import numpy as np
import pytest
from desk import CANARY, SHADOW, SIGNED, Desk, kinds, on_trial, policy, state
from hypothesis import given
from hypothesis import strategies as st

from comparator.acts import NotOnTrial
from comparator.events import (
    OBSERVATION,
    AliasMove,
    Command,
    CommandKind,
    DecisionKind,
    Mode,
    Observations,
    VersionFacts,
)
from comparator.guardrail import Verdict
from comparator.phases import Phase
from comparator.policy import Policy, SignOff, Step, StepKind
from comparator.policy_error import PolicyError
from comparator.sign_off import NOBODY, Screen, Shown, Signature, not_allowed, says, signatures_in
from comparator.title import Refused

C, K = CommandKind, DecisionKind


def asked(**rules):
    return policy(SHADOW, Step(StepKind.PROMOTE, sign_off=SignOff(**rules)))


def waiting(rules=None, registered_by=()):
    """A desk whose rollout of version 2, registered by these, waits for a sign-off."""
    desk = Desk(rules or policy(SHADOW, SIGNED))
    desk.facts[2] = VersionFacts(2, {}, registered_by=tuple(registered_by))
    desk.read(challenger=2)
    desk.answers()
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    return desk


def restarts_the_same(desk):
    fresh = desk.restarted()
    assert state(fresh) == state(desk.title)
    return fresh


# ---- reasons


@pytest.mark.parametrize("kind", list(C))
@pytest.mark.parametrize("reason", ["", "  "])
def test_every_act_needs_a_reason(kind, reason):
    desk = waiting()
    desk.look()
    with pytest.raises(Refused, match="expected a reason"):
        desk.command(kind, reason=reason)
    assert desk.phase is Phase.SIGN_OFF


# ---- under which evidence


def test_a_sign_off_names_signer_time_and_the_digest_of_what_was_on_the_screen():
    desk = waiting()
    digest = desk.look()
    (promotion,) = desk.command(C.SIGN_OFF, evidence=digest, reason="looks good")
    assert (promotion.kind, promotion.actor, promotion.reason) == (K.PROMOTE, "ann", "looks good")
    assert promotion.evidence["verdict"] == "pass"  # the evidence as of the sign-off
    kept = promotion.evidence["sign_off"]
    (signature,) = kept["signatures"]
    assert (signature["name"], signature["at"], signature["evidence_digest"]) == ("ann", promotion.at, digest)
    rollout = desk.title.rollout
    assert Screen(rollout.rollout_id, 0, kept["shown"]).digest == digest  # whoever has the record can tell again
    restarts_the_same(desk)


def test_more_of_the_same_evidence_is_no_other_evidence():
    desk = waiting()
    digest = desk.look()
    desk.answers()
    desk.tick()
    assert desk.look() != digest
    assert kinds(desk.command(C.SIGN_OFF, evidence=digest)) == [K.PROMOTE]


def test_without_a_digest_nobody_signs():
    desk = waiting()
    with pytest.raises(Refused, match="expected the digest of the evidence that you looked at"):
        desk.take(Command(desk.at, C.SIGN_OFF, "ann", "x"))


def test_a_digest_that_nobody_was_shown():
    desk = waiting()
    rollout = desk.title.rollout
    unseen = Screen(rollout.rollout_id, 0, rollout.report(desk.at).as_data()).digest
    for digest in (unseen, "0" * 64, "x"):
        with pytest.raises(Refused, match="not shown lately: look again"):
            desk.command(C.SIGN_OFF, evidence=digest)


def test_a_look_of_long_ago():
    desk = waiting()
    digest = desk.look()
    desk.at += 901
    with pytest.raises(Refused, match="look again"):
        desk.command(C.SIGN_OFF, evidence=digest)


def test_a_look_at_another_rollout():
    desk = waiting()
    digest = desk.look()
    desk.command(C.ABORT)
    desk.confirm()
    desk.read(challenger=3)
    desk.answers()
    assert kinds(desk.tick()) == [K.AWAIT_SIGN_OFF]
    with pytest.raises(Refused, match="another rollout"):
        desk.command(C.SIGN_OFF, evidence=digest)


def copies_are_shed(desk, count=20):
    """So many that the evidence is no pass any more: what is shed is not chosen at random."""
    rows = np.zeros(count, dtype=OBSERVATION)
    rollout = desk.title.rollout
    rows["at"], rows["rollout_id"], rows["mode"], rows["shed"] = desk.at, rollout.rollout_id, Mode.SHADOW, True
    rows["version"], rows["latency"], rows["request_hi"] = 1, 0.05, len(desk.recorded)
    rows["request_lo"] = np.arange(count)
    desk.take(Observations(rows))
    assert rollout.report(desk.at).verdict is Verdict.INCONCLUSIVE


def test_evidence_that_is_no_pass_any_more_is_not_signed():
    desk = waiting()
    digest = desk.look()
    copies_are_shed(desk)
    with pytest.raises(Refused, match="the evidence has turned since you looked, and is no pass: waiting for"):
        desk.command(C.SIGN_OFF, evidence=digest)
    with pytest.raises(Refused, match="the evidence is no pass: waiting for"):
        desk.command(C.SIGN_OFF, evidence=desk.look())
    assert desk.phase is Phase.SIGN_OFF


def test_evidence_that_was_no_pass_when_it_was_looked_at():
    desk = waiting()
    rollout = desk.title.rollout
    report = {**rollout.report(desk.at).as_data(), "verdict": "inconclusive"}
    digest = desk.title.shown.keep(desk.at, Screen(rollout.rollout_id, 0, report))
    with pytest.raises(Refused, match="the evidence has turned since you looked"):
        desk.command(C.SIGN_OFF, evidence=digest)


@pytest.mark.parametrize("change", ["step", "guardrail"])
def test_a_step_or_a_guardrail_that_says_something_else(change):
    desk = waiting()
    rollout = desk.title.rollout
    report = json.loads(json.dumps(rollout.report(desk.at).as_data()))
    if change == "guardrail":
        report["guardrails"][0]["verdict"] = "inconclusive"
    digest = desk.title.shown.keep(desk.at, Screen(rollout.rollout_id, int(change == "step"), report))
    with pytest.raises(Refused, match="turned since"):
        desk.command(C.SIGN_OFF, evidence=digest)


def test_harm_while_it_waits_rolls_back():
    desk = waiting(asked(people=2))
    desk.command(C.SIGN_OFF)
    desk.answers(60, failing=2)
    assert kinds(desk.tick()) == [K.ROLL_BACK]
    assert desk.title.rollout.signatures == ()
    with pytest.raises(Refused, match="cannot sign off: the rollout of version 2 is rolling_back"):
        desk.command(C.SIGN_OFF, actor="ben")


# ---- two people


def test_two_people_sign():
    desk = waiting(asked(people=2))
    (first,) = desk.command(C.SIGN_OFF)
    assert (first.kind, first.phase, first.move) == (K.SIGNED, "sign_off", None)
    assert desk.phase is Phase.SIGN_OFF
    with pytest.raises(Refused, match="ann has signed already, and the policy asks 2 different people"):
        desk.command(C.SIGN_OFF)
    fresh = restarts_the_same(desk)
    assert [each.name for each in fresh.rollout.signatures] == ["ann"]
    desk.title, fresh.ready = fresh, desk.ready  # a restart in between
    desk.read()
    (second,) = desk.command(C.SIGN_OFF, actor="ben")
    assert (second.kind, second.actor, second.move) == (K.PROMOTE, "ben", AliasMove(1, 2))
    assert [each["name"] for each in second.evidence["sign_off"]["signatures"]] == ["ann", "ben"]
    assert desk.title.rollout.signatures == ()
    restarts_the_same(desk)


def test_signatures_under_evidence_that_has_turned_are_void():
    desk = waiting(asked(people=2))
    desk.command(C.SIGN_OFF)
    copies_are_shed(desk)
    (void,) = desk.tick()
    assert (void.kind, void.actor, void.phase) == (K.UNSIGNED, "titleshot", "sign_off")
    assert desk.title.rollout.signatures == ()
    assert desk.tick() == []
    restarts_the_same(desk)
    for _ in range(20):
        desk.answers()
        desk.tick()
    assert kinds(desk.command(C.SIGN_OFF, actor="ben")) == [K.SIGNED]  # ann's is not among them any more
    assert kinds(desk.command(C.SIGN_OFF)) == [K.PROMOTE]


def test_a_rejection_ends_it():
    desk = waiting(asked(people=2))
    desk.command(C.SIGN_OFF)
    (rejected,) = desk.command(C.REJECT, actor="ben", reason="not in December")
    assert (rejected.kind, rejected.actor, rejected.reason) == (K.REJECT, "ben", "not in December")
    assert desk.title.serving.other is None  # at once
    assert desk.title.rollout.signatures == ()
    effect = desk.title.effect
    assert (effect.move, effect.marks, effect.clear_challenger) == (None, ((2, "rejected"),), 2)
    desk.confirm()
    assert desk.phase is Phase.ROLLED_BACK
    assert desk.title.rejected(2)
    assert desk.read(challenger=2) == []  # it has had its shot
    restarts_the_same(desk)


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY])
def test_only_what_waits_is_rejected(phase):
    with pytest.raises(Refused, match=f"cannot reject: the rollout of version 2 is {phase.value}"):
        on_trial(policy(SHADOW, CANARY, SIGNED), phase).command(C.REJECT)


@pytest.mark.parametrize("rules", [{"people": 2}, {"by": ("ann",)}, {"not_registrant": True}])
def test_by_rule_nobody_promotes_by_hand_and_a_stranger_signs_nothing(rules):
    desk = waiting(asked(**rules), registered_by=["eve"])
    with pytest.raises(Refused, match="cannot promote: the policy says who signs off"):
        desk.command(C.PROMOTE)
    with pytest.raises(Refused, match="expected a token"):
        desk.command(C.SIGN_OFF, actor=NOBODY)


def test_by_rule_a_rollback_goes_to_a_version_that_had_the_title():
    desk = waiting(asked(people=2))
    desk.command(C.ABORT)
    desk.confirm()
    desk.read()
    for never_signed in (2, 3):
        with pytest.raises(Refused, match=f"nothing says that version {never_signed} ever had the title"):
            desk.command(C.ROLL_BACK, to=never_signed)
    desk.read(champion=3)  # somebody moves it in the registry, and titleshot follows
    assert kinds(desk.command(C.ROLL_BACK, to=1)) == [K.ROLL_BACK]
    desk.confirm()
    desk.read()
    assert kinds(desk.command(C.ROLL_BACK, to=3)) == [K.ROLL_BACK]
    restarts_the_same(desk)


def test_by_rule_the_previous_champion_is_a_way_back_whoever_named_it():
    desk = Desk(asked(people=2))
    desk.read(previous=3)
    assert kinds(desk.command(C.ROLL_BACK)) == [K.ROLL_BACK]
    assert desk.title.serving.champion == 3


def test_without_rules_this_machine_s_operator_may_sign():
    assert kinds(waiting().command(C.SIGN_OFF, actor=NOBODY)) == [K.PROMOTE]


def test_only_those_who_are_named():
    desk = waiting(asked(by=("ben", "cleo")))
    with pytest.raises(Refused, match="the policy lets ben, cleo sign, not ann"):
        desk.command(C.SIGN_OFF)
    with pytest.raises(Refused, match="not Ben"):
        desk.command(C.SIGN_OFF, actor="Ben")  # names are compared exactly
    assert kinds(desk.command(C.SIGN_OFF, actor="ben")) == [K.PROMOTE]


def test_whoever_registered_it_does_not_sign():
    desk = waiting(asked(not_registrant=True), registered_by=["ann"])
    with pytest.raises(Refused, match="ann registered the version"):
        desk.command(C.SIGN_OFF)
    assert kinds(desk.command(C.SIGN_OFF, actor="ben")) == [K.PROMOTE]


def test_nobody_signs_what_nobody_knows_the_registrant_of():
    desk = waiting(asked(not_registrant=True))
    with pytest.raises(Refused, match="unknown who registered"):
        desk.command(C.SIGN_OFF)
    desk.facts[2] = replace(desk.facts[2], registered_by=("eve",))  # somebody says it in the registry
    desk.read()
    assert kinds(desk.command(C.SIGN_OFF)) == [K.PROMOTE]


def test_another_name_in_the_registry_does_not_free_whoever_registered_it():
    desk = waiting(asked(not_registrant=True), registered_by=["ann"])
    desk.facts[2] = replace(desk.facts[2], registered_by=("eve",))
    desk.read()
    for actor in ("ann", "eve"):
        with pytest.raises(Refused, match=f"{actor} registered"):
            desk.command(C.SIGN_OFF, actor=actor)
    fresh = restarts_the_same(desk)
    assert fresh.rollout.subject.registered_by == ("ann",)


# ---- laws

names = st.sampled_from(["ann", "ben", "cleo", NOBODY])
rules_of = st.builds(
    SignOff,
    by=st.sampled_from([(), ("ann", "ben"), ("ann", "ben", "cleo")]),
    people=st.integers(1, 2),
    not_registrant=st.booleans(),
)
SAID = (0, "pass", (("error_rate", "pass"),))


@given(rules=rules_of, registrants=st.lists(names, max_size=2), actors=st.lists(names, max_size=12))
def test_whoever_comes_in_whatever_order_a_version_has_its_signatures_by_the_rules(rules, registrants, actors):
    signed = []
    for actor in actors:
        if not_allowed(rules, actor, registrants, signed) is None:
            signed.append(Signature(actor, 1.0, "d", SAID))
    people = [each.name for each in signed]
    assert len(set(people)) == len(people)
    if rules.by:
        assert set(people) <= set(rules.by)
    if rules.not_registrant:
        assert not set(people) & set(registrants)
        assert registrants or not people
    if rules != SignOff():
        assert NOBODY not in people


@given(st.lists(st.sampled_from(["ann", "ben", "cleo", "shed", "answers", "tick", "restart"]), max_size=20))
def test_whatever_comes_in_whatever_order_two_people_have_signed_what_was_a_pass(story):
    desk = waiting(asked(people=2))
    since_turned: list[str] = []
    for act in story:
        if desk.phase is not Phase.SIGN_OFF:
            break
        match act:
            case "shed":
                copies_are_shed(desk)
                desk.tick()  # a look: what turns and turns back between two looks is not seen
                since_turned = []
            case "answers":
                desk.answers()
            case "tick":
                desk.tick()
            case "restart":
                fresh = restarts_the_same(desk)
                desk.title, fresh.ready = fresh, desk.ready
                desk.read()
            case name:
                try:
                    desk.command(C.SIGN_OFF, actor=name)
                except Refused:
                    continue
                since_turned.append(name)
    signed = [each.name for each in desk.title.rollout.signatures]
    if desk.phase is Phase.PROMOTING:
        decided = next(fact for fact in desk.recorded if getattr(fact, "kind", None) is K.PROMOTE)
        signed = [each["name"] for each in decided.evidence["sign_off"]["signatures"]]
        assert len(set(signed)) == 2
        assert signed == since_turned[-2:]
        assert decided.evidence["verdict"] == "pass"
    else:
        assert desk.phase is Phase.SIGN_OFF
        assert len(signed) <= 1
    restarts_the_same(desk)


@given(
    looks=st.lists(st.tuples(st.floats(0, 400), st.integers(0, 30)), max_size=60),
    most=st.integers(1, 10),
)
def test_what_was_shown_is_found_again_within_bounds(looks, most):
    shown, at, seen = Shown(most, seconds=1000), 0.0, {}
    for waited, number in looks:
        at += waited
        screen = Screen(7, 0, {"n": number})
        digest = shown.keep(at, screen)
        seen.pop(digest, None)
        seen[digest] = (at, screen)
        assert len(shown) <= most
        for known, (since, what) in list(seen.items())[-most:]:
            assert shown.find(at, known) == (what if at - since <= 1000 else None)


@given(st.permutations(["at", "verdict", "guardrails"]))
def test_a_digest_is_of_what_is_said_not_of_its_order(keys):
    report = {"at": 1.5, "verdict": "pass", "guardrails": [{"name": "mae", "verdict": "pass"}]}
    assert Screen(1, 0, {key: report[key] for key in keys}).digest == Screen(1, 0, report).digest
    assert Screen(1, 1, report).digest != Screen(1, 0, report).digest != Screen(2, 0, report).digest


def test_signatures_are_read_back_from_json():
    desk = waiting(asked(people=2))
    (decided,) = desk.command(C.SIGN_OFF)
    again = replace(decided, evidence=json.loads(json.dumps(decided.evidence)))
    assert signatures_in(again) == desk.title.rollout.signatures
    assert says(0, desk.title.rollout.report(desk.at).as_data()) == signatures_in(again)[0].says


# ---- the policy


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ({"people": 0}, "people"),
        ({"people": 6}, "people"),
        ({"by": ("ann", "ann")}, "by"),
        ({"by": ("",)}, "by"),
        ({"by": ("ann",), "people": 2}, "by"),
    ],
)
def test_rules_that_make_no_sense(rules, where):
    with pytest.raises(PolicyError) as raised:
        SignOff(**rules)
    assert raised.value.where == where


def test_rules_are_in_the_digest_and_read_back():
    plain = Policy()
    assert plain.sign_off == SignOff()
    ruled = Policy(steps=(SHADOW, Step(StepKind.PROMOTE, sign_off=SignOff(("ben", "ann"), 2, not_registrant=True))))
    other = Policy(steps=(SHADOW, Step(StepKind.PROMOTE, sign_off=SignOff(("ann", "ben"), 2, not_registrant=True))))
    assert ruled.digest == other.digest  # the order of names means nothing
    assert Policy.from_canonical(ruled.canonical()) == ruled
    assert ruled.digest != Policy(steps=(SHADOW, SIGNED)).digest
    assert Policy(steps=(SHADOW, Step(StepKind.PROMOTE))).sign_off is None


# ---- alerts


@pytest.mark.parametrize("phase", [Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF, Phase.PROMOTING, Phase.WATCH])
def test_an_alert_rolls_back_what_is_on_trial_once(phase):
    steps = (SHADOW, CANARY, SIGNED) if phase is Phase.SIGN_OFF else (SHADOW, CANARY, Step(StepKind.PROMOTE))
    desk = on_trial(policy(*steps, Step(StepKind.WATCH)), phase)
    (decided,) = desk.command(C.ALERT, actor="alertmanager", reason="alert TooSlow")
    assert (decided.kind, decided.trigger, decided.actor) == (K.ROLL_BACK, "alert", "alertmanager")
    assert desk.title.serving.champion == 1
    for _ in range(2):
        with pytest.raises(NotOnTrial, match="nothing is on trial"):
            desk.command(C.ALERT)
        desk.confirm()
        desk.read()
    restarts_the_same(desk)


def test_an_alert_never_moves_a_title_that_was_won():
    desk = on_trial(policy(SHADOW, Step(StepKind.PROMOTE)), Phase.PROMOTING)
    desk.confirm()
    assert desk.phase is Phase.PROMOTED
    with pytest.raises(NotOnTrial):
        desk.command(C.ALERT)
    with pytest.raises(NotOnTrial):
        Desk().command(C.ALERT)


def test_an_alert_that_began_before_the_challenger_was_named_says_nothing_of_it():
    desk = on_trial()
    with pytest.raises(NotOnTrial, match="began before version 2 was on trial"):
        desk.take(Command(desk.at, C.ALERT, "alertmanager", "alert", since=900.0))
    assert desk.phase is Phase.SHADOW
