"""Every Prometheus name of titleshot, in one table; docs/metrics.md is made from it (`markdown`)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Final

from comparator.confirming import WEBHOOK
from comparator.events import DecisionKind, Mode, Outcome, Role
from comparator.guardrail import Verdict
from comparator.patience import TRIGGERS
from comparator.phases import Phase


class Kind(str, Enum):
    """What kind of metric a name is, as Prometheus has it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One name: what it counts or says, under which labels, in which unit ("" where it counts things)."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""


ROLES: Final = tuple(role.name.lower() for role in Role)
MODES: Final = tuple(mode.name.lower() for mode in Mode)
OUTCOMES: Final = tuple(outcome.name.lower() for outcome in Outcome)
PHASES: Final = ("none", *(phase.value for phase in Phase))
VERDICTS: Final = tuple(verdict.name.lower() for verdict in Verdict)
DECISIONS: Final = tuple(kind.value for kind in DecisionKind)
ALIASES: Final = ("champion", "challenger", "previous")
QUANTILES: Final = ("0.5", "0.99")
JOINS: Final = ("tp", "fp", "fn", "tn")
LABEL_RESULTS: Final = ("matched", "duplicate", "conflicting", "invalid", "expired")
BREAKER_STATES: Final = ("open", "half_open")
NOTIFICATION_OUTCOMES: Final = ("delivered", "refused", "given_up", "dropped")
DROPPED_BY: Final = ("proxy", "control")
NO_TRIGGER: Final = "none"
ROLLBACK_TRIGGERS: Final = ("breaker", "operator", "alert")
"""Besides the guardrails of the model's policy."""

PATIENCE_TRIGGERS: Final = TRIGGERS
"""Of notices, and of rollouts that the judge aborts."""

DROP_REASONS: Final = ("full", "breaker_open", "too_large", "deadline")
REFUSALS: Final = (
    "malformed", "expectation", "slow_request", "body_too_large", "head_too_large", "upgrade", "unknown_model",
    "no_champion", "no_routes", "too_many_connections", "overloaded", "connect_failed", "connect_timeout",
    "upstream_broken", "upstream_closed", "upstream_timeout",
)  # fmt: skip
"""As the proxy names them; a test holds both tuples equal to its own. What else it may name appears when it does."""

ACCESS_REFUSALS: Final = ("unauthenticated", "forbidden")

POSSIBLE: Final = (
    (Role.CHAMPION, Mode.NONE), (Role.CHAMPION, Mode.SHADOW), (Role.CHAMPION, Mode.CANARY), (Role.CHAMPION, Mode.WATCH),
    (Role.CHALLENGER, Mode.SHADOW), (Role.CHALLENGER, Mode.CANARY), (Role.PREVIOUS, Mode.WATCH),
)  # fmt: skip
"""The pairs of role and mode that are there from the first scrape; forced ones appear with the first such request."""

BOUNDS: Final = tuple(float(f"{0.001 * 1.35**i:.6g}") for i in range(32))
"""Upper bounds of the latency buckets, in seconds: 1 ms to 11 s in steps of 35 %; p99 from them is within 7 %."""

_ROLE = ("model", "role")

