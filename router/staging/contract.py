"""Requests that a signature allows, and requests that it does not; and what their answers say of the server. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparator.guardrail import Verdict
from router.staging.check import Check

NUMBERS = frozenset({"double", "float", "integer", "long"})

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `status` None: nothing in time, or no HTTP."""

    status: int | None
    body: bytes = b""


def request_of(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """A request of MLflow's scoring protocol, `dataframe_split`."""
    data = [[_cell(row.get(name)) for name in columns] for row in rows]
    return json.dumps({"dataframe_split": {"columns": list(columns), "data": data}}).encode()


def bad_requests(types: Mapping[str, str], required: Sequence[str], row: Row) -> dict[str, bytes]:
    """By the name of the check: requests that a client could get wrong, from one good row.

    Args:
        types: MLflow's type of each column.
        required: columns that may not be left out.
        row: a good one.
    """
    columns = list(types)
    bad = {
        "contract.not_json": b'{"dataframe_split": ',
        "contract.no_input": b"{}",
    }
    if required:
        bad["contract.missing_column"] = request_of([name for name in columns if name != required[0]], [row])
    number = next((name for name in columns if types[name] in NUMBERS), None)
    if number is not None:
        bad["contract.wrong_type"] = request_of(columns, [{**row, number: "not a number"}])
    return bad


def clean_refusal(name: str, answer: Answer) -> Check:
    """A bad request gets a client error: the model server neither breaks nor guesses."""
    if answer.status is None:
        return Check(name, Verdict.FAIL, "a bad request was not answered in time")
    if 400 <= answer.status < 500:
        return Check(name, Verdict.PASS, f"a bad request is answered with {answer.status}")
    return Check(name, Verdict.FAIL, f"a bad request is answered with {answer.status}, expected a client error (4xx)")


def answered(name: str, answer: Answer, predictions: int | None, rows: int) -> Check:
    """A good request of so many rows gets so many predictions."""
    if answer.status != 200:
        found = "nothing in time" if answer.status is None else f"status {answer.status}"
        return Check(name, Verdict.FAIL, f"a good request of {rows:,} rows got {found}")
    if predictions != rows:
        found = "an answer that cannot be read" if predictions is None else f"{predictions:,} predictions"
        return Check(name, Verdict.FAIL, f"a good request of {rows:,} rows got {found}")
    return Check(name, Verdict.PASS, f"a good request of {rows:,} rows is answered")


def same_schema(ours: Answer, theirs: Answer | None) -> Check:
    """Answers to the same request have the same shape as the champion's."""
    name = "contract.same_schema"
    if theirs is None or theirs.status != 200:
        return Check(name, Verdict.INCONCLUSIVE, "the champion could not be asked")
    shapes = [shape(each.body) for each in (ours, theirs)]
    if shapes[0] is None or shapes[1] is None:
        return Check(name, Verdict.FAIL, "an answer is no JSON")
    if shapes[0] != shapes[1]:
        return Check(name, Verdict.FAIL, f"answers have the shape {shapes[0]}, the champion's {shapes[1]}")
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
        return f"[{' | '.join(sorted({_shape(item) for item in value}))}]"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "null" if value is None else "text"


def batches_agree(alone: Sequence[float | str], together: Sequence[float | str]) -> Check:
    """Rows that are asked for one at a time get what they get among many."""
    name = "contract.batches_agree"
    if not alone or len(alone) != len(together):
        return Check(name, Verdict.INCONCLUSIVE, "the rows could not all be asked for")
    differ = sum(not _same(a, b) for a, b in zip(alone, together, strict=True))
    if differ:
        return Check(name, Verdict.FAIL, f"{differ} of {len(alone)} rows get another prediction alone than in a batch")
    return Check(name, Verdict.PASS, f"{len(alone)} rows get the same prediction alone and in a batch")


def _same(a: float | str, b: float | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))


def _cell(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
