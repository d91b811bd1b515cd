"""The gate in staging, as the title sees it: what a report must be, what it counts for, what a restart knows of it."""

import dataclasses

import pytest
from desk import Desk, kinds, policy, state
from gate_reports import report
from hypothesis import given
from hypothesis import strategies as st

from comparator.acts import Refused
from comparator.events import DecisionKind, Gated, VersionFacts
from comparator.gated import Outcome, expected_checks, measured, outcome_of, reported
from comparator.guardrail import Verdict
from comparator.phases import Phase
from comparator.policy import Gate, Guardrail, Metric, Policy
from comparator.policy_error import PolicyError
from comparator.staging import Staging

REQUIRED = dataclasses.replace(policy(), gate=Gate.REQUIRED)


def desk():
    made = Desk(REQUIRED)
    made.facts = {version: VersionFacts(version, {}, "abc", "def") for version in (1, 2, 3)}
    made.read()
    return made


def send(at_desk, data, actor="pipeline"):
    at_desk.at += 1
    return at_desk.take(Gated(at_desk.at, actor, data))


def test_a_rollout_is_held_until_the_report_is_there():
    at = desk()
    (held,) = at.read(challenger=2)
    assert (held.kind, at.phase) == (DecisionKind.HOLD, Phase.HELD)
    assert "no report of the gate in staging against version 1 under this policy" in held.reason
    assert "titleshot gate MODEL 2" in held.reason
    assert at.read() == []
    (taken,) = send(at, report(REQUIRED))
    assert (taken.kind, taken.version, taken.actor, taken.rollout_id) == (DecisionKind.GATED, 2, "pipeline", 0)
    (started,) = at.read()
    assert (started.kind, started.rollout_id) == (DecisionKind.START, held.rollout_id)
    assert "the gate in staging says PASS against version 1" in started.reason


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_what_is_no_pass_holds_with_its_reason(verdict):
    at = desk()
    send(at, report(REQUIRED, latency__p99=verdict))
    (held,) = at.read(challenger=2)
    assert held.kind is DecisionKind.HOLD
    assert (
        f"the gate in staging says {verdict} against version 1: latency.p99: latency.p99 was looked at" in held.reason
    )


def test_the_latest_report_counts_and_takes_an_earlier_pass_away():
    at = desk()
    send(at, report(REQUIRED))
    send(at, report(REQUIRED, contract__batch="FAIL"))
    assert kinds(at.read(challenger=2)) == [DecisionKind.HOLD]
    send(at, report(REQUIRED))
    assert kinds(at.read()) == [DecisionKind.START]


def test_a_report_is_of_one_version_one_policy_and_one_champion():
    at = desk()
    send(at, report(REQUIRED, version=3))
    assert kinds(at.read(challenger=2)) == [DecisionKind.HOLD]
    send(at, report(REQUIRED))
    other = dataclasses.replace(REQUIRED, alpha=0.01)
    at.title.adopt(other)
    assert at.read() == []  # held, for the same reason
    at.title.adopt(REQUIRED)
    assert kinds(at.read()) == [DecisionKind.START]

    moved = desk()
    send(moved, report(REQUIRED))
    moved.read(champion=3)
    assert moved.title.champion == 3
    (held,) = moved.read(challenger=2)
    assert "against version 3" in held.reason


@pytest.mark.parametrize("before", [False, True])
def test_a_restart_knows_what_was_reported(before):
    at = desk()
    if before:
        at.read(challenger=2)
    send(at, report(REQUIRED, contract__batch="FAIL"))
    send(at, report(REQUIRED))
    fresh = at.restarted()
    assert fresh.gates == at.title.gates
    assert state(fresh) == state(at.title)
    at.title = fresh
    assert kinds(at.read(challenger=2)) == [DecisionKind.START]


def test_without_lineage_a_pass_is_not_enough():
    at = desk()
    at.facts[2] = VersionFacts(2, {}, None, "def")
    send(at, report(REQUIRED))
    (held,) = at.read(challenger=2)
    assert "no git SHA is recorded" in held.reason


def refused(data, champion=1, rules=REQUIRED):
    with pytest.raises(Refused) as caught:
        reported(Gated(1.0, "ann", data), champion, rules)
    return str(caught.value)


def changed(**fields):
    return {**report(REQUIRED), **fields}


