"""Prometheus names about titleshot itself and what it depends on."""

from __future__ import annotations

from router.control.metric_family import Family, Kind

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
LEDGER_LAG = Family(
    "titleshot_ledger_lag_seconds",
    Kind.GAUGE,
    "For how long the oldest observation that is not in the ledger yet has waited; 0: none waits.",
    ("model",),
    "seconds",
)
UNRECORDED = Family(
    "titleshot_observations_unrecorded", Kind.GAUGE, "Observations (rows) that are not in the ledger yet.", ("model",)
)
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
ACT_REFUSED = Family(
    "titleshot_refused_acts_total",
    Kind.COUNTER,
    "Requests to the admin port that would have changed something, refused for who asked: without a known token, "
    "without the right, not whom the policy lets, from a page of another site. The ledger has them, too.",
    ("act",),
)
REFUSALS_LOST = Family(
    "titleshot_refused_acts_unrecorded_total", Kind.COUNTER, "Those of them that the ledger, being away, did not take."
)
ALERTS = Family(
    "titleshot_alerts_total",
    Kind.COUNTER,
    "Alerts that Alertmanager sent, by what became of them. acted, nothing (was on trial), refused (could not be done "
    "then): once for each model that one was for. resolved: it fires no more. ignored: no rollback_on of its model has "
    "its labels. unknown_model: it is of no model here. malformed: it is no alert.",
    ("result",),
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
SPANS = Family(
    "titleshot_spans_total",
    Kind.COUNTER,
    "Spans of traced requests by what became of them. failed: the collector did not take them. "
    "dropped: more came than could be kept.",
    ("outcome",),
)
CPU = Family(
    "titleshot_process_cpu_seconds_total",
    Kind.COUNTER,
    "Processor time that the process has used, user and system (this and the next three: on Linux).",
    ("process",),
    "seconds",
)
MEMORY = Family(
    "titleshot_process_resident_memory_bytes", Kind.GAUGE, "Memory that the process has in use.", ("process",), "bytes"
)
OPEN_FILES = Family(
    "titleshot_process_open_fds", Kind.GAUGE, "Open file descriptors of the process, sockets included.", ("process",)
)
STARTED = Family(
    "titleshot_process_start_time_seconds",
    Kind.GAUGE,
    "When the process started, in seconds since the epoch.",
    ("process",),
    "seconds",
)
BUILD = Family("titleshot_build_info", Kind.GAUGE, "The version of titleshot.", ("version",))
