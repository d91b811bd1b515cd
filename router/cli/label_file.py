"""Labels as they stand in a file, CSV or NDJSON: read line by line, never the whole file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LONGEST_LINE = 64 * 1024
COLUMNS = frozenset({"request_id", "label", "row", "model", "at"})

FORMATS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


class NotALabelFile(ValueError):
    """A file that cannot be read as labels at all; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Item:
    """One label: where it stands, and what it says."""

    line: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no label."""

    line: int
    expected: str


def format_of(path: Path) -> str | None:
    """Csv or ndjson, by the file's ending; None: it does not say."""
    return FORMATS.get(path.suffix.lower())


def read_items(file: BinaryIO, kind: str) -> Iterator[Item | BadLine]:
    """The labels of a file.

    Args:
        file: read sequentially, as far as the iterator is.
        kind: csv or ndjson.

    Raises:
        NotALabelFile: a CSV file without the header that is needed, or one whose quoting is broken.
    """
    return _ndjson(file) if kind == "ndjson" else _csv(file)


def _ndjson(file: BinaryIO) -> Iterator[Item | BadLine]:
    for number, line in enumerate(_lines(file), 1):
        if line is None:
            yield BadLine(number, f"expected a line of at most {LONGEST_LINE} bytes")
            continue
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            yield BadLine(number, "expected JSON in UTF-8")
            continue
        if isinstance(data, dict):
            yield Item(number, data)
        else:
            yield BadLine(number, "expected an object with request_id and label")


def _csv(file: BinaryIO) -> Iterator[Item | BadLine]:
    rows = csv.reader(_text(file), strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            if not row:
                continue
            if header is None:
                header = _header(row, rows.line_num)
            elif len(row) != len(header):
                yield BadLine(rows.line_num, f"expected {len(header)} fields, as the header has, not {len(row)}")
            else:
                yield Item(rows.line_num, _item(dict(zip(header, row, strict=True))))
    except csv.Error as error:
        raise NotALabelFile(f"line {rows.line_num}: expected CSV: {error}") from None
    if header is None:
        raise NotALabelFile("expected a header: request_id,label[,row]")


def _header(row: list[str], line: int) -> list[str]:
    header = [name.strip() for name in row]
    missing = sorted({"request_id", "label"} - set(header))
    unknown = sorted(set(header) - COLUMNS)
    if missing or unknown or len(set(header)) != len(header):
        raise NotALabelFile(f"line {line}: expected a header of request_id,label[,row][,model][,at], each once")
    return header


def _item(row: dict[str, str]) -> dict[str, object]:
    """What JSON would say: the admin port judges it, as it does any label."""
    item: dict[str, object] = {"request_id": row["request_id"].strip(), "label": _value(row["label"])}
    if row.get("row", "").strip():
        item["row"] = _value(row["row"])
    if row.get("model", "").strip():
        item["model"] = row["model"].strip()
    if row.get("at", "").strip():
        item["at"] = _value(row["at"])
    return item


def _value(text: str) -> object:
    """A number, true or false where it is one, else the text."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else text
        except ValueError:
            continue
    return text


def _text(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(_lines(file), 1):
        if line is None:
            raise NotALabelFile(f"line {number}: expected a line of at most {LONGEST_LINE} bytes")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines; None in the place of one that is too long, which is skipped without being kept."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 1)
        yield None