REQUESTS = Family(
    "titleshot_requests_total",
    Kind.COUNTER,
    "Exchanges with model servers, copies for the shadow and the watch included, by what became of them.",
    ("model", "role", "mode", "outcome"),
)
DURATION = Family(
    "titleshot_request_duration_seconds",
    Kind.HISTOGRAM,
    "From the request's arrival to the end of the answer, of good answers and of time-outs: a failure that came fast "
    "is no fast answer.",
    _ROLE,
    "seconds",
)
LATENCY = Family(
    "titleshot_latency_quantile_seconds",
    Kind.GAUGE,
    "Quantile of the latency of the version that holds the role, within 1 %, over its last one or two minutes.",
    (*_ROLE, "q"),  # promtool keeps the name "quantile" for summaries
    "seconds",
)
HANDED_OVER = Family(
    "titleshot_handovers_total", Kind.COUNTER, "Requests of clients that were handed to a model server.", ("model",)
)
HANDOVER = Family(
    "titleshot_handover_seconds_total",
    Kind.COUNTER,
    "Time that those requests spent in titleshot before they were handed over, the wait for a connection included; "
    "by titleshot_handovers_total it is the mean overhead, apart from the time in the model.",
    ("model",),
    "seconds",
)
PRECISION = Family(
    "titleshot_live_precision",
    Kind.GAUGE,
    "Share of true positives among the labelled positives of the version with the role; of several classes: accuracy.",
    _ROLE,
    "ratio",
)
PRECISION_LOWER = Family(
    "titleshot_live_precision_lower",
    Kind.GAUGE,
    "Lower bound of the live precision, valid at all times at once.",
    _ROLE,
    "ratio",
)
PRECISION_UPPER = Family(
    "titleshot_live_precision_upper",
    Kind.GAUGE,
    "Upper bound of the live precision, valid at all times at once.",
    _ROLE,
    "ratio",
)
SHARE = Family(
    "titleshot_traffic_share_ratio", Kind.GAUGE, "Share of the clients that this role answers.", _ROLE, "ratio"
)
MIRRORED = Family(
    "titleshot_mirrored_share_ratio", Kind.GAUGE, "Share of the traffic that this role gets a copy of.", _ROLE, "ratio"
)
EVIDENCE = Family(
    "titleshot_evidence",
    Kind.GAUGE,
    "Evidence of harm (e-value) behind one guardrail of the rollout; 1 is none.",
    ("model", "guardrail"),
)
EVIDENCE_COMBINED = Family(
    "titleshot_evidence_combined",
    Kind.GAUGE,
    "Evidence of harm over all guardrails of the rollout: the average of their e-values.",
    ("model",),
)
EVIDENCE_THRESHOLD = Family(
    "titleshot_evidence_threshold",
    Kind.GAUGE,
    "The combined evidence at which the rollout is rolled back, unless the harm is trivial: 1 / alpha.",
    ("model",),
)
GUARDRAIL = Family(
    "titleshot_guardrail_verdict",
    Kind.GAUGE,
    "1 for the verdict that the guardrail has now, 0 for the others; 0 for all while nothing is compared.",
    ("model", "guardrail", "verdict"),
)
CHECK = Family(
    "titleshot_check_verdict",
    Kind.GAUGE,
    "1 for the verdict that the check on the user's own Prometheus has now, 0 for the others (not any-time-valid).",
    ("model", "check", "verdict"),
)
UNTOLD = Family(
    "titleshot_webhooks_untold",
    Kind.GAUGE,
    "Webhooks that have yet to be told of a rollback, once for each rollback.",
    ("model",),
)
NOTIFIED = Family(
    "titleshot_notifications_total",
    Kind.COUNTER,
    "What the targets under notify were told, by what became of it. refused: its answer forbids another attempt. "
    "given_up: an hour of attempts failed. dropped: the queue was full.",
    ("target", "outcome"),
)
NOTIFICATIONS_WAITING = Family(
    "titleshot_notifications_waiting", Kind.GAUGE, "What a target under notify has yet to be told.", ("target",)
)
VERDICT = Family(
    "titleshot_rollout_verdict",
    Kind.GAUGE,
    "1 for the verdict on the present step, 0 for the others; 0 for all while nothing is compared.",
    ("model", "verdict"),
)
PHASE = Family(
    "titleshot_rollout_phase",
    Kind.GAUGE,
    "1 for the phase of the model's latest rollout (none: there was none), 0 for the others.",
    ("model", "phase"),
)
STEP = Family(
    "titleshot_rollout_step",
    Kind.GAUGE,
    "Step of the latest rollout, counted from 1; 0 before the first.",
    ("model",),
)
STEPS = Family("titleshot_rollout_steps", Kind.GAUGE, "Steps of the latest rollout's policy.", ("model",))
PAUSED = Family("titleshot_rollout_paused", Kind.GAUGE, "1 while a rollout is paused by hand.", ("model",))
DECIDED = Family(
    "titleshot_decisions_total",
    Kind.COUNTER,
    "Decisions in force, by kind and by what tipped them (a guardrail, a check, breaker, operator, alert, or none).",
    ("model", "kind", "trigger"),
)
TICKED = Family(
    "titleshot_last_tick_timestamp_seconds",
    Kind.GAUGE,
    "When the judge last looked at the evidence, in seconds since the epoch.",
    ("model",),
    "seconds",
)
DROPPED = Family(
    "titleshot_shadow_dropped_total",
    Kind.COUNTER,
    "Copies of requests that were shed or cut off instead of kept waiting.",
    ("model", "reason"),
)
BREAKER = Family(
    "titleshot_breaker_workers",
    Kind.GAUGE,
    "Proxy workers whose breaker keeps traffic from the version on trial.",
    ("model", "state"),
)
LABELS = Family(
    "titleshot_labels_total",
    Kind.COUNTER,
    "Labels by what became of them. expired: they met no prediction within the retention. "
    "What POST /labels refuses is told to its sender, and not counted.",
    ("model", "result"),
)
LABELS_WAITING = Family(
    "titleshot_labels_waiting", Kind.GAUGE, "Labels that wait for the prediction they belong to.", ("model",)
)
PREDICTIONS_WAITING = Family(
    "titleshot_predictions_waiting", Kind.GAUGE, "Predictions that wait for their label.", ("model",)
)
REPEATED = Family(
    "titleshot_repeated_observations_total",
    Kind.COUNTER,
    "Observations that are no evidence because the same id had been answered before (ids of the clients' own).",
    ("model",),
)
JOINED = Family(
    "titleshot_labels_joined_total",
    Kind.COUNTER,
    "Labels joined to a prediction, by the role that its version held when they met, and as which outcome.",
    (*_ROLE, "outcome"),
)
UNREADABLE = Family(
    "titleshot_unreadable_answers_total", Kind.COUNTER, "Answers in which no prediction could be read.", ("model",)
)
UNREAD = Family(
    "titleshot_unread_answers_total",
    Kind.COUNTER,
    "Good answers whose prediction was not looked for: longer than limits.extract, encoded, or with too many rows.",
    ("model",),
)
CLAMPED = Family(
    "titleshot_observations_clamped_total",
    Kind.COUNTER,
    "Observations (rows) whose time was not yet when they came, as by a clock set back: they count as of then.",
    ("model",),
)
VERSION = Family(
    "titleshot_version_info",
    Kind.GAUGE,
    "The version that an alias names, as last read.",
    ("model", "alias", "version"),
)
READY = Family(
    "titleshot_endpoint_ready",
    Kind.GAUGE,
    "1 if the endpoint of the version that the alias names answered its last readiness probe.",
    ("model", "alias"),
)
AWAITED = Family(
    "titleshot_champion_awaited",
    Kind.GAUGE,
    "1 while @champion names a version whose endpoint is not ready, and the one before it still serves.",
    ("model",),
)
FROZEN = Family(
    "titleshot_frozen",
    Kind.GAUGE,
    "1 while no rollout starts, after too many rollbacks in a day, until a person unfreezes the model.",
    ("model",),
)
REGISTRY_UP = Family("titleshot_registry_up", Kind.GAUGE, "1 if the last read of the registry went well.", ("model",))
REGISTRY_READ = Family(
    "titleshot_registry_read_timestamp_seconds",
    Kind.GAUGE,
    "The last good read of the registry, in seconds since the epoch.",
    ("model",),
    "seconds",
)
REGISTRY_ERRORS = Family(
    "titleshot_registry_errors_total", Kind.COUNTER, "Reads and moves that the registry did not carry out.", ("model",)
)
RELOAD_OK = Family(
    "titleshot_config_reload_success", Kind.GAUGE, "1 if the settings as they are now in the file are in force."
)
RELOAD_AT = Family(
    "titleshot_config_reload_timestamp_seconds",
    Kind.GAUGE,
    "When settings were last taken over, in seconds since the epoch.",
    unit="seconds",
)
LEDGER_UP = Family("titleshot_ledger_up", Kind.GAUGE, "1 if the last write to the ledger went well.")
LEDGER_ERRORS = Family("titleshot_ledger_errors_total", Kind.COUNTER, "Writes that the ledger did not take.")
PROXIES = Family("titleshot_proxies_connected", Kind.GAUGE, "Proxy workers that are linked to the control process.")
REVISION = Family("titleshot_routes_revision", Kind.GAUGE, "Revision of the routes as published last.")
REVISION_IN_USE = Family(
    "titleshot_routes_revision_in_use",
    Kind.GAUGE,
    "The oldest revision of the routes that a linked proxy worker serves from.",
)
CLIENTS = Family("titleshot_client_connections", Kind.GAUGE, "Open connections of clients.")
UPSTREAMS = Family("titleshot_upstream_connections", Kind.GAUGE, "Open connections to model servers.")
REFUSED = Family(
    "titleshot_refused_requests_total",
    Kind.COUNTER,
    "Requests that titleshot answered itself, by reason; upstream_* and connect_* stand for a model server.",
    ("reason",),
)
ACCESS_REFUSED = Family(
    "titleshot_admin_refused_total",
    Kind.COUNTER,
    "Requests to the admin port without a known token (unauthenticated) or without the right (forbidden).",
    ("reason",),
)
LOST_ROWS = Family(
    "titleshot_observations_dropped_total",
    Kind.COUNTER,
    "Observations lost because the control process (proxy) or the ledger (control) was away too long.",
    ("dropped_by",),
)
LOST_RACES = Family(
    "titleshot_lost_races_total",
    Kind.COUNTER,
    "Requests lost to a model server that closed its idle connection as they were sent.",
)
BUILD = Family("titleshot_build_info", Kind.GAUGE, "The version of titleshot.", ("version",))

