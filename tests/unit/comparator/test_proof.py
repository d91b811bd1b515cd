"""Decisions are made again from the state that was kept with them, and from nothing else."""

import json
from dataclasses import asdict, replace

import pytest
from desk import SIGNED, WATCH, Desk, on_trial, policy
from test_judge_checkpoint import DUELS, POLICY, fresh, record, settle

from comparator.checkpoint import LAYOUT, Unusable, canonical
from comparator.events import BreakerTripped, Command, CommandKind, Decision, DecisionKind, Observations, Tick
from comparator.phases import Phase
from comparator.policy import Step, StepKind
from comparator.proof import FROM_EVIDENCE, Proven, digest_of, proven, recompute
from comparator.restraint import Then

FINAL = {"good": DecisionKind.FINISH, "held": DecisionKind.FINISH, "bad": DecisionKind.ROLL_BACK}


def played(name):
    """(decisions in order, states by digest) of a recorded duel, as a controller has them."""
    title, decisions, states = fresh(name), [], {}
    decisions.append(title.rollout.last)
    for fact in record(name):
        mine = fact
        if isinstance(fact, Observations):
            mine = Observations(fact.columns.copy())
            mine.columns["rollout_id"] = title.rollout.rollout_id
        for proposal in title.receive(mine):
            kept = proven(title, proposal)
            states[kept.decision.state_digest] = kept.state
            decisions += settle(title, kept.decision)
    return decisions, states, title.policy


@pytest.mark.parametrize("name", DUELS)
def test_every_decision_from_evidence_is_made_again(name):
    decisions, states, rules = played(name)
    made = [decision for decision in decisions if decision.kind in FROM_EVIDENCE]
    assert made[-1].kind is FINAL.get(name, DecisionKind.ROLL_BACK)
    for index, decision in enumerate(decisions):
        if decision.kind in FROM_EVIDENCE:
            again = recompute(decisions[:index], decision, states[decision.state_digest], rules)
            assert again.differences == ()
            assert replace(again.decision, state_digest=decision.state_digest) == decision
            assert json.loads(json.dumps(again.report.as_data())) == json.loads(json.dumps(decision.evidence))
        else:
            assert decision.state_digest == ""


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"kind": DecisionKind.ROLL_BACK}, "kind was"),
        ({"trigger": "error_rate"}, "trigger was error_rate, is "),
        ({"step": 2}, "step was 2, is 1"),
        ({"at": 2000.0}, "at was"),
    ],
)
def test_a_decision_that_its_evidence_does_not_lead_to_is_told(change, difference):
    decisions, states, _ = played("good")
    told = decisions[1]
    assert told.kind is DecisionKind.ADVANCE
    again = recompute(decisions[:1], replace(told, **change), states[told.state_digest], POLICY)
    assert any(difference in each for each in again.differences)


def test_a_figure_that_is_another_is_named():
    decisions, states, _ = played("bad")
    told = next(each for each in decisions if each.kind is DecisionKind.ROLL_BACK)
    evidence = json.loads(json.dumps(told.evidence))
    evidence["guardrails"][0]["challenger"]["value"] *= 1 + 1e-6
    evidence["answers"] += 1
    before = decisions[: decisions.index(told)]
    again = recompute(before, replace(told, evidence=evidence), states[told.state_digest], POLICY)
    assert [each.split(" was ")[0] for each in again.differences] == [
        "answers",
        "guardrails.precision.challenger.value",
    ]


def test_other_evidence_gives_another_decision():
    decisions, states, _ = played("good")
    advance, promote = (next(each for each in decisions if each.kind is kind) for kind in (
        DecisionKind.ADVANCE, DecisionKind.PROMOTE,
    ))  # fmt: skip
    again = recompute(decisions[:1], advance, states[promote.state_digest], POLICY)
    assert "mode was shadow, is canary" in again.differences


def test_a_persons_decision_rests_on_the_numbers_and_not_on_the_judge():
    desk = on_trial(policy(Step(StepKind.SHADOW), SIGNED, WATCH), phase=Phase.SIGN_OFF)
    before = desk_decisions(desk)
    (proposal,) = desk.title.receive(command(desk, CommandKind.SIGN_OFF))
    kept = proven(desk.title, proposal)
    again = recompute(before, kept.decision, kept.state, desk.policy)
    assert again.differences == ()
    assert again.decision is None  # the judge waits
    assert again.report.verdict.value == "pass"


