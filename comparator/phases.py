"""Where a rollout can stand, and every change from one phase to another that is legal."""

from __future__ import annotations

from enum import Enum

from comparator.events import DecisionKind


class Phase(str, Enum):
    """Where a rollout stands."""

    HELD = "held"  # named, but not started: gate or endpoint
    SHADOW = "shadow"
    CANARY = "canary"
    SIGN_OFF = "sign_off"  # passed, waiting for a person; still compared and guarded
    PROMOTING = "promoting"  # decided; the registry has yet to confirm
    WATCH = "watch"
    ROLLING_BACK = "rolling_back"  # decided; the registry has yet to confirm
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED})
COMPARED = frozenset({Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF, Phase.PROMOTING, Phase.WATCH})
"""Phases in which evidence is taken and harm rolls back."""

WAYS_OUT = frozenset(
    {
        DecisionKind.ROLL_BACK,
        DecisionKind.REJECT,
        DecisionKind.ABORT,
        DecisionKind.SUPERSEDE,
        DecisionKind.PAUSE,
        DecisionKind.FOREIGN_MOVE,
    }
)
"""Decisions that nothing may hold up."""

BEFORE_TITLE = (Phase.HELD, Phase.SHADOW, Phase.CANARY, Phase.SIGN_OFF)

TRANSITIONS: dict[tuple[Phase, DecisionKind], frozenset[Phase]] = {
    (Phase.HELD, DecisionKind.HOLD): frozenset({Phase.HELD}),
    (Phase.HELD, DecisionKind.CONFIRMED): frozenset({Phase.HELD}),
    (Phase.SHADOW, DecisionKind.CONFIRMED): frozenset({Phase.SHADOW}),
    (Phase.CANARY, DecisionKind.CONFIRMED): frozenset({Phase.CANARY}),
    (Phase.HELD, DecisionKind.START): frozenset({Phase.SHADOW, Phase.CANARY}),
    (Phase.SHADOW, DecisionKind.ADVANCE): frozenset({Phase.SHADOW, Phase.CANARY}),
    (Phase.CANARY, DecisionKind.ADVANCE): frozenset({Phase.CANARY}),
    (Phase.SHADOW, DecisionKind.AWAIT_SIGN_OFF): frozenset({Phase.SIGN_OFF}),
    (Phase.CANARY, DecisionKind.AWAIT_SIGN_OFF): frozenset({Phase.SIGN_OFF}),
    (Phase.SHADOW, DecisionKind.PROMOTE): frozenset({Phase.PROMOTING}),
    (Phase.CANARY, DecisionKind.PROMOTE): frozenset({Phase.PROMOTING}),
    (Phase.SIGN_OFF, DecisionKind.SIGNED): frozenset({Phase.SIGN_OFF}),
    (Phase.SIGN_OFF, DecisionKind.UNSIGNED): frozenset({Phase.SIGN_OFF}),
    (Phase.SIGN_OFF, DecisionKind.PROMOTE): frozenset({Phase.PROMOTING}),
    **{(phase, DecisionKind.REJECT): frozenset({Phase.ROLLING_BACK}) for phase in BEFORE_TITLE},
    (Phase.PROMOTING, DecisionKind.MOVED): frozenset({Phase.WATCH, Phase.PROMOTED}),
    (Phase.WATCH, DecisionKind.FINISH): frozenset({Phase.PROMOTED}),
    **{
        (phase, DecisionKind.ROLL_BACK): frozenset({Phase.ROLLING_BACK})
        for phase in (*BEFORE_TITLE, Phase.PROMOTING, Phase.WATCH)
    },
    (Phase.ROLLING_BACK, DecisionKind.MOVED): frozenset({Phase.ROLLED_BACK}),
    **{(phase, DecisionKind.ABORT): frozenset({Phase.ABORTED}) for phase in BEFORE_TITLE},
    **{(phase, DecisionKind.SUPERSEDE): frozenset({Phase.SUPERSEDED}) for phase in BEFORE_TITLE},
    **{(phase, DecisionKind.FOREIGN_MOVE): frozenset({Phase.ABORTED}) for phase in Phase if phase not in TERMINAL},
}
"""Every legal change of phase: (phase, decision) -> the phases that the decision may lead to."""
