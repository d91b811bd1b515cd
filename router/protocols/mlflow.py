"""MLflow's scoring server: POST /invocations, answered with {"predictions": ...}.

What stands under "predictions" is whatever the model's `predict` returned, as JSON: a list with one item per row, a
mapping of columns, or one value. A row is a number, a boolean, a text, the probabilities of its classes, or a record.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final, NamedTuple

import msgspec

from router.protocols.protocol import Prediction, Protocol, Reader, Reading, Table, Unreadable

VALUE_FIELDS: Final = ("prediction", "label")
"""Where a record or a mapping of columns has its prediction, the first that is there."""

SCORE_FIELDS: Final = ("score", "probability")

_NAN: Final = float("nan")
_SUM_TOLERANCE: Final = 1e-3  # probabilities in single or half precision, rounded to a few digits
_EXPECTED_ROW: Final = (
    "expected a row to be a number, a boolean, a text, its classes' probabilities, "
    'or a record with "prediction" (or "label") and perhaps "score" (or "probability")'
)


class _Answer(msgspec.Struct, gc=False):
    predictions: object = msgspec.UNSET


_decode = msgspec.json.Decoder(_Answer).decode


class Mlflow(Protocol):
    """The protocol `mlflow`."""

    name: str = "mlflow"
    ready_path: str = "/ping"

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """POST /invocations; /ping, /health and /version do not."""
        return path == b"/invocations" and method == b"POST"

    def model_in_path(self, path: bytes) -> bytes | None:  # noqa: ARG002 - the interface's
        """Never: one server has one model, and its paths do not name it."""
        return None

    def reader(self, reading: Reading) -> Reader:
        """`prediction` and `score` are names of fields of a record, or of columns."""
        if reading.rows:
            raise ValueError("expected no answer.rows: MLflow's rows stand in predictions")
        names = _Names(
            (reading.prediction,) if reading.prediction else VALUE_FIELDS,
            (reading.score,) if reading.score else SCORE_FIELDS,
        )
        return partial(_predictions, names)

    def table(self, body: bytes, content_type: str) -> Table | None:
        """Of all its JSON forms, and of CSV."""
        from router.protocols.mlflow_table import table_of  # noqa: PLC0415 - a proxy reads no request

        return table_of(body, content_type)


class _Names(NamedTuple):
    """Under which names a record has its prediction and its score, the first that is there."""

    value: tuple[str, ...]
    score: tuple[str, ...]


def _predictions(names: _Names, body: bytes) -> list[Prediction]:
    """One per row. Two probabilities are [of class 0, of class 1]: the likelier is the value, the second the score.

    NaN and null are rows without a prediction (NaN). Nothing is guessed: a row of several numbers that do not add up
    to 1 is none of the shapes above.

    Raises:
        Unreadable: no JSON, no "predictions", no rows, or rows of no known shape.
    """
    found = _answer(body).predictions
    if isinstance(found, list):
        rows = [_row(item, names) for item in found]
    elif isinstance(found, dict):
        rows = _columns(found, names)
    elif found is msgspec.UNSET:
        raise Unreadable('expected {"predictions": ...}')
    else:
        rows = [_row(found, names)]
    if not rows:
        raise Unreadable("expected at least one row in predictions")
    return rows


def _answer(body: bytes) -> _Answer:
    try:
        return _decode(body)
    except RecursionError:
        raise Unreadable("expected JSON that is not nested so deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"NaN" in body or b"Infinity" in body:
            return _answer_with_nan(body)
        raise Unreadable(f'expected {{"predictions": ...}}: {error}') from None


def _answer_with_nan(body: bytes) -> _Answer:
    """NaN and Infinity are not JSON, but MLflow writes them, and the standard library reads them."""
    import json  # noqa: PLC0415 - a proxy imports this module and never reads a body

    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Unreadable('expected {"predictions": ...} in JSON (with NaN and Infinity, at most)') from None
    if not isinstance(data, dict):
        raise Unreadable('expected {"predictions": ...}')
    return _Answer(data.get("predictions", msgspec.UNSET))


def _row(item: object, names: _Names) -> Prediction:
    if isinstance(item, (float, int)):
        return Prediction(_float(item))
    if isinstance(item, str):
        return Prediction(item)
    if isinstance(item, dict):
        return _record(item, names)
    if isinstance(item, list):
        return _list(item, names)
    if item is None:
        return Prediction(_NAN)
    raise Unreadable(_EXPECTED_ROW)


def _list(items: list[object], names: _Names) -> Prediction:
    """One item stands for itself (networks answer (n, 1)); several are probabilities."""
    if len(items) == 1 and not isinstance(items[0], list):
        return _row(items[0], names)
    probabilities = _probabilities(items)
    if probabilities is None:
        raise Unreadable(_EXPECTED_ROW)
    likeliest = max(range(len(probabilities)), key=probabilities.__getitem__)
    return Prediction(float(likeliest), probabilities[1] if len(probabilities) == 2 else _NAN)


def _record(record: dict[object, object], names: _Names) -> Prediction:
    if len(record) == 1:
        (value,) = record.values()
    else:
        value = next((record[name] for name in names.value if name in record), msgspec.UNSET)
    if isinstance(value, (dict, list)) or value is msgspec.UNSET:
        raise Unreadable(_EXPECTED_ROW)
    score = next((record[name] for name in names.score if name in record), None)
    return Prediction(_row(value, names).value, _score(score))


def _columns(columns: dict[object, object], names: _Names) -> list[Prediction]:
    """A mapping of columns of one length, or a single record."""
    lists = [column for column in columns.values() if isinstance(column, list)]
    if not lists:
        return [_record(columns, names)]
    if len(lists) < len(columns) or len({len(column) for column in lists}) > 1:
        raise Unreadable("expected the columns in predictions to be lists of one length")
    titles = list(columns)
    return [_record(dict(zip(titles, row, strict=True)), names) for row in zip(*lists, strict=True)]


def _score(score: object) -> float:
    """A finite number, or the second of two probabilities; anything else is no score."""
    if isinstance(score, list):
        probabilities = _probabilities(score)
        return probabilities[1] if probabilities is not None and len(probabilities) == 2 else _NAN
    number = _float(score) if isinstance(score, (float, int)) else _NAN
    return number if math.isfinite(number) else _NAN


def _probabilities(items: list[object]) -> list[float] | None:
    if len(items) < 2:
        return None
    numbers = [_float(item) for item in items if isinstance(item, (float, int))]
    if len(numbers) < len(items) or not all(0.0 <= number <= 1.0 for number in numbers):
        return None
    return numbers if abs(sum(numbers) - 1.0) <= _SUM_TOLERANCE else None


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if number > 0 else -math.inf