TABLE: Final = (
    REQUESTS, DURATION, HANDED_OVER, HANDOVER, LATENCY, SHARE, MIRRORED, UNREADABLE, UNREAD, CLAMPED,
    PRECISION, PRECISION_LOWER, PRECISION_UPPER, LABELS, LABELS_WAITING, PREDICTIONS_WAITING,
    JOINED, REPEATED,
    PHASE, STEP, STEPS, PAUSED, FROZEN,
    VERDICT, GUARDRAIL, CHECK, EVIDENCE, EVIDENCE_COMBINED, EVIDENCE_THRESHOLD, DECIDED, UNTOLD, TICKED,
    NOTIFIED, NOTIFICATIONS_WAITING,
    DROPPED, BREAKER,
    VERSION, READY, AWAITED, REGISTRY_UP, REGISTRY_READ, REGISTRY_ERRORS,
    RELOAD_OK, RELOAD_AT, LEDGER_UP, LEDGER_ERRORS, LOST_ROWS,
    PROXIES, REVISION, REVISION_IN_USE, CLIENTS, UPSTREAMS, REFUSED, ACCESS_REFUSED, LOST_RACES, BUILD,
)  # fmt: skip
"""All of them, in the order of the exposition."""

_VALUES = {
    "role": ROLES,
    "mode": MODES,
    "outcome": OUTCOMES,
    "phase": PHASES,
    "verdict": VERDICTS,
    "kind": DECISIONS,
    "trigger": (NO_TRIGGER, *ROLLBACK_TRIGGERS, *PATIENCE_TRIGGERS, WEBHOOK, "a guardrail's or a check's name"),
    "alias": ALIASES,
    "q": QUANTILES,
    "result": LABEL_RESULTS,
    "state": BREAKER_STATES,
    "dropped_by": DROPPED_BY,
    "model": ("as named in titleshot.yaml",),
    "guardrail": ("as named in the policy: precision, precision_of_cancel, p99_latency, error_rate",),
    "check": ("as named in the policy",),
    "target": ("as named under notify in titleshot.yaml",),
    "version": ("the registry's number of the version (of titleshot itself in titleshot_build_info)",),
}


