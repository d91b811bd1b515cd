"""Every Prometheus name of titleshot, in one table; docs/metrics.md is made from it (`markdown`).

The families are declared by what they tell about, and all of them are names of this module.
"""

# ruff: noqa: F403, F405 - one namespace is the point; mypy knows what is in it
from __future__ import annotations

import sys
from typing import Final

from comparator.confirming import WEBHOOK
from router.control.metric_health import *
from router.control.metric_rollout import *
from router.control.metric_skew import *
from router.control.metric_traffic import *
from router.control.metric_values import *

TABLE: Final = (
    REQUESTS, DURATION, FIRST_BYTE, OVERHEAD, LATENCY, SHARE, MIRRORED, UNREADABLE, UNREAD, CLAMPED,
    TOKENS_USED, OUTPUT_TOKEN,
    PRECISION, PRECISION_LOWER, PRECISION_UPPER, LABELS, LABELS_WAITING, PREDICTIONS_WAITING,
    JOINED, REPEATED, AGREEMENT, AGREEMENT_LOWER, AGREEMENT_UPPER, SCORE_DISTANCE, SCORE_PSI, SCORE_PSI_THRESHOLD,
    PHASE, STEP, STEPS, PAUSED, FROZEN,
    VERDICT, GUARDRAIL, CHECK, EVIDENCE, EVIDENCE_COMBINED, EVIDENCE_THRESHOLD, DECIDED, UNTOLD, TICKED,
    NOTIFIED, NOTIFICATIONS_WAITING,
    DROPPED, BREAKER,
    SKEW_REQUESTS, SKEW_ROWS, CONTRACT, FEATURE_PSI, FEATURE_SKEWED, SKEWED_FEATURES, ANSWERS_DIFFER,
    VERSION, READY, AWAITED, REGISTRY_UP, REGISTRY_READ, REGISTRY_ERRORS,
    RELOAD_OK, RELOAD_AT, LEDGER_UP, LEDGER_ERRORS, LEDGER_LAG, UNRECORDED, LOST_ROWS,
    PROXIES, REVISION, REVISION_IN_USE, CLIENTS, UPSTREAMS, LOST_RACES, SPANS,
    REFUSED, ACCESS_REFUSED, ACT_REFUSED, REFUSALS_LOST, ALERTS,
    CPU, MEMORY, OPEN_FILES, STARTED, BUILD,
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
    "column": ("as the version's signature and training profile have it", OTHERS, NOT_OURS),
    "act": ACTS,
    "process": (
        "control",
        "proxy-0 and on: the workers",
    ),
    "with": BESIDE,
    "target": ("as named under notify in titleshot.yaml",),
    "version": ("the registry's number of the version (of titleshot itself in titleshot_build_info)",),
}


_INTRODUCTION = """\
# Metrics

`GET /metrics` on the admin port, for Prometheus: the text format, or OpenMetrics where it is asked for. This page is
made from the table in `router/control/metric_table.py`: `python -m router.control.metric_table > docs/metrics.md`.

- Counters and one-hot gauges are there from the first scrape, at 0; histograms of the role previous, which answers in a
  watch only, from its first answer. A gauge that has nothing to say yet (no labels, no
  rollout, no such alias) is left out; there is no NaN.
- The `model` of a [lane](governance.md#several-challengers) is MODEL@ALIAS. What the champion answers is counted
  once, as the model's; labels and evidence are each lane's own.
- Roles are labels, versions are not, so that nothing grows with the number of versions. Which version an alias names is
  told by `titleshot_version_info`.
- Counters start at 0 with the control process. Gauges made from the ledger (precision, quantiles, evidence) survive its
  restart.
- An error ratio is 1 less the rate of `titleshot_requests_total` with the outcome ok over the rate of all but cancelled
  and lost_race, which say nothing about a version.
- With [tracing](tracing.md), buckets of `titleshot_request_duration_seconds` have exemplars in OpenMetrics: the trace
  of the latest traced answer in each.
- Rely on `titleshot_latency_quantile_seconds` for p50 and p99 of a version. `histogram_quantile` over the histogram
  can look at any span of time, but is within 5 % for latencies that spread by a tenth or more around
  their mean or their modes, and up to 13 % off for narrower ones; below 1 ms it says little.

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
        f"| kind of `{CONTRACT.name}` | {', '.join(BREAKS)} |",
        f"| kind of `{ANSWERS_DIFFER.name}` | {', '.join(DIFFERENCES)} |",
        f"| result of `{SKEW_REQUESTS.name}` | {', '.join(SKEW_RESULTS)} |",
        f"| outcome of `{JOINED.name}` | {', '.join(JOINS)} |",
        f"| result of `{ALERTS.name}` | {', '.join(ALERT_RESULTS)} |",
        f"| outcome of `{NOTIFIED.name}` | {', '.join(NOTIFICATION_OUTCOMES)} |",
        f"| outcome of `{SPANS.name}` | {', '.join(SPAN_OUTCOMES)} |",
        f"| kind of `{TOKENS_USED.name}` | {', '.join(TOKEN_KINDS)} |",
        f"| reason of `{DROPPED.name}` | {', '.join(DROP_REASONS)} |",
        f"| reason of `{ACCESS_REFUSED.name}` | {', '.join(ACCESS_REFUSALS)} |",
        f"| reason of `{REFUSED.name}` | {', '.join(REFUSALS)} |",
    ]
    return _INTRODUCTION + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
