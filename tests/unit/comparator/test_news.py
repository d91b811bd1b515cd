"""Which events a decision is to people elsewhere."""

import pytest
from desk import PROMOTE, SHADOW, SIGNED, WATCH, Desk, policy

from comparator.events import AliasMove, CommandKind, Decision, DecisionKind
from comparator.news import EVENT_OF, NOISE, Event, events_of
from comparator.patience import TRIGGERS
from comparator.policy import Step, StepKind
from comparator.restraint import Restraint
from comparator.sign_off import SignOff


def decision(kind, actor="titleshot", trigger="", phase="", rollout_id=7):
    return Decision(kind, 1000.0, rollout_id, 2, "why", actor, phase=phase, trigger=trigger)


class Heard(Desk):
    """A desk that hears the news of every decision, as of when it is in force."""

    def __init__(self, rules=None, **more):
        super().__init__(rules, **more)
        self.news = []

    def _record(self, decisions):
        made = super()._record(decisions)
        for each in made:
            self.news += events_of(each, frozen=bool(self.title.rollbacks.frozen))
        return made


def test_every_kind_of_decision_is_in_the_table_and_every_event_can_come_about():
    assert set(EVENT_OF) == set(DecisionKind)
    told = {event for event in EVENT_OF.values() if event is not None}
    assert {Event.PROMOTED, Event.FROZEN, Event.DEADLINE_PASSED, Event.NO_DATA} == set(Event) - told
    assert set(Event) > NOISE


def test_a_rollout_from_its_start_to_the_end_of_its_watch():
    desk = Heard(policy(SHADOW, PROMOTE, WATCH))
    desk.read()
    desk.ready = frozenset({1})
    desk.read(challenger=2)
    desk.ready = frozenset({1, 2, 3})
    desk.read()
    desk.answers()
    desk.tick()
    desk.confirm()
    desk.answers()
    desk.tick()
    assert desk.news == [Event.HELD, Event.STARTED, Event.PROMOTING, Event.PROMOTED, Event.FINISHED]


def test_signatures_and_a_rejection():
    rules = Step(StepKind.PROMOTE, sign_off=SignOff(people=2))
    desk = Heard(policy(SHADOW, rules))
    desk.read()
    desk.read(challenger=2)
    desk.answers()
    desk.tick()
    desk.command(CommandKind.SIGN_OFF, actor="ann")
    desk.command(CommandKind.REJECT, actor="ben")
    desk.confirm()
    assert desk.news == [Event.STARTED, Event.WAITING_FOR_SIGN_OFF, Event.SIGNED, Event.REJECTED]


def test_what_the_registry_confirms_of_a_rollback_is_no_news():
    desk = Heard(policy(SHADOW, PROMOTE))
    desk.read()
    desk.read(challenger=3)
    desk.answers(failing=3)
    desk.tick()
    assert desk.news == [Event.STARTED, Event.ROLLED_BACK]
    assert desk.confirm()
    assert desk.news[2:] == []
    desk.read(champion=2)
    desk.command(CommandKind.ROLL_BACK, to=1)
    desk.confirm()
    assert desk.news[2:] == [Event.REGISTRY_MOVED, Event.ROLLED_BACK]


def test_too_many_rollbacks_are_two_events_and_people_freeze_nothing():
    desk = Heard(policy(SHADOW, SIGNED, restraint=Restraint(max_rollbacks_per_day=1)))
    desk.read()
    desk.read(challenger=3)
    desk.answers(failing=3)
    desk.tick()
    assert desk.news == [Event.STARTED, Event.ROLLED_BACK, Event.FROZEN]
    desk.confirm()
    desk.read(champion=2)
    desk.command(CommandKind.ROLL_BACK, to=1)  # while it is frozen
    desk.confirm()
    desk.command(CommandKind.UNFREEZE)
    assert desk.news[3:] == [Event.REGISTRY_MOVED, Event.ROLLED_BACK, Event.UNFROZEN]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", list(DecisionKind))
def test_a_rollback_alone_can_be_two_events(kind, frozen):
    told = events_of(decision(kind), frozen=frozen)
    assert len(told) <= (2 if frozen and kind is DecisionKind.ROLL_BACK else 1)
    assert len(set(told)) == len(told)
    alert = events_of(decision(kind, "local:loopback", "alert"), frozen=True)
    assert (Event.FROZEN in alert) == (kind is DecisionKind.ROLL_BACK)


def test_notices_by_what_did_not_come():
    told = [events_of(decision(DecisionKind.NOTIFY, trigger=trigger), frozen=False) for trigger in TRIGGERS]
    assert told == [(Event.DEADLINE_PASSED,), (Event.NO_DATA,)]
    assert events_of(decision(DecisionKind.NOTIFY, trigger="of a later version"), frozen=False) == ()


@pytest.mark.parametrize(
    ("phase", "rollout_id", "told"),
    [
        ("watch", 7, (Event.PROMOTED,)),
        ("promoted", 7, (Event.PROMOTED,)),
        ("rolled_back", 7, ()),
        ("", 0, ()),
    ],
)
def test_what_the_registry_has_confirmed(phase, rollout_id, told):
    moved = Decision(DecisionKind.MOVED, 1.0, rollout_id, 2, "done", phase=phase, move=AliasMove(1, 2))
    assert events_of(moved, frozen=True) == told