_INTRODUCTION = """\
# Metrics

`GET /metrics` on the admin port, for Prometheus: the text format, or OpenMetrics where it is asked for. This page is
made from the table in `router/control/metric_table.py`: `python -m router.control.metric_table > docs/metrics.md`.

- Counters and one-hot gauges are there from the first scrape, at 0. A gauge that has nothing to say yet (no labels, no
  rollout, no such alias) is left out; there is no NaN.
- Roles are labels, versions are not, so that nothing grows with the number of versions. Which version an alias names is
  told by `titleshot_version_info`.
- Counters start at 0 with the control process. Gauges made from the ledger (precision, quantiles, evidence) survive its
  restart.
- An error ratio is 1 less the rate of `titleshot_requests_total` with the outcome ok over the rate of all but cancelled
  and lost_race, which say nothing about a version.
- Rely on `titleshot_latency_quantile_seconds` for p50 and p99 of a version. `histogram_quantile` over the histogram
  can look at any span of time, but is up to 7 % off.

| name | type | unit | labels | meaning |
| --- | --- | --- | --- | --- |
"""


def markdown() -> str:
    """docs/metrics.md."""
    lines = []
    for family in TABLE:
        labels = ", ".join(family.labels) or "-"
        lines.append(f"| `{family.name}` | {family.kind.value} | {family.unit or '-'} | {labels} | {family.help} |")
    lines += ["", "## Labels", "", "| label | values |", "| --- | --- |"]
    lines += [f"| {label} | {', '.join(values)} |" for label, values in sorted(_VALUES.items())]
    lines += [
        f"| outcome of `{JOINED.name}` | {', '.join(JOINS)} |",
        f"| outcome of `{NOTIFIED.name}` | {', '.join(NOTIFICATION_OUTCOMES)} |",
        f"| reason of `{DROPPED.name}` | {', '.join(DROP_REASONS)} |",
        f"| reason of `{ACCESS_REFUSED.name}` | {', '.join(ACCESS_REFUSALS)} |",
        f"| reason of `{REFUSED.name}` | {', '.join(REFUSALS)} |",
    ]
    return _INTRODUCTION + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
