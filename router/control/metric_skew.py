"""Live requests and answers beside signature and training profile, of sampled requests."""

from __future__ import annotations

from router.control.metric_family import Family, Kind
from router.control.skew.names import BREAKS, DIFFERENCES, NOT_OURS, OTHERS, SKEW_RESULTS

__all__ = [
    "ANSWERS_DIFFER", "BREAKS", "CONTRACT", "DIFFERENCES", "FEATURE_PSI", "FEATURE_SKEWED", "NOT_OURS", "OTHERS",
    "SKEWED_FEATURES", "SKEW_REQUESTS", "SKEW_RESULTS", "SKEW_ROWS",
]  # fmt: skip

SKEW_REQUESTS = Family(
    "titleshot_skew_requests_total",
    Kind.COUNTER,
    "Sampled requests by what became of them. checked: against the signature of a version that serves. unnamed: their "
    "columns have no names. unsigned: no signature that can be checked. dropped: too many at once.",
    ("model", "result"),
)
SKEW_ROWS = Family(
    "titleshot_skew_rows",
    Kind.GAUGE,
    "Rows of sampled requests in the window, of the version that holds the role.",
    ("model", "role"),
)
CONTRACT = Family(
    "titleshot_contract_violations_total",
    Kind.COUNTER,
    "Sampled requests in which a column breaks the signature of the version that holds the role, by how. coerced: the "
    "server takes it silently as another value.",
    ("model", "role", "column", "kind"),
)
FEATURE_PSI = Family(
    "titleshot_feature_psi",
    Kind.GAUGE,
    "Population stability index of a feature against the training profile of the version that holds the role; of the "
    "50 farthest beyond, or nearest to, their threshold.",
    ("model", "role", "column"),
)
FEATURE_SKEWED = Family(
    "titleshot_feature_skewed",
    Kind.GAUGE,
    "1 for a feature whose PSI exceeds what is asked for and what chance explains, else 0; of the same 50.",
    ("model", "role", "column"),
)
SKEWED_FEATURES = Family(
    "titleshot_skewed_features",
    Kind.GAUGE,
    "How many features of the version that holds the role are skewed, of all; none while no feature has enough rows.",
    ("model", "role"),
)
ANSWERS_DIFFER = Family(
    "titleshot_answer_differences_total",
    Kind.COUNTER,
    "Answers to sampled requests that differ from what the champion's are, by how: rows (other than the request has), "
    "prediction (none that can be read), score (one where the champion has none, or the other way round).",
    ("model", "role", "kind"),
)
