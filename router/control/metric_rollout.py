"""Prometheus names about rollouts: evidence and decisions, versions and their endpoints."""

from __future__ import annotations

from router.control.metric_family import Family, Kind

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
FROZEN = Family(
    "titleshot_frozen",
    Kind.GAUGE,
    "1 while no rollout starts, after too many rollbacks in a day, until a person unfreezes the model.",
    ("model",),
)
DECIDED = Family(
    "titleshot_decisions_total",
    Kind.COUNTER,
    "Decisions in force, by kind and by what tipped them (a guardrail, a check, breaker, operator, alert, or none).",
    ("model", "kind", "trigger"),
)
UNTOLD = Family(
    "titleshot_webhooks_untold",
    Kind.GAUGE,
    "Webhooks that have yet to be told of a rollback, once for each rollback.",
    ("model",),
)
TICKED = Family(
    "titleshot_last_tick_timestamp_seconds",
    Kind.GAUGE,
    "When the judge last looked at the evidence, in seconds since the epoch.",
    ("model",),
    "seconds",
)
_BESIDE = ("model", "with")
AGREEMENT = Family(
    "titleshot_agreement_ratio",
    Kind.GAUGE,
    "Share of the rows on which the champion's prediction equals the challenger's, or its own second one "
    "(asked_twice), in the latest rollout with a shadow.",
    _BESIDE,
    "ratio",
)
AGREEMENT_LOWER = Family(
    "titleshot_agreement_ratio_lower",
    Kind.GAUGE,
    "Lower bound of the agreement, valid at all times at once.",
    _BESIDE,
    "ratio",
)
AGREEMENT_UPPER = Family(
    "titleshot_agreement_ratio_upper",
    Kind.GAUGE,
    "Upper bound of the agreement, valid at all times at once.",
    _BESIDE,
    "ratio",
)
SCORE_DISTANCE = Family(
    "titleshot_score_distance",
    Kind.GAUGE,
    "Mean absolute difference of the scores of the same two answers, where none is above 1.",
    _BESIDE,
    "ratio",
)
SCORE_PSI = Family(
    "titleshot_score_psi",
    Kind.GAUGE,
    "Population stability index of the scores of the same two answers, where all are from 0 to 1.",
    _BESIDE,
)
SCORE_PSI_THRESHOLD = Family(
    "titleshot_score_psi_threshold",
    Kind.GAUGE,
    "What that index exceeds by chance alone once in a thousand looks, by the number of rows that there are.",
    _BESIDE,
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