@pytest.mark.parametrize("then", Then)
def test_what_a_deadline_calls_for_is_decided_again(then):
    desk = on_trial(policy(Step(StepKind.SHADOW, 100, 1.0, within_seconds=60.0, at_deadline=then)))
    before = desk_decisions(desk)
    (proposal,) = desk.title.receive(Tick(desk.at + 61.0))
    kept = proven(desk.title, proposal)
    assert kept.decision.kind.value == then.value
    again = recompute(before, kept.decision, kept.state, desk.policy)
    assert again.differences == ()
    assert again.decision is not None


def test_pauses_on_the_way_are_taken_into_account():
    desk = on_trial()
    desk.command(CommandKind.PAUSE)
    desk.answers()
    assert desk.tick() == []
    desk.command(CommandKind.RESUME)
    before = desk_decisions(desk)
    desk.at += 1
    (proposal,) = desk.title.receive(Tick(desk.at))
    kept = proven(desk.title, proposal)
    assert recompute(before, kept.decision, kept.state, desk.policy).differences == ()
    still = [decision for decision in before if decision.kind is not DecisionKind.RESUME]
    assert recompute(still, kept.decision, kept.state, desk.policy).differences == (
        "the decision was to advance, now nothing is decided",
    )


def test_a_breaker_of_a_proxy_is_no_difference():
    desk = on_trial()
    desk.answers()
    before = desk_decisions(desk)
    desk.title.receive(Tick(desk.at))
    (proposal,) = desk.title.receive(BreakerTripped(desk.at + 1, desk.title.rollout.rollout_id, 18, 20))
    kept = proven(desk.title, proposal)
    assert kept.decision.trigger == "breaker"
    assert recompute(before, kept.decision, kept.state, desk.policy).differences == ()


def test_acts_that_rest_on_nothing_keep_nothing():
    desk = on_trial()
    for kind in (CommandKind.PAUSE, CommandKind.ABORT):
        (proposal,) = desk.title.receive(command(desk, kind))
        assert proven(desk.title, proposal) == Proven(proposal, b"")


def test_the_digest_is_of_the_state_and_ties_it_to_the_decision():
    decisions, states, _ = played("good")
    assert all(digest_of(state) == digest for digest, state in states.items() if digest)
    assert len({decision.state_digest for decision in decisions if decision.state_digest}) == 3


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (b"", "not a state"),
        (b"[]", "not a state"),
        (b'{"layout":0}', f"written in layout 0; this titleshot reads layout {LAYOUT}"),
        (canonical({"layout": LAYOUT, "evidence": 7}), "no evidence in it"),
        (canonical({"layout": LAYOUT, "evidence": {"$.Evidence": {"_mode": 1}}}), "differ in"),
        (canonical({"layout": LAYOUT, "evidence": {"$.os": {}}}), "not a state"),
    ],
)
def test_a_state_that_cannot_be_read_is_refused(state, text):
    decisions, _, _ = played("good")
    with pytest.raises(Unusable, match=text):
        recompute(decisions[:1], decisions[1], state, POLICY)


def test_a_record_that_does_not_lead_to_the_decision_is_refused():
    decisions, states, _ = played("good")
    promote = next(each for each in decisions if each.kind is DecisionKind.PROMOTE)
    for before in ([], decisions[1:2]):
        with pytest.raises(Unusable, match="do not lead to it"):
            recompute(before, promote, states[promote.state_digest], POLICY)


def desk_decisions(desk: Desk):
    return [each for each in desk.recorded if isinstance(each, Decision)]


def command(desk, kind):
    evidence = desk.look() if kind is CommandKind.SIGN_OFF else ""
    desk.at += 1
    return Command(desk.at, kind, "ann", "because", evidence=evidence)


def test_what_is_kept_is_plain_data():
    decisions, _, _ = played("good")
    json.dumps([asdict(decision) for decision in decisions], allow_nan=False)
