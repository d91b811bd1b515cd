"""Prometheus names about traffic: requests and answers, predictions and labels."""

from __future__ import annotations

from router.control.metric_family import Family, Kind
from router.control.metric_values import BOUNDS
from router.link.overhead import OVERHEAD_BOUNDS

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
    BOUNDS,
)
FIRST_BYTE = Family(
    "titleshot_first_byte_seconds",
    Kind.HISTOGRAM,
    "From the request's arrival to the first byte of the answer's body (a stream's first token), of good answers.",
    _ROLE,
    "seconds",
    BOUNDS,
)
LATENCY = Family(
    "titleshot_latency_quantile_seconds",
    Kind.GAUGE,
    "Quantile of the latency of the version that holds the role, within 1 %, over its last one or two minutes.",
    (*_ROLE, "q"),  # promtool keeps the name "quantile" for summaries
    "seconds",
)
OVERHEAD = Family(
    "titleshot_overhead_seconds",
    Kind.HISTOGRAM,
    "Time that clients' requests spent in titleshot, apart from the time in the model: from arrival until a model "
    "server has them, the wait for a connection included, and from the end of the answer until that is written.",
    ("model",),
    "seconds",
    OVERHEAD_BOUNDS,
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
    "Good answers whose prediction was not looked for: longer than limits.extract, in a coding that is not read, or "
    "with too many rows.",
    ("model",),
)
TOKENS_USED = Family(
    "titleshot_tokens_total",
    Kind.COUNTER,
    "Tokens of language models' good answers, as the answers say (protocol openai). Completion tokens of a streamed "
    "answer that does not say are its pieces. There from the first answer that says something.",
    (*_ROLE, "kind"),
)
OUTPUT_TOKEN = Family(
    "titleshot_time_per_output_token_seconds",
    Kind.HISTOGRAM,
    "Of a streamed answer (protocol openai): from its first byte to its end, by its tokens after the first.",
    _ROLE,
    "seconds",
    BOUNDS,
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
