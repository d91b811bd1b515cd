"""All checks of one staged version, in the order in which they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from comparator.gate import offline_figure
from comparator.gated import Measured, measured
from comparator.guardrail import Verdict
from comparator.label_metric import LabelMetric
from comparator.policy import Policy
from router.artifacts.signature import Columns
from router.protocols.coding import Coding
from router.protocols.protocol import Prediction, Questions
from router.staging import contract
from router.staging.ask import Server, as_answers
from router.staging.check import Check
from router.staging.contract import Answer
from router.staging.holdout import Holdout
from router.staging.latency import budget
from router.staging.metrics import Answers, Figure, figure, minimum, no_regression, none_predicted, reproduced

ALONE_ROWS = 50
BATCH_ROWS = 1000
SCHEMA_ROWS = 20
SHAPE_ROWS = 3
WARM_UP_REQUESTS = 20
WARM_UP_SECONDS = 3.0
BODIES = 500

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Args:
        policy: its guardrails and its `staging`.
        columns: of the version's signature.
        questions: how a server is asked for predictions.
        example: the request that was logged with the model; None: there is none.
        offline: the version's offline metrics, as the registry has them.
        coding: how predictions become numbers.
    """

    policy: Policy
    columns: Columns
    questions: Questions
    example: bytes | None
    offline: Mapping[str, float]
    coding: Coding


async def run_checks(
    subject: Subject, holdout: Holdout, staged: Server, champion: Server | None, tell: Tell = lambda _: None
) -> list[Check]:
    """Ask the staged server, and the champion on the same rows, and judge."""
    signature = f"{len(subject.columns.types)} columns, {len(subject.columns.required)} of them required"
    checks = [Check("contract.signature", Verdict.PASS, f"the signature has {signature}")]
    tell("contract")
    checks += await _contract(subject, holdout, staged, champion)
    checks += await _metrics(subject, holdout, staged, champion, tell)
    return [*checks, *await _latency(subject, holdout, staged, tell)]


async def _contract(subject: Subject, holdout: Holdout, staged: Server, champion: Server | None) -> list[Check]:
    columns, names, first = subject.columns, subject.columns.names, holdout.rows[0]
    questions = subject.questions
    good = questions.of(names, [first])
    one = await staged.ask(good)
    many = [holdout.rows[index % len(holdout.rows)] for index in range(BATCH_ROWS)]
    whole = await staged.ask(questions.of(names, many))
    together = whole.predictions if whole.has(BATCH_ROWS) else None
    alone = await staged.ask_all([questions.of(names, [row]) for row in many[: min(ALONE_ROWS, len(holdout.rows))]])
    few = many[:SHAPE_ROWS]
    checks = [
        contract.answered("contract.one_row", one, 1),
        contract.answered("contract.batch", whole, BATCH_ROWS),
        contract.batches_agree([each.predictions[0] if each.predictions else None for each in alone], together),
    ]
    if shapes := questions.shapes(names, few):
        like = together[:SHAPE_ROWS] if together is not None else None
        answers = await _each(staged, shapes.items())
        checks.append(contract.all_answered("contract.shapes", "request shapes", answers, like))
    else:
        checks.append(Check("contract.shapes", Verdict.PASS, "request shapes: the protocol has but one"))
    example = questions.example(subject.example) if subject.example is not None else None
    if example is not None:
        checks.append(contract.example_answered(await staged.ask(example)))
    checks += [
        contract.columns_matter(columns, await _each(staged, contract.without_each(questions, columns, first))),
        await _refused(
            "contract.wrong_type",
            "values of the wrong type",
            contract.wrong_types(questions, columns, first),
            good,
            staged,
            champion,
        ),
        contract.extra_column(await staged.ask(contract.with_extra_column(questions, columns, first)), one),
        contract.empty_batch(await staged.ask(questions.of(names, []))),
        await _refused(
            "contract.malformed", "malformed requests", contract.malformed().items(), good, staged, champion
        ),
    ]
    same = questions.of(names, holdout.rows[:SCHEMA_ROWS])
    theirs = await champion.ask(same) if champion is not None else None
    return [*checks, contract.same_schema(await staged.ask(same), theirs)]


def _told_rows(tell: Tell, who: str, count: int, done: int) -> None:
    tell(f"{who}: row {done:,} of {count:,}")


async def _refused(
    name: str, what: str, requests: Iterable[tuple[str, bytes]], good: bytes, staged: Server, champion: Server | None
) -> Check:
    """The champion is asked only what the staged server has outlived: it is in production."""
    named = dict(requests)
    answers = await _each(staged, named.items())
    theirs: Mapping[str, Answer] = {}
    again = {each: named[each] for each in contract.excusable(answers)}
    if champion is not None and again:
        after = await staged.ask(good)
        if not after.has(1):
            return contract.broken(name, what, after)
        theirs = await _outlived(champion, again, good)
    return contract.refused(name, what, answers, theirs)


