"""What people elsewhere are told of: the events that a decision is to them, and which of them only the curious want."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from comparator.events import JUDGE, Decision, DecisionKind
from comparator.patience import DEADLINE, NO_DATA
from comparator.phases import Phase
from comparator.restraint import ALERT


class Event(str, Enum):
    """Something that happened to a model, by the name that people ask for it by."""

    HELD = "held"  # a challenger may not start yet, or for another reason than before
    STARTED = "started"
    ADVANCED = "advanced"
    CONFIRMED = "confirmed"  # a webhook said that it may go on
    WAITING_FOR_SIGN_OFF = "waiting_for_sign_off"
    SIGNED = "signed"  # one of several people who have to
    SIGNATURES_VOID = "signatures_void"
    PROMOTING = "promoting"  # decided; the registry has yet to confirm
    PROMOTED = "promoted"  # the registry has
    FINISHED = "finished"  # the watch over a new champion is over
    ROLLED_BACK = "rolled_back"  # the traffic has moved; the registry follows
    REJECTED = "rejected"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEADLINE_PASSED = "deadline_passed"
    NO_DATA = "no_data"
    RETRIED = "retried"  # a person gives a version another shot
    REGISTRY_MOVED = "registry_moved"  # somebody moved @champion by hand
    FROZEN = "frozen"  # no rollout starts until a person says so
    UNFROZEN = "unfrozen"
    GATED = "gated"  # the gate in staging has reported

    @property
    def of_rollout(self) -> bool:
        """Whether it is about a rollout; else it is about the model."""
        return self not in _OF_MODEL


_OF_MODEL: Final = frozenset({Event.RETRIED, Event.REGISTRY_MOVED, Event.FROZEN, Event.UNFROZEN, Event.GATED})

NOISE: Final = frozenset({Event.HELD, Event.CONFIRMED, Event.SIGNED, Event.PROMOTING, Event.GATED})
"""Steps on the way to what is told by default."""

EVENT_OF: Final[Mapping[DecisionKind, Event | None]] = {
    DecisionKind.HOLD: Event.HELD,
    DecisionKind.START: Event.STARTED,
    DecisionKind.ADVANCE: Event.ADVANCED,
    DecisionKind.CONFIRMED: Event.CONFIRMED,
    DecisionKind.AWAIT_SIGN_OFF: Event.WAITING_FOR_SIGN_OFF,
    DecisionKind.SIGNED: Event.SIGNED,
    DecisionKind.UNSIGNED: Event.SIGNATURES_VOID,
    DecisionKind.REJECT: Event.REJECTED,
    DecisionKind.PROMOTE: Event.PROMOTING,
    DecisionKind.ROLL_BACK: Event.ROLLED_BACK,
    DecisionKind.MOVED: None,  # of a promotion: see `events_of`; of a rollback: that was told when it was decided
    DecisionKind.FINISH: Event.FINISHED,
    DecisionKind.ABORT: Event.ABORTED,
    DecisionKind.SUPERSEDE: Event.SUPERSEDED,
    DecisionKind.FOREIGN_MOVE: Event.REGISTRY_MOVED,
    DecisionKind.RETRY: Event.RETRIED,
    DecisionKind.PAUSE: Event.PAUSED,
    DecisionKind.RESUME: Event.RESUMED,
    DecisionKind.NOTIFY: None,  # its trigger says of what
    DecisionKind.UNFREEZE: Event.UNFROZEN,
    DecisionKind.TOLD: None,  # what was told is no news
    DecisionKind.GATED: Event.GATED,
}
"""Every kind of decision."""

_OVERDUE: Final = {DEADLINE: Event.DEADLINE_PASSED, NO_DATA: Event.NO_DATA}


def events_of(decision: Decision, *, frozen: bool) -> tuple[Event, ...]:
    """What a decision in force is to people elsewhere; often nothing, once two things.

    Args:
        decision: in force.
        frozen: whether no rollout starts, now that it is.
    """
    if decision.kind is DecisionKind.NOTIFY:
        return tuple(event for trigger, event in _OVERDUE.items() if trigger == decision.trigger)
    if decision.kind is DecisionKind.MOVED:
        promoted = decision.rollout_id and decision.phase in (Phase.WATCH.value, Phase.PROMOTED.value)
        return (Event.PROMOTED,) if promoted else ()
    event = EVENT_OF.get(decision.kind)
    if event is None:
        return ()
    automatic = decision.actor == JUDGE or decision.trigger == ALERT  # people's rollbacks freeze nothing
    return (event, Event.FROZEN) if event is Event.ROLLED_BACK and frozen and automatic else (event,)
