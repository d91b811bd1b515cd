"""What of a request's body is not recorded, by the names of fields, wherever they stand. Fails closed.

Known are objects with the field as a key, tables with `columns` and `data` (MLflow's dataframe_split), tensors with
`name` and `data` (Open Inference Protocol), and CSV with a header. A body that is none of JSON and CSV, or is coded, is
not recorded at all where a field is to be redacted: nothing in it can be found.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

TEXT: Final = "redacted"
"""What stands for a text. A number becomes 0 and a truth false: the shape of the request stays, so that it can be sent
again. What is null stays null."""

_PSEUDONYM_BYTES = 6  # a number of 48 bits is exact in float64

Scalar = Callable[[Any], Any]


class Redaction:
    """Applies what a model's settings say to bodies.

    Args:
        redact: names of fields whose values are not recorded.
        pseudonymise: names of fields whose values are replaced, the same value by the same one (keyed BLAKE2b).
        key: 16 to 64 random bytes; whoever has it can try values out.
    """

    def __init__(self, redact: frozenset[str], pseudonymise: frozenset[str], key: bytes) -> None:
        self._key = key
        self._by_name: Mapping[str, Scalar] = {
            **dict.fromkeys(pseudonymise, self._pseudonym),
            **dict.fromkeys(redact, _redacted),
        }

    def apply(self, body: bytes, content_type: str, coding: str, *, binary: bool = False) -> bytes | None:
        """The body as it is recorded; None: it must not be.

        Args:
            body: as it came.
            content_type: of the request; "": none.
            coding: its Content-Encoding; "": none.
            binary: tensors follow the JSON.
        """
        if not self._by_name or not body:
            return body
        if binary or coding.strip().lower() not in ("", "identity"):
            return None
        try:
            if content_type.partition(";")[0].strip().lower() == "text/csv":
                return self._csv(body.decode())
            return msgspec.json.encode(self._walk(msgspec.json.decode(body)))
        except (ValueError, RecursionError, csv.Error):
            return None

    def _walk(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {name: self._field(name, item) for name, item in value.items()}
        columns, data = value.get("columns"), value.get("data")
        if isinstance(columns, list) and isinstance(data, list):
            found["data"] = [self._row(columns, row) for row in data]
        elif isinstance(value.get("name"), str) and (by := self._by_name.get(value["name"])) is not None:
            found["data"] = _every(data, by)
        return found

    def _field(self, name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
        by = self._by_name.get(name)
        return self._walk(value) if by is None else _every(value, by)

    def _row(self, columns: list[Any], row: Any) -> Any:  # noqa: ANN401 - any JSON
        """Raises ValueError: cells without a column could be anybody's."""
        if not isinstance(row, list) or len(row) > len(columns):
            raise ValueError("expected rows as long as the columns")
        return [self._field(str(name), cell) for name, cell in zip(columns, row, strict=False)]

    def _csv(self, text: str) -> bytes:
        rows = csv.reader(io.StringIO(text, newline=""))
        names = next(rows, [])
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            if len(row) > len(names):
                raise ValueError("expected rows as long as the header")
            writer.writerow([self._cell(name, cell) for name, cell in zip(names, row, strict=False)])
        return out.getvalue().encode()

    def _cell(self, name: str, cell: str) -> str:
        by = self._by_name.get(name)
        if by is None or not cell:
            return cell
        try:
            return str(by(float(cell)))
        except ValueError:
            return str(by(cell))

    def _pseudonym(self, value: Any) -> Any:  # noqa: ANN401 - a scalar of JSON
        if value is None or isinstance(value, bool):
            return _redacted(value)
        digest = blake2b(msgspec.json.encode(value), digest_size=_PSEUDONYM_BYTES, key=self._key).digest()
        number = int.from_bytes(digest, "big")
        return digest.hex() if isinstance(value, str) else type(value)(number)


def _redacted(value: Any) -> Any:  # noqa: ANN401 - a scalar of JSON
    if isinstance(value, str):
        return TEXT
    return None if value is None else type(value)(0)


def _every(value: Any, by: Scalar) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_every(item, by) for item in value]
    if isinstance(value, dict):
        return {name: _every(item, by) for name, item in value.items()}
    return by(value)
