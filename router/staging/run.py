"""All checks of one staged version, in the order in which they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from comparator.gate import OFFLINE_NAMES, offline_figure
from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from comparator.policy import LABEL_METRICS, Guardrail, Metric, Policy
from router.protocols.protocol import Prediction
from router.staging.ask import Server, as_answers, predictions_of
from router.staging.check import Check
from router.staging.contract import answered, bad_requests, batches_agree, clean_refusal, request_of, same_schema
from router.staging.holdout import Holdout
from router.staging.latency import budget
from router.staging.metrics import Figure, figure, minimum, no_regression, reproduced

ALONE_ROWS = 50
BATCH_ROWS = 1000
WARM_UP_REQUESTS = 20
LATENCY_REQUESTS = 500


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Args:
        policy: its guardrails and its `staging`.
        types: MLflow's type of each feature column, as the signature has them.
        required: columns that may not be left out.
        offline: the version's offline metrics, as the registry has them.
        positive: the prediction that counts as positive; None: predictions are numbers.
    """

    policy: Policy
    types: Mapping[str, str]
    required: Sequence[str]
    offline: Mapping[str, float]
    positive: float | None


async def run_checks(subject: Subject, holdout: Holdout, staged: Server, champion: Server | None) -> list[Check]:
    """Ask the staged server, and the champion on the same rows, and judge."""
    columns = list(subject.types)
    checks = await _contract(subject, columns, holdout, staged, champion)
    ours = await staged.predict(columns, holdout.rows)
    theirs = await champion.predict(columns, holdout.rows) if champion is not None else None
    checks += _metrics(subject, holdout, ours, theirs)
    return checks + await _latency(subject, columns, holdout, staged)


async def _contract(
    subject: Subject, columns: Sequence[str], holdout: Holdout, staged: Server, champion: Server | None
) -> list[Check]:
    first = holdout.rows[0]
    one = await staged.ask(request_of(columns, [first]))
    found = predictions_of(one)
    checks = [answered("contract.one_row", one, None if found is None else len(found), 1)]
    many = [holdout.rows[index % len(holdout.rows)] for index in range(BATCH_ROWS)]
    whole = await staged.ask(request_of(columns, many))
    together = predictions_of(whole)
    checks.append(answered("contract.batch", whole, None if together is None else len(together), BATCH_ROWS))
    rows = many[: min(ALONE_ROWS, len(holdout.rows))]
    alone = [await staged.predict(columns, [row]) for row in rows]
    if together is not None and all(each is not None for each in alone):
        checks.append(batches_agree([each[0].value for each in alone if each], [each.value for each in together[: len(rows)]]))
    else:
        checks.append(batches_agree([], []))
    for name, body in bad_requests(subject.types, subject.required, first).items():
        checks.append(clean_refusal(name, await staged.ask(body)))
    example = request_of(columns, holdout.rows[:20])
    theirs = await champion.ask(example) if champion is not None else None
    return [*checks, same_schema(await staged.ask(example), theirs)]


def _metrics(
    subject: Subject, holdout: Holdout, ours: list[Prediction] | None, theirs: list[Prediction] | None
) -> list[Check]:
    asked, count = subject.policy.staging, len(holdout.rows)
    enough = count >= asked.min_rows
    checks = [
        Check(
            "holdout.rows",
            Verdict.PASS if enough else Verdict.INCONCLUSIVE,
            f"{count:,} labelled rows, expected at least {asked.min_rows:,}",
            {"rows": float(count)},
        )
    ]
    rails = {rail.metric: rail for rail in subject.policy.guardrails if rail.metric in LABEL_METRICS - {Metric.REWARD}}
    least = dict(asked.minimum)
    for metric in sorted(rails.keys() | {Metric(name) for name in least}, key=lambda each: each.value):
        rail = rails.get(metric) or Guardrail(metric, 0.01)
        figures = [_figure(rail, subject, holdout, each) for each in (ours, theirs)]
        judged = LabelMetric(rail)
        if metric.value in least:
            checks.append(minimum(judged, figures[0], least[metric.value]))
        if metric in rails:
            checks.append(no_regression(judged, figures[0], figures[1], rail.margin))
        if metric in OFFLINE_NAMES:
            offline = offline_figure(metric, subject.offline)
            checks.append(reproduced(judged, figures[0], offline, asked.reproduce_tolerance))
    return checks


def _figure(rail: Guardrail, subject: Subject, holdout: Holdout, found: list[Prediction] | None) -> Figure | None:
    if found is None:
        return None
    return figure(LabelMetric(rail), np.asarray(holdout.labels), as_answers(found, subject.positive))


async def _latency(subject: Subject, columns: Sequence[str], holdout: Holdout, staged: Server) -> list[Check]:
    asked = subject.policy.staging
    bodies = [request_of(columns, [row]) for row in holdout.rows[:LATENCY_REQUESTS]]
    await staged.at_rate(bodies, asked.rate, min(WARM_UP_REQUESTS, max(1, int(asked.rate))))
    count = LATENCY_REQUESTS if asked.p50_seconds is not None or asked.p99_seconds is not None else WARM_UP_REQUESTS
    seconds, failed = await staged.at_rate(bodies, asked.rate, count)
    return [
        budget(q, seconds, failed, most, asked.rate)
        for q, most in ((0.5, asked.p50_seconds), (0.99, asked.p99_seconds))
    ]
