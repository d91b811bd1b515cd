"""Any other server that is asked by POST and answers in JSON: JSON pointers (RFC 6901) say where predictions are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from router.protocols.json_pointer import Keys, at, pointer
from router.protocols.json_text import read_json
from router.protocols.protocol import (
    Asking,
    Prediction,
    Protocol,
    Questions,
    Reader,
    Reading,
    Table,
    Tables,
    Unreadable,
)
from router.protocols.request_rows import columns_or_records
from router.protocols.rows import NAN, names_of, row_of, rows_of, score_of

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_WHOLE: Final = "#"
_USUAL: Final = names_of(Reading())

_any: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Any)


class _Places(NamedTuple):
    """Where they are; None: the settings do not say."""

    prediction: Keys | None
    score: Keys | None
    rows: Keys | None


class PlainJson(Protocol):
    """The protocol `json`."""

    name: str = "json"
    ready_path: str = "/health"
    knows_its_paths: bool = False

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:  # noqa: ARG002 - the interface's
        """Every POST; the model's setting `predict_path` names one path."""
        return method == b"POST"

    def model_in_path(self, path: bytes) -> bytes | None:  # noqa: ARG002 - the interface's
        """Never."""
        return None

    def questions(self, model: str, types: Mapping[str, str], asking: Asking) -> Questions | None:  # noqa: ARG002 - the interface's
        """One record per row, where `rows` points."""
        from router.protocols.questions import JsonQuestions  # noqa: PLC0415 - a proxy asks nothing

        rows = _rows(asking)
        return JsonQuestions(asking.path, rows) if rows is not None and asking.path else None

    def tables(self, asking: Asking) -> Tables | None:
        """What stands where `rows` points: records, columns, or one record."""
        rows = _rows(asking)
        return partial(_table, rows) if rows is not None else None

    def reader(self, reading: Reading) -> Reader:
        """All three are JSON pointers; `prediction` and `score` start at the row where `rows` is set."""
        places = _Places(*(_keys(f"answer.{name}", getattr(reading, name)) for name in _Places._fields))
        if places.score is not None and places.prediction is None:
            raise ValueError("expected answer.prediction beside answer.score, both as JSON pointers such as /label")
        return partial(_predictions, places)


def _keys(name: str, text: str) -> Keys | None:
    if not text:
        return None
    if text == _WHOLE:
        return ()
    if _POINTER.fullmatch(text) is None:
        raise ValueError(
            f"expected {name} to be a JSON pointer such as /outputs/0/label, or # for the whole, not {text!r}"
        )
    return pointer(text)


def _rows(asking: Asking) -> Keys | None:
    """Where requests have their rows: of a list its only item, as requests are made by it, too."""
    keys = _keys("request.rows", asking.rows)
    if any(key == "-" or (key.isdigit() and key != "0") for key in keys or ()):
        raise ValueError("expected no index but 0 in request.rows")
    return keys


def _predictions(places: _Places, body: bytes) -> list[Prediction]:
    """One per row.

    Raises:
        Unreadable: no JSON, nothing where the settings say, no rows, or rows of no known shape.
    """
    whole = read_json(body, _any, "JSON")
    if places.rows is None:
        return rows_of(whole, _USUAL, "the answer") if places.prediction is None else _by_column(whole, places)
    found = _at(whole, places.rows, "answer.rows")
    rows = found if isinstance(found, list) else [found]
    if not rows:
        raise Unreadable("expected at least one row where answer.rows points")
    return [_row(row, places) for row in rows]


def _row(row: Any, places: _Places) -> Prediction:  # noqa: ANN401 - whatever stood there
    found = row_of(_at(row, places.prediction, "answer.prediction") if places.prediction is not None else row, _USUAL)
    if places.score is None:
        return found
    return Prediction(found.value, score_of(_score_at(row, places.score)))


def _by_column(whole: Any, places: _Places) -> list[Prediction]:  # noqa: ANN401 - whatever stood there
    """Without `rows`, a list has an item for each row, and anything else is the only one."""
    values = _at(whole, places.prediction or (), "answer.prediction")
    found = rows_of(values, _USUAL, "answer.prediction")
    if places.score is None:
        return found
    score = _score_at(whole, places.score)
    if not isinstance(values, list):
        return [Prediction(found[0].value, score_of(score))] if len(found) == 1 else found
    if score is None:
        return [Prediction(each.value, NAN) for each in found]
    if not isinstance(score, list) or len(score) != len(found):
        raise Unreadable("expected as many scores as predictions")
    return [Prediction(each.value, score_of(one)) for each, one in zip(found, score, strict=True)]


def _table(rows: Keys, body: bytes, content_type: str) -> Table:  # noqa: ARG001 - it is JSON, whatever that says
    found = _at(read_json(body, _any, "JSON"), rows, "request.rows")
    return columns_or_records(found)


def _at(value: object, keys: Keys, name: str) -> Any:  # noqa: ANN401 - whatever stands there
    """What a pointer points at. Raises Unreadable: nothing."""
    found = at(value, keys)
    if found is msgspec.UNSET:
        raise Unreadable(f"expected something where {name} points")
    return found


def _score_at(value: object, keys: Keys) -> Any:  # noqa: ANN401 - whatever stands there
    """None: nothing."""
    found = at(value, keys)
    return None if found is msgspec.UNSET else found
