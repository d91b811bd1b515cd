"""Requests that a signature allows, and requests that it does not; and what their answers say of the server. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from comparator.guardrail import Verdict
from router.artifacts.signature import NUMBERS, Columns
from router.protocols.protocol import Prediction, Questions
from router.staging.check import Check

_NAMED_COLUMNS = 10
_SERVERS_WAY = (500, 501)  # 502 to 504 say that no server is there

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `status` None: nothing in time, or no HTTP."""

    status: int | None
    body: bytes = b""
    predictions: tuple[Prediction, ...] | None = None  # None: it holds none that can be read

    @property
    def told(self) -> str:
        """In words."""
        if self.status is None:
            return "no answer in time"
        if self.status != 200:
            return f"status {self.status}"
        return "an answer without readable predictions" if self.predictions is None else _rows(len(self.predictions))

    def has(self, rows: int) -> bool:
        """Whether it is 200 with so many predictions."""
        return self.status == 200 and self.predictions is not None and len(self.predictions) == rows

    @property
    def gone(self) -> bool:
        """Whether it is none, or one that something in front of the server gives when the server is not there."""
        return self.status in {None, 502, 503, 504}


_NOBODYS: Mapping[str, Answer] = {}


def without_each(questions: Questions, columns: Columns, row: Row) -> Iterator[tuple[str, bytes]]:
    """Each column, and a good row without it."""
    for name in columns.names:
        yield name, questions.of([other for other in columns.names if other != name], [row])


def wrong_types(questions: Questions, columns: Columns, row: Row) -> Iterator[tuple[str, bytes]]:
    """What is wrong, and the request. Text and booleans are left out: MLflow takes anything for them."""
    for name, kind in columns.types.items():
        if kind in NUMBERS or kind == "datetime":
            yield name, questions.of(columns.names, [{**row, name: f"no {kind}"}])
    yield "rows that are a text", questions.text_for_rows(columns.names)


def malformed() -> dict[str, bytes]:
    """What no client should send."""
    return {
        "broken JSON": b'{"inputs": ',
        "an empty object": b"{}",
        "a list": b"[]",
        "no body": b"",
    }


def with_extra_column(questions: Questions, columns: Columns, row: Row) -> bytes:
    """A good row with a column that the signature does not have."""
    extra = "not_in_the_signature"
    while extra in columns.types:
        extra += "_"
    return questions.of([*columns.names, extra], [{**row, extra: 1}])


# ---- what the answers say


def answered(name: str, answer: Answer, rows: int) -> Check:
    """A good request of so many rows gets so many predictions."""
    if answer.has(rows):
        return Check(name, Verdict.PASS, f"a good request of {_rows(rows)} is answered")
    return Check(name, Verdict.FAIL, f"a good request of {_rows(rows)} got {answer.told}")


def all_answered(name: str, what: str, answers: Mapping[str, Answer], like: Sequence[Prediction] | None) -> Check:
    """Every good request is answered, and with the same predictions: it is the same rows."""
    if not answers or like is None:
        return Check(name, Verdict.INCONCLUSIVE, f"{what} could not be asked for")
    wrong = [f"{each} got {answer.told}" for each, answer in answers.items() if not answer.has(len(like))]
    if wrong:
        return Check(name, Verdict.FAIL, f"{what}: {_some(wrong)}")
    other = [each for each, answer in answers.items() if not _agree(answer.predictions or (), like)]
    if other:
        return Check(name, Verdict.FAIL, f"{what}: other predictions for the same rows as {_some(other)}")
    return Check(name, Verdict.PASS, f"{what}: {', '.join(answers)} are answered alike")


def example_answered(answer: Answer) -> Check:
    """The input example that was logged with the model is a good request."""
    name = "contract.input_example"
    if answer.status == 200 and answer.predictions:
        return Check(name, Verdict.PASS, f"the input example is answered ({_rows(len(answer.predictions))})")
    return Check(name, Verdict.FAIL, f"the input example got {answer.told}")


def columns_matter(columns: Columns, answers: Mapping[str, Answer]) -> Check:
    """A required column that is left out is a client error, an optional one is not missed."""
    name = "contract.columns"
    if not answers:
        return Check(name, Verdict.INCONCLUSIVE, "the signature has no columns")
    guessed = [each for each, answer in answers.items() if each in columns.required and not _client_error(answer)]
    missed = [each for each, answer in answers.items() if each not in columns.required and not answer.has(1)]
    if guessed:
        told = [f"{each} ({answers[each].told})" for each in guessed]
        return Check(name, Verdict.FAIL, f"required columns left out, expected a client error (4xx): {_some(told)}")
    if missed:
        told = [f"{each} ({answers[each].told})" for each in missed]
        return Check(name, Verdict.FAIL, f"optional columns left out, expected an answer: {_some(told)}")
    optional = len(answers) - len(columns.required & answers.keys())
    text = f"each of {len(answers) - optional} required columns left out is a client error"
    return Check(name, Verdict.PASS, f"{text}, each of {optional} optional ones is not missed" if optional else text)


def excusable(answers: Mapping[str, Answer]) -> list[str]:
    """Those in which the server says that it broke; none where another answer is none to excuse: it fails anyway."""
    wrong = {each: answer.status for each, answer in answers.items() if not _client_error(answer)}
    return list(wrong) if all(status in _SERVERS_WAY for status in wrong.values()) else []


def broken(name: str, what: str, after: Answer) -> Check:
    """Bad requests have taken the server down."""
    return Check(name, Verdict.FAIL, f"{what} broke the server: after them a good row got {after.told}")


