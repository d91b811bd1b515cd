"""What has to have happened before an act counts as one."""

import pytest

from router.demo.acts import WAY, DidNotHappen, _promoted, _rolled_back, _served_by, way_of
from router.demo.connection import Client
from router.demo.desk import Desk

STEPS = [
    {"kind": "shadow", "percent": 100},
    {"kind": "canary", "percent": 10},
    {"kind": "canary", "percent": 50},
    {"kind": "promote", "percent": 100},
]


def decision(kind, at, version=2, step=-1, actor="titleshot", reason="because"):
    return {"kind": kind, "at": at, "version": version, "step": step, "actor": actor, "reason": reason}


PROMOTION = [
    decision("hold", 99.0),
    decision("start", 100.0, step=0),
    decision("advance", 110.0, step=1),
    decision("advance", 120.0, step=2),
    decision("promote", 130.0),
    decision("moved", 130.5),
]


def desk(decisions):
    return Desk(Client("127.0.0.1", 1), {"rollout": {"steps": STEPS}}, decisions)


def test_the_way_of_a_version_is_what_was_decided_about_it():
    other = decision("start", 105.0, version=3, step=0)
    assert tuple(what for what, _ in way_of([*PROMOTION[:2], other, *PROMOTION[2:]], STEPS, 2)) == WAY


@pytest.mark.parametrize("skipped", [1, 2, 3])
def test_a_promotion_that_skipped_a_step_is_none(skipped):
    with pytest.raises(DidNotHappen, match="went through"):
        _promoted(desk(PROMOTION[:skipped] + PROMOTION[skipped + 1 :]), 99.0)


def test_a_promotion_is_seen_when_the_registry_has_confirmed_it():
    assert _promoted(desk(PROMOTION[:-1]), 99.0) is None
    assert [at for _, at in _promoted(desk(PROMOTION), 99.0) or ()] == [100.0, 110.0, 120.0, 130.5]


def test_what_was_decided_before_the_act_does_not_count():
    assert _promoted(desk(PROMOTION), 131.0) is None


@pytest.mark.parametrize("kind", ["roll_back", "abort", "supersede", "foreign_move"])
def test_a_challenger_that_ends_otherwise_ends_the_act_with_its_reason(kind):
    with pytest.raises(DidNotHappen, match="because"):
        _promoted(desk([*PROMOTION[:2], decision(kind, 111.0)]), 99.0)


def test_a_rollback_is_seen_when_it_is_carried_out():
    decisions = [decision("start", 200.0, 3, 0), decision("roll_back", 205.0, 3, reason="precision")]
    assert _rolled_back(desk(decisions), 199.0, 3) is None
    seen = _rolled_back(desk([*decisions, decision("moved", 205.2, 3)]), 199.0, 3)
    assert seen is not None
    assert seen["reason"] == "precision"


def test_a_rollback_by_a_person_is_not_by_evidence():
    with pytest.raises(DidNotHappen, match="not by its evidence"):
        _rolled_back(desk([decision("roll_back", 205.0, 3, actor="local")]), 199.0, 3)


def test_a_bad_challenger_that_is_promoted_ends_the_act():
    with pytest.raises(DidNotHappen, match="promote"):
        _rolled_back(desk([decision("promote", 205.0, 3)]), 199.0, 3)


def test_the_champion_is_who_has_the_role():
    seen = desk([])
    seen.state = {"champion": 1, "roles": {"champion": {"version": 1}}}
    assert _served_by(seen, 1)
    assert not _served_by(seen, 2)
    seen.state = {"champion": 1, "roles": {"champion": {"version": 2}}}
    assert not _served_by(seen, 1)