async def _outlived(champion: Server, requests: Mapping[str, bytes], good: bytes) -> Mapping[str, Answer]:
    """Its answers, asked one at a time until it is not there; none where it does not answer a good row afterwards."""
    answers: dict[str, Answer] = {}
    for each, body in requests.items():
        answers[each] = await champion.ask(body)
        if answers[each].gone:
            break
    return answers if (await champion.ask(good)).has(1) else {}


async def _each(server: Server, requests: Iterable[tuple[str, bytes]]) -> dict[str, Answer]:
    named = dict(requests)
    return dict(zip(named, await server.ask_all(list(named.values())), strict=True))


async def _metrics(
    subject: Subject, holdout: Holdout, staged: Server, champion: Server | None, tell: Tell
) -> list[Check]:
    asked, count = subject.policy.staging, len(holdout.rows)
    enough = f"{count:,} labelled rows, expected at least {asked.min_rows:,}"
    checks = [
        Check(
            "holdout.rows", Verdict.PASS if count >= asked.min_rows else Verdict.INCONCLUSIVE, enough, {"rows": count}
        )
    ]
    answers: list[Answers | None] = []
    troubles: list[str] = []
    for who, server in (("the staged server", staged), ("the champion", champion)):
        found: list[Prediction] | None = None
        trouble = f"there is no {who.removeprefix('the ')} to ask"
        if server is not None:
            found, trouble = await server.predict(
                subject.questions, subject.columns.names, holdout.rows, partial(_told_rows, tell, who, count)
            )
        answers.append(as_answers(found, subject.coding) if found is not None else None)
        troubles.append(f"{who}: {trouble}")
    checks.append(_all_predicted(answers[0], answers[1], troubles, count))
    for each in measured(subject.policy):
        ours, theirs = (_figure(each, subject, holdout, of) for of in answers)
        checks += _of_metric(each, subject, ours, theirs, count)
    return checks


def _all_predicted(ours: Answers | None, theirs: Answers | None, troubles: Sequence[str], count: int) -> Check:
    """What is not predicted is not counted: a version must not be better by keeping silent."""
    name = "holdout.answered"
    if ours is None:
        return Check(name, Verdict.FAIL, troubles[0])
    if theirs is None:
        return Check(name, Verdict.INCONCLUSIVE, troubles[1])
    missing, missing_there = none_predicted(ours), none_predicted(theirs)
    numbers = {"missing": float(missing), "missing_champion": float(missing_there)}
    if missing > missing_there:
        text = f"{missing:,} of {count:,} rows get no prediction, {missing_there:,} from the champion"
        return Check(name, Verdict.FAIL, text, numbers)
    also = f" but {missing:,}, as from the champion or fewer" if missing else ""
    return Check(name, Verdict.PASS, f"all {count:,} rows get a prediction{also}", numbers)


def _of_metric(
    each: Measured, subject: Subject, ours: Figure | None, theirs: Figure | None, rows: int
) -> Iterable[Check]:
    if each.least is not None:
        yield minimum(each, ours, rows)
    if each.guarded:
        yield no_regression(each, ours, theirs, rows)
    if each.promised:
        offline = offline_figure(each.rail, subject.offline)
        yield reproduced(each, ours, offline, subject.policy.staging.reproduce_tolerance, rows)


def _figure(each: Measured, subject: Subject, holdout: Holdout, answers: Answers | None) -> Figure | None:
    metric = LabelMetric(each.rail, multiclass=subject.policy.multiclass)
    return figure(metric, np.asarray(holdout.labels), answers) if answers is not None else None


async def _latency(subject: Subject, holdout: Holdout, staged: Server, tell: Tell) -> list[Check]:
    """Nothing is said of a latency that has no budget."""
    asked = subject.policy.staging
    budgets = [(q, most) for q, most in ((0.5, asked.p50_seconds), (0.99, asked.p99_seconds)) if most is not None]
    if not budgets:
        return []
    bodies = [subject.questions.of(subject.columns.names, [row]) for row in holdout.rows[:BODIES]]
    tell("warm-up")
    await staged.at_rate(bodies, asked.rate, max(WARM_UP_REQUESTS, int(WARM_UP_SECONDS * asked.rate)))
    timed = await staged.at_rate(
        bodies, asked.rate, asked.requests, lambda done: tell(f"latency: request {done:,} of {asked.requests:,}")
    )
    return [budget(q, timed, most, asked.rate) for q, most in budgets]