def refused(name: str, what: str, answers: Mapping[str, Answer], theirs: Mapping[str, Answer] = _NOBODYS) -> Check:
    """Bad requests get a client error: the model server neither breaks nor guesses.

    Some servers, such as Triton, take what they cannot parse for an error of their own. `theirs` are the champion's
    answers to those: what its server does as well, and outlives, is no reason against a version.
    """
    if not answers:
        return Check(name, Verdict.INCONCLUSIVE, f"{what}: nothing could be asked")
    alike = [each for each in excusable(answers) if each in theirs and theirs[each].status == answers[each].status]
    wrong = [each for each, answer in answers.items() if not _client_error(answer) and each not in alike]
    if wrong:
        told = _some([f"{each} got {answers[each].told}" for each in wrong])
        return Check(name, Verdict.FAIL, f"{what}, expected a client error (4xx): {told}")
    count = len(answers) - len(alike)
    text = f"{what}: {count} bad {'request is a client error' if count == 1 else 'requests are client errors'}"
    if alike:
        told = _some([f"{each} got {answers[each].told}" for each in alike])
        text += f", {len(alike)} {'is an error' if len(alike) == 1 else 'are errors'} of the server"
        text += f", as of the champion's: {told}"
    return Check(name, Verdict.PASS, text)


def extra_column(answer: Answer, without: Answer) -> Check:
    """A column too many is refused, or changes nothing."""
    name = "contract.extra_column"
    if _client_error(answer):
        return Check(
            name, Verdict.PASS, f"a column that the signature does not have is a client error ({answer.status})"
        )
    if not without.has(1):
        return Check(name, Verdict.INCONCLUSIVE, f"the row without it got {without.told}")
    if not answer.has(1):
        return Check(name, Verdict.FAIL, f"a column that the signature does not have got {answer.told}")
    if not _agree(answer.predictions or (), without.predictions or ()):
        return Check(name, Verdict.FAIL, "a column that the signature does not have changes the prediction")
    return Check(name, Verdict.PASS, "a column that the signature does not have changes nothing")


def empty_batch(answer: Answer) -> Check:
    """No rows get no predictions, or a client error."""
    name = "contract.empty_batch"
    nothing = answer.status == 200 and not answer.predictions
    if nothing or _client_error(answer):
        return Check(
            name,
            Verdict.PASS,
            "no rows get no predictions" if nothing else f"no rows are a client error ({answer.status})",
        )
    return Check(name, Verdict.FAIL, f"no rows got {answer.told}, expected no predictions or a client error (4xx)")


def batches_agree(alone: Sequence[Prediction | None], together: Sequence[Prediction] | None) -> Check:
    """Rows that are asked for one at a time get what they get among many."""
    name = "contract.batches_agree"
    if not alone or together is None or any(each is None for each in alone):
        return Check(name, Verdict.INCONCLUSIVE, "the rows could not all be asked for, alone and in a batch")
    differ = sum(each is not None and not _same(each, other) for each, other in zip(alone, together, strict=False))
    if differ:
        return Check(name, Verdict.FAIL, f"{differ} of {len(alone)} rows get another prediction alone than in a batch")
    return Check(name, Verdict.PASS, f"{len(alone)} rows get the same prediction alone and in a batch")


def same_schema(ours: Answer, theirs: Answer | None) -> Check:
    """Answers to the same request have the same shape as the champion's."""
    name = "contract.same_schema"
    if theirs is None or theirs.status != 200:
        why = "there is no champion to ask" if theirs is None else f"the champion's answer: {theirs.told}"
        return Check(name, Verdict.INCONCLUSIVE, why)
    if ours.status != 200:
        return Check(name, Verdict.FAIL, f"the same request got {ours.told}")
    shapes = [shape(each.body) for each in (ours, theirs)]
    if shapes[1] is None:
        return Check(name, Verdict.INCONCLUSIVE, "the champion's answer is no JSON")
    if shapes[0] != shapes[1]:
        told = "no JSON" if shapes[0] is None else f"the shape {shapes[0]}"
        return Check(name, Verdict.FAIL, f"answers are {told}, the champion's have the shape {shapes[1]}")
    return Check(name, Verdict.PASS, f"answers have the shape {shapes[0]}, as the champion's")


def shape(body: bytes) -> str | None:
    """The shape of a JSON answer: keys and types; of lists that of their items. None: no JSON."""
    try:
        return _shape(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _shape(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {_shape(value[key])}" for key in sorted(value))
        return f"{{{inner}}}"
    if isinstance(value, list):
        kinds = {_shape(item) for item in value}
        return f"[{' | '.join(sorted(kinds - {'null'} or kinds))}]"  # a row without a value is of its column's type
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "null" if value is None else "text"


def _client_error(answer: Answer) -> bool:
    return answer.status is not None and 400 <= answer.status < 500


def _agree(ones: Sequence[Prediction], others: Sequence[Prediction]) -> bool:
    return len(ones) == len(others) and all(_same(a, b) for a, b in zip(ones, others, strict=True))


def _same(one: Prediction, other: Prediction) -> bool:
    return _equal(one.value, other.value) and _equal(one.score, other.score)


def _equal(a: float | str, b: float | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _some(parts: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(parts) - _NAMED_COLUMNS} more" if len(parts) > _NAMED_COLUMNS else ""
    return f"{', '.join(parts[:_NAMED_COLUMNS])}{more}"
