"""Prometheus names about traffic: requests and answers, predictions and labels."""

from __future__ import annotations

from router.control.metric_family import Family, Kind

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
SHARE = Family(
    "titleshot_traffic_share_ratio", Kind.GAUGE, "Share of the clients that this role answers.", _ROLE, "ratio"
)
MIRRORED = Family(
    "titleshot_mirrored_share_ratio", Kind.GAUGE, "Share of the traffic that this role gets a copy of.", _ROLE, "ratio"
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
PRECISION = Family(
    "titleshot_live_precision",
    Kind.GAUGE,
    "Share of true positives among the labelled positives of the version that holds the role.",
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
