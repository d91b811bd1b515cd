"""What JSON can say of one row, or of the columns of many: the shapes that all protocols share.

A row is a number, a boolean, a text, the probabilities of its classes, or a record that has its prediction, and perhaps
its score, under a name.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import msgspec

from router.protocols.protocol import Prediction, Reading, Unreadable

VALUE_FIELDS: Final = ("prediction", "predictions", "predict", "label", "labels", "class", "output_label")
"""Where a record, columns or named outputs have the prediction, the first that is there."""

SCORE_FIELDS: Final = ("score", "scores", "probability", "probabilities", "predict_proba", "output_probability")

NAN: Final = float("nan")
SUM_TOLERANCE: Final = 1e-3
"""Of probabilities: in single or half precision, rounded to a few digits."""

_EXPECTED_ROW: Final = (
    "expected a row to be a number, a boolean, a text, its classes' probabilities, "
    'or a record with "prediction" (or "label") and perhaps "score" (or "probability")'
)


class Names(NamedTuple):
    """Under which names a record has its prediction and its score, the first that is there."""

    value: tuple[str, ...]
    score: tuple[str, ...]


def names_of(reading: Reading) -> Names:
    """As the settings say, or as usual."""
    return Names(
        (reading.prediction,) if reading.prediction else VALUE_FIELDS,
        (reading.score,) if reading.score else SCORE_FIELDS,
    )


def rows_of(found: object, names: Names, where: str) -> list[Prediction]:
    """One per item of a list, or of columns; anything else is one row.

    NaN and null are rows without a prediction (NaN). Nothing is guessed: a row of several numbers that do not add up
    to 1 is none of the shapes above.

    Raises:
        Unreadable: no rows (the message says `where`), or rows of no known shape.
    """
    if isinstance(found, list):
        rows = [row_of(item, names) for item in found]
    elif isinstance(found, dict):
        rows = _columns(found, names, where)
    else:
        rows = [row_of(found, names)]
    if not rows:
        raise Unreadable(f"expected at least one row in {where}")
    return rows


def row_of(item: object, names: Names) -> Prediction:
    """One row. Raises Unreadable: of no known shape."""
    if isinstance(item, (float, int)):
        return Prediction(as_float(item))
    if isinstance(item, str):
        return Prediction(item)
    if isinstance(item, dict):
        return _record(item, names)
    if isinstance(item, list):
        return _list(item, names)
    if item is None:
        return Prediction(NAN)
    raise Unreadable(_EXPECTED_ROW)


def score_of(score: object) -> float:
    """A finite number, alone or in a list of one, or the second of two probabilities; anything else is no score."""
    if isinstance(score, list):
        if len(score) == 1:
            return NAN if isinstance(score[0], list) else score_of(score[0])
        return second(score)
    number = as_float(score) if isinstance(score, (float, int)) else NAN
    return number if math.isfinite(number) else NAN


def second(items: list[Any]) -> float:
    """Of two probabilities, [of class 0, of class 1], the second; anything else is no score."""
    if len(items) != 2:
        return NAN
    first, other = items
    if type(first) is float and type(other) is float:  # as nearly always
        return (
            other if 0.0 <= first <= 1.0 and 0.0 <= other <= 1.0 and abs(first + other - 1.0) <= SUM_TOLERANCE else NAN
        )
    found = probabilities(items)
    return found[1] if found is not None else NAN


def probabilities(items: list[Any]) -> list[float] | None:
    """Two numbers or more between 0 and 1 that add up to 1; None: they are not."""
    if len(items) < 2:
        return None
    total = 0.0
    for item in items:
        if not isinstance(item, (float, int)) or not 0.0 <= item <= 1.0:
            return None
        total += item
    return [float(item) for item in items] if abs(total - 1.0) <= SUM_TOLERANCE else None


def likeliest(found: list[float]) -> Prediction:
    """Of probabilities: the likeliest class is the value; of two, [of class 0, of class 1], the second is the score."""
    return Prediction(float(found.index(max(found))), found[1] if len(found) == 2 else NAN)


def as_float(number: float) -> float:
    """An integer of more than 308 digits is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _list(items: list[Any], names: Names) -> Prediction:
    """One item stands for itself (networks answer (n, 1)); several are probabilities."""
    if len(items) == 1 and not isinstance(items[0], list):
        return row_of(items[0], names)
    found = probabilities(items)
    if found is None:
        raise Unreadable(_EXPECTED_ROW)
    return likeliest(found)


def _record(record: dict[Any, Any], names: Names) -> Prediction:
    if len(record) == 1:
        (value,) = record.values()
    else:
        value = next((record[name] for name in names.value if name in record), msgspec.UNSET)
    if isinstance(value, dict) or value is msgspec.UNSET:
        raise Unreadable(_EXPECTED_ROW)
    score = next((record[name] for name in names.score if name in record), msgspec.UNSET)
    found = row_of(value, names)
    return found if score is msgspec.UNSET else Prediction(found.value, score_of(score))


def _columns(columns: dict[Any, Any], names: Names, where: str) -> list[Prediction]:
    """A mapping of columns of one length, or a single record."""
    lists = [column for column in columns.values() if isinstance(column, list)]
    if not lists:
        return [_record(columns, names)]
    if len(lists) < len(columns) or len({len(column) for column in lists}) > 1:
        raise Unreadable(f"expected the columns in {where} to be lists of one length")
    titles = list(columns)
    return [_record(dict(zip(titles, row, strict=True)), names) for row in zip(*lists, strict=True)]
