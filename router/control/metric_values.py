"""The values that labels of the metrics can have, and the bounds of their buckets."""

from __future__ import annotations

from typing import Final

from comparator.events import DecisionKind, Mode, Outcome, Role
from comparator.guardrail import Verdict
from comparator.patience import TRIGGERS
from comparator.phases import Phase

ROLES: Final = tuple(role.name.lower() for role in Role)
MODES: Final = tuple(mode.name.lower() for mode in Mode)
OUTCOMES: Final = tuple(outcome.name.lower() for outcome in Outcome)
PHASES: Final = ("none", *(phase.value for phase in Phase))
VERDICTS: Final = tuple(verdict.name.lower() for verdict in Verdict)
DECISIONS: Final = tuple(kind.value for kind in DecisionKind)
ALIASES: Final = ("champion", "challenger", "previous")
QUANTILES: Final = ("0.5", "0.99")
TOKEN_KINDS: Final = ("prompt", "completion")
JOINS: Final = ("tp", "fp", "fn", "tn")
LABEL_RESULTS: Final = ("matched", "duplicate", "conflicting", "invalid", "expired")
BREAKER_STATES: Final = ("open", "half_open")
NOTIFICATION_OUTCOMES: Final = ("delivered", "refused", "given_up", "dropped")
SPAN_OUTCOMES: Final = ("exported", "failed", "dropped")
DROPPED_BY: Final = ("proxy", "control")
NO_TRIGGER: Final = "none"
ROLLBACK_TRIGGERS: Final = ("breaker", "operator", "alert")
"""Besides the guardrails of the model's policy."""

PATIENCE_TRIGGERS: Final = TRIGGERS
"""Of notices, and of rollouts that the judge aborts."""

DROP_REASONS: Final = ("full", "breaker_open", "too_large", "stream", "deadline")
REFUSALS: Final = (
    "malformed", "expectation", "slow_request", "body_too_large", "head_too_large", "upgrade", "unknown_model",
    "unnamed_model", "no_champion", "no_routes", "too_many_connections", "overloaded", "connect_failed",
    "connect_timeout", "upstream_broken", "upstream_closed", "upstream_timeout",
)  # fmt: skip
"""As the proxy names them; a test holds both tuples equal to its own. What else it may name appears when it does."""

ACTS: Final = (
    "rollback", "pause", "resume", "abort", "start", "promote", "sign-off", "reject", "unfreeze",
    "gate", "labels", "alerts",
)  # fmt: skip
"""As the admin port names them; a test holds them equal to its own."""

ALERT_RESULTS: Final = ("acted", "nothing", "refused", "resolved", "ignored", "unknown_model", "malformed")
ACCESS_REFUSALS: Final = ("unauthenticated", "forbidden")

BESIDE: Final = ("challenger", "itself")
"""Whom the champion's answers are held against."""

POSSIBLE: Final = (
    (Role.CHAMPION, Mode.NONE), (Role.CHAMPION, Mode.SHADOW), (Role.CHAMPION, Mode.CANARY), (Role.CHAMPION, Mode.WATCH),
    (Role.CHALLENGER, Mode.SHADOW), (Role.CHALLENGER, Mode.CANARY), (Role.PREVIOUS, Mode.WATCH),
)  # fmt: skip
"""The pairs of role and mode that are there from the first scrape; forced ones appear with the first such request."""

BOUNDS: Final = tuple(float(f"{0.001 * 1.13**i:.6g}") for i in range(77))
"""Upper bounds of the latency buckets, in seconds: 1 ms to 11 s in steps of 13 %.

p99 as Prometheus reads it from them, in a straight line through its bucket, is within 5 % for latencies that spread by
a tenth or more around their mean or their modes (a test tries many); within 13 % for any.
"""
