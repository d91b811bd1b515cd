"""The rows of a request to MLflow's scoring server, by column: in all its JSON forms, and in CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from router.protocols.protocol import Table, Unreadable

MOST_ROWS: Final = 1000
"""Of one request; of more the first ones are read."""

MOST_COLUMNS: Final = 2000

NOT_AVAILABLE: Final = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""What pandas takes for a missing value in CSV."""

_EXPECTED: Final = "exactly one of dataframe_split, dataframe_records, instances and inputs"


def table_of(body: bytes, content_type: str) -> Table:
    """The rows. Raises Unreadable: MLflow's server would refuse it, too, or it is more than is read."""
    if content_type.partition(";")[0].strip().lower() == "text/csv":
        return _csv(body)
    data = _json(body)
    found = [(read, data[name]) for name, read in _FORMS.items() if name in data] if isinstance(data, dict) else []
    if len(found) != 1:
        raise Unreadable(f"expected {_EXPECTED}")
    read, rows = found[0]
    return read(rows)


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Unreadable("expected JSON that is not nested so deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        if b"NaN" not in body and b"Infinity" not in body:
            raise Unreadable("expected JSON") from None
    try:
        return json.loads(body)  # NaN and Infinity are not JSON, but MLflow reads them
    except (ValueError, RecursionError):
        raise Unreadable("expected JSON") from None


def _csv(body: bytes) -> Table:
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))
        names = _names(next(reader, []))
        rows = [[None if cell in NOT_AVAILABLE else cell for cell in row] for row in reader if row]
    except (UnicodeDecodeError, csv.Error):
        raise Unreadable("expected CSV in UTF-8") from None
    return _by_column(names, rows, typed=False)


def _split(data: object) -> Table:
    rows, names = (data.get("data"), data.get("columns")) if isinstance(data, dict) else (None, None)
    if not isinstance(rows, list):
        raise Unreadable('expected {"columns": [...], "data": [[...]]} in dataframe_split')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Table({}, len(rows))
    return _by_column(_names(names), rows)


def _records(data: object) -> Table:
    """Objects; anything else in the list is a row without names."""
    if not isinstance(data, list):
        raise Unreadable("expected a list of rows")
    read = data[:MOST_ROWS]
    records = [row for row in read if isinstance(row, dict)]
    if len(records) < len(read):
        return Table({}, len(data))
    names = _names(list(dict.fromkeys(name for row in records for name in islice(row, MOST_COLUMNS + 1))))
    return Table({name: [row.get(name) for row in records] for name in names}, len(data))


def _inputs(data: object) -> Table:
    """By column, or as `instances`."""
    if not isinstance(data, dict):
        return _records(data)
    names = _names(list(data))
    if not any(isinstance(values, list) for values in data.values()):
        return Table({name: [data[name]] for name in names}, 1)
    lengths = {len(values) if isinstance(values, list) else -1 for values in data.values()}
    if len(lengths) != 1:
        raise Unreadable("expected columns of one length in inputs")
    return Table({name: data[name][:MOST_ROWS] for name in names}, lengths.pop())


def _by_column(names: Sequence[str], rows: Sequence[object], *, typed: bool = True) -> Table:
    read = rows[:MOST_ROWS]
    if not all(isinstance(row, list) and len(row) == len(names) for row in read):
        raise Unreadable("expected rows as long as the columns")
    values = zip(*read, strict=True) if read else ([] for _ in names)
    return Table(dict(zip(names, map(list, values), strict=True)), len(rows), typed)


def _names(names: list[str]) -> list[str]:
    if len(names) > MOST_COLUMNS or len(set(names)) < len(names):
        raise Unreadable(f"expected at most {MOST_COLUMNS} columns, each once")
    return names


_FORMS: Final[Mapping[str, Callable[[object], Table]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _records,
    "inputs": _inputs,
}