FIRST = report(REQUIRED)["checks"][0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "expected schema 1"),
        (changed(schema=2), "expected schema 1"),
        (changed(checks=[]), "expected 1 to 200 checks"),
        (changed(checks=[FIRST] * 201), "expected 1 to 200 checks"),
        (changed(checks=[FIRST, FIRST]), "a name of its own"),
        (changed(checks=["x"]), "a name of its own"),
        (changed(checks=[{**FIRST, "verdict": "pass"}]), "expected one of PASS, FAIL, INCONCLUSIVE"),
        (changed(checks=[{**FIRST, "reason": ""}]), "expected a reason"),
        (changed(checks=[{**FIRST, "reason": "a\nb"}]), "printable"),
        (changed(checks=[{**FIRST, "reason": "x" * 2001}]), "2000 printable characters"),
        (changed(verdict="GREAT"), "expected one of PASS"),
        (changed(verdict=True), "expected one of PASS"),
        (changed(version="2"), "version: expected the number of a version"),
        (changed(version=True), "version: expected the number of a version"),
        (changed(champion=None), "champion: expected the number of a version"),
        (changed(champion=3), "compares with version 3, and the champion is version 1"),
        (changed(version=1), "version 1 is the champion"),
        (changed(policy_digest="0" * 64), "the report is of policy 000000000000"),
        (changed(policy_digest=None), "the report is of policy None"),
        ({**report(REQUIRED, contract__batch="FAIL"), "verdict": "PASS"}, "it says PASS, and its checks come to FAIL"),
        (
            report(REQUIRED, without=("contract.batch", "holdout.rows")),
            "says PASS without contract.batch, holdout.rows, which the policy asks for",
        ),
    ],
)
def test_what_is_no_report_or_does_not_fit_is_refused(data, said):
    at = desk()
    before = dict(at.title.gates)
    assert said in refused(data)
    assert at.title.gates == before


def test_a_report_that_is_no_pass_may_lack_checks():
    data = report(REQUIRED, without=("contract.batch",), contract__signature="INCONCLUSIVE")
    assert reported(Gated(1.0, "ann", data), 1, REQUIRED).evidence["verdict"] == "INCONCLUSIVE"


def test_without_a_champion_there_is_nothing_to_compare_with():
    assert "there is no champion" in refused(report(REQUIRED), champion=None)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)))
def test_no_data_breaks_the_reader(data):
    with pytest.raises(Refused):
        reported(Gated(1.0, "ann", data), 1, REQUIRED)


def test_a_damaged_decision_counts_for_nothing():
    at = desk()
    (taken,) = send(at, report(REQUIRED))
    damaged = dataclasses.replace(taken, evidence={"champion": 1, "verdict": "FINE"})
    assert outcome_of(damaged)[1] == Outcome(Verdict.INCONCLUSIVE, taken.reason)


def test_what_the_policy_asks_for():
    rails = (Guardrail(Metric.PRECISION, 0.02), Guardrail(Metric.REWARD, 0.1, range=(0.0, 1.0)))
    staging = Staging(minimum=(("recall", 0.5), ("precision", 0.7)), p99_seconds=0.1)
    names = expected_checks(Policy(guardrails=rails, staging=staging))
    assert names[-7:] == (
        "holdout.answered",
        "precision.minimum",
        "precision.no_regression",
        "precision.reproduced",
        "recall.minimum",
        "recall.reproduced",
        "latency.p99",
    )
    errors = (Guardrail(Metric.ERROR_RATE, 0.01),)
    assert [each.name for each in measured(Policy(guardrails=errors))] == ["precision"]
    assert measured(Policy(guardrails=rails[1:])) == ()


def test_the_order_of_minimums_is_not_in_the_digest():
    one = Policy(staging=Staging(minimum=(("recall", 0.5), ("precision", 0.7))))
    other = Policy(staging=Staging(minimum=(("precision", 0.7), ("recall", 0.5))))
    assert one.digest == other.digest != Policy().digest
    assert Policy.from_canonical(one.canonical()) == one


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"minimum": (("recall", 0.5), ("recall", 0.6))}, "minimum"),
        ({"minimum": (("recall", float("nan")),)}, "minimum.recall"),
        ({"reproduce_tolerance": 0.0}, "reproduce_tolerance"),
        ({"min_rows": 29}, "min_rows"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 1001.0}, "rate"),
        ({"requests": 99}, "requests"),
        ({"p50_seconds": 0.0}, "p50_seconds"),
        ({"p99_seconds": float("inf")}, "p99_seconds"),
    ],
)
def test_requirements_that_make_no_sense(fields, where):
    with pytest.raises(PolicyError) as caught:
        Staging(**fields)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("minimum", "rails", "where"),
    [
        ((("mae", 1.0),), (Guardrail(Metric.PRECISION, 0.02),), "staging.minimum.mae"),
        ((("recall", 0.5),), (Guardrail(Metric.MAE, 1.0, range=(0.0, 9.0)),), "staging.minimum.recall"),
        ((("mae", 10.0),), (Guardrail(Metric.MAE, 1.0, range=(0.0, 9.0)),), "staging.minimum.mae"),
        ((("recall", 1.5),), (Guardrail(Metric.PRECISION, 0.02),), "staging.minimum.recall"),
        ((("recall", 0.0),), (Guardrail(Metric.PRECISION, 0.02),), "staging.minimum.recall"),
    ],
)
def test_minimums_that_the_policy_cannot_have(minimum, rails, where):
    with pytest.raises(PolicyError) as caught:
        Policy(guardrails=rails, staging=Staging(minimum=minimum))
    assert caught.value.where == where
