"""The rows of a request to MLflow's scoring server, by column: in all its JSON forms, and in CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from router.protocols.json_text import read_json
from router.protocols.protocol import Table, Unreadable
from router.protocols.request_rows import by_column, columns_or_records, names_once, records

NOT_AVAILABLE: Final = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""What pandas takes for a missing value in CSV."""

_any: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Any)
_EXPECTED: Final = "exactly one of dataframe_split, dataframe_records, instances and inputs"


def table_of(body: bytes, content_type: str) -> Table:
    """The rows. Raises Unreadable: MLflow's server would refuse it, too, or it is more than is read."""
    if content_type.partition(";")[0].strip().lower() == "text/csv":
        return _csv(body)
    data = read_json(body, _any, "JSON")
    found = [(read, data[name]) for name, read in _FORMS.items() if name in data] if isinstance(data, dict) else []
    if len(found) != 1:
        raise Unreadable(f"expected {_EXPECTED}")
    read, rows = found[0]
    return read(rows)


def _csv(body: bytes) -> Table:
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))
        names = names_once(next(reader, []))
        rows = [[None if cell in NOT_AVAILABLE else cell for cell in row] for row in reader if row]
    except (UnicodeDecodeError, csv.Error):
        raise Unreadable("expected CSV in UTF-8") from None
    return by_column(names, rows, typed=False)


def _split(data: object) -> Table:
    rows, names = (data.get("data"), data.get("columns")) if isinstance(data, dict) else (None, None)
    if not isinstance(rows, list):
        raise Unreadable('expected {"columns": [...], "data": [[...]]} in dataframe_split')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Table({}, len(rows))
    return by_column(names_once(names), rows)


_FORMS: Final[Mapping[str, Callable[[object], Table]]] = {
    "dataframe_split": _split,
    "dataframe_records": records,
    "instances": records,
    "inputs": columns_or_records,
}
