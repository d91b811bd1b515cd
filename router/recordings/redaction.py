"""What of a request's body is not recorded, by the names of fields, wherever they stand. Fails closed.

Known are objects with the field as a key, tables with `columns` and `data` (MLflow's dataframe_split), tensors with
`name` and `data` (Open Inference Protocol), CSV with a header, and JSON within a text. A name is found whatever its
case, and within a longer one (`customer.email`). A body is not recorded at all where it may hold a field in another
way: one that is none of JSON and CSV, or is coded; a name that stands in a list, as somebody else's name of something
(`{"key": "email", "value": ...}`), or between separators within a text (a form, CSV, XML); rows or tensors in which no
field is found, since their cells may have no names.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

TEXT: Final = "redacted"
"""What stands for a text. A number becomes 0 and a truth false: the shape of the request stays, so that it can be sent
again. What is null stays null."""

_PSEUDONYM_BYTES = 6  # a number of 48 bits is exact in float64
_NAMES_REMEMBERED = 4096
_OF_TENSOR: Final = ("name", "datatype", "shape")  # what stays of a tensor that is a field: none of it is a value
_NAME: Final = re.compile(r"[\w./ -]*")  # what a longer name than the field's may be; others may hold values

_NAMING: Final = frozenset(
    (
        *("name", "key", "field", "feature", "column", "attribute", "property", "variable", "parameter", "param"),
        *("header", "col", "k", "n", "id", "label", "dimension"),
    )
)
"""Keys whose text may be the name of what stands beside it."""

_NO_KEY: Final = "name"  # of an item of a list, which may be a name, too

Scalar = Callable[[Any], Any]


class _Unclear(ValueError):
    """The body may hold a field where it cannot be found."""


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
            **{_folded(name): self._pseudonym for name in pseudonymise},
            **{_folded(name): _redacted for name in redact},
        }
        any_name = "|".join(re.escape(name) for name in sorted(self._by_name, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<!\w)(?:{any_name})(?!\w)")
        self._within = re.compile(
            rf"""(?:^|[\n\r,;|\t{{\[<&?"'(\\])\ *["']?(?:{any_name})["']?\ *(?:$|[\n\r:=,;|\t>\]}})"'\\])"""
        )
        self._field_of = lru_cache(_NAMES_REMEMBERED)(self._find)

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
        kind, _, parameters = content_type.lower().partition(";")
        walk = _Walk(self._field_of, self._by_name, self._within)
        try:
            if kind.strip() == "text/csv":
                return None if "absent" in parameters else walk.csv(body.decode("utf-8-sig"))
            return walk.json(msgspec.json.decode(body))
        except (ValueError, OverflowError, RecursionError, csv.Error):
            return None

    def _find(self, name: str) -> Scalar | None:
        """What a key or a column of this name is replaced by; None: it is no field. Raises _Unclear."""
        folded = _folded(name)
        if (by := self._by_name.get(folded)) is not None:
            return by
        found = [self._by_name[each] for each in self._pattern.findall(folded)]
        if found and not _NAME.fullmatch(folded):
            raise _Unclear(name)
        return next((by for by in found if by is _redacted), found[0]) if found else None

    def _pseudonym(self, value: Any) -> Any:  # noqa: ANN401 - a scalar of JSON
        if value is None or isinstance(value, bool):
            return _redacted(value)
        digest = blake2b(msgspec.json.encode(value), digest_size=_PSEUDONYM_BYTES, key=self._key).digest()
        number = int.from_bytes(digest, "big")
        return digest.hex() if isinstance(value, str) else type(value)(number)


class _Walk:
    """Through one body.

    Args:
        field_of: what is put in the place of a field's values, by a name; None: it is no field.
        names: of the fields, folded.
        within: finds a name in a text, folded, where it stands between separators.
    """

    def __init__(
        self, field_of: Callable[[str], Scalar | None], names: Container[str], within: re.Pattern[str]
    ) -> None:
        self._field_of = field_of
        self._names = names
        self._within = within
        self._found = False
        self._unnamed = False

    def json(self, body: Any) -> bytes:  # noqa: ANN401 - any JSON
        self._unnamed = not isinstance(body, dict | list)
        done = self._value(body)
        if self._unnamed and not self._found:
            raise _Unclear("values without names")
        return msgspec.json.encode(done)

    def csv(self, text: str) -> bytes:
        rows = csv.reader(io.StringIO(text, newline=""))
        names = next(rows, [])
        fields = [self._column(name) for name in names]
        if not self._found or any(
            by and _folded(name) not in self._names for name, by in zip(names, fields, strict=True)
        ):
            raise _Unclear("this may be no header")
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            if len(row) > len(names):
                raise _Unclear("expected rows as long as the header")
            writer.writerow([self._cell(*each) for each in zip(fields, row, names, strict=False)])
        return out.getvalue().encode()

    def _value(self, value: Any, key: str = _NO_KEY) -> Any:  # noqa: ANN401 - any JSON
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, list):
            objects = sum(isinstance(item, dict) for item in value)
            if objects < len(value):
                self._unnamed = True
                if objects:
                    raise _Unclear("rows with and without names")
            return [self._value(item) for item in value]
        return self._object(value) if isinstance(value, dict) else value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
            return self._table(value)
        name = value.get("name")
        if isinstance(name, str) and (by := self._column(name)) is not None:
            return self._tensor(value, by)
        fields = {key: self._field_of(key) for key in value}
        # the name of a tensor is no value of a field called `name`
        self._found |= any(by and not (key == "name" and "datatype" in value) for key, by in fields.items())
        return {key: self._field(fields[key], item, key) for key, item in value.items()}

    def _table(self, value: dict[str, Any]) -> dict[str, Any]:
        """Its index is counted anew: it may be a column that is a field, and lost its name."""
        names = _names(value["columns"])
        fields = [self._column(name) for name in names]
        done = {}
        for key, item in value.items():
            if (by := self._column(key)) is not None:
                done[key] = _every(item, by)
            elif key == "data":
                done[key] = [self._row(fields, names, row) for row in item]
            elif key == "index" and isinstance(item, list):
                done[key] = list(range(len(item)))
            else:
                done[key] = item if key == "columns" else self._value(item, key)
        return done

    def _row(self, fields: list[Scalar | None], names: list[str], row: Any) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(row, list) or len(row) > len(fields):
            raise _Unclear("expected rows as long as the columns")  # cells without a column could be anybody's
        return [self._field(*each) for each in zip(fields, row, names, strict=False)]

    def _tensor(self, value: dict[str, Any], by: Scalar) -> dict[str, Any]:
        done = {}
        for key, item in value.items():
            own = self._column(key)
            if own is None and key in _OF_TENSOR:
                done[key] = item
            elif own is None and key == "parameters" and isinstance(item, dict):
                done[key] = {name: each if name == "content_type" else _every(each, by) for name, each in item.items()}
            else:
                done[key] = _every(item, own or by)
        return done

    def _field(self, by: Scalar | None, value: Any, key: str) -> Any:  # noqa: ANN401 - any JSON
        return self._value(value, key) if by is None else _every(value, by)

    def _column(self, name: str) -> Scalar | None:
        by = self._field_of(name)
        self._found |= by is not None
        return by

    def _text(self, text: str, key: str) -> str:
        """A text of no field: it may hold JSON with fields, be a field's name, or have names in another form."""
        if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", '"'):
            try:
                inner = msgspec.json.decode(text)
            except ValueError:
                pass
            else:
                done = self._value(inner, key)
                return text if done == inner else msgspec.json.encode(done).decode()
        folded = _folded(text)
        if _folded(key) in _NAMING if folded in self._names else self._within.search(folded):
            raise _Unclear("a field's name within a text")
        return text

    def _cell(self, by: Scalar | None, cell: str, name: str) -> str:
        if by is None:
            return self._text(cell, name)
        if not cell:
            return cell
        try:
            return str(by(float(cell)))
        except ValueError:
            return str(by(cell))


def _folded(name: str) -> str:
    """As names are compared: without case, compatible signs as one."""
    return (name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()).strip("\ufeff \t\r\n")


def _names(columns: Iterable[Any]) -> list[str]:
    """Names of columns as texts; those of more than one level are not looked through."""
    if any(isinstance(name, list | dict) for name in columns):
        raise _Unclear("expected columns of one level")
    return [str(name) for name in columns]


def _redacted(value: Any) -> Any:  # noqa: ANN401 - a scalar of JSON
    if isinstance(value, str):
        return TEXT
    return None if value is None else type(value)(0)


def _every(value: Any, by: Scalar) -> Any:  # noqa: ANN401 - any JSON
    """All below a field, keys too: they may be data (`{"tags": {"ill": true}}`)."""
    if isinstance(value, list):
        return [_every(item, by) for item in value]
    if not isinstance(value, dict):
        return by(value)
    done: dict[str, Any] = {}
    for key, item in value.items():
        name = by(key)
        done[name if name not in done else f"{name} {len(done) + 1}"] = _every(item, by)
    return done
