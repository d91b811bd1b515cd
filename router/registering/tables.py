"""Tables of training data, a piece at a time: CSV, or Parquet with the extra `parquet`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

PIECE_ROWS = 8192
SUFFIXES = (".csv", ".parquet")


class TableError(Exception):
    """Not a table; the message says where, and what was expected."""


def is_table(path: Path) -> bool:
    """Whether its name says that it is one."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def pieces(path: Path) -> Iterator[Mapping[str, Sequence[object]]]:
    """Values by column, at most PIECE_ROWS rows at a time. Raises TableError."""
    return _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)


def _csv(path: Path) -> Iterator[Mapping[str, Sequence[object]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            if not names or len(set(names)) != len(names):
                raise TableError(f"{path}:1: expected a header with each column once")
            rows = _rows(reader, path, len(names))
            while piece := list(islice(rows, PIECE_ROWS)):
                yield dict(zip(names, zip(*piece, strict=True), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: expected CSV in UTF-8: {error}") from None


def _rows(reader: Reader, path: Path, width: int) -> Iterator[list[str]]:
    """All rows but blank lines at the end, of which a file may have any number."""
    blank = 0  # the line of the first of those that may be at the end
    for row in reader:
        wrong = blank or (reader.line_num if row and len(row) != width else 0)
        if wrong:
            raise TableError(f"{path}:{wrong}: expected {width} values in each row, not {0 if blank else len(row)}")
        if row:
            yield row
        else:
            blank = reader.line_num


def _parquet(path: Path) -> Iterator[Mapping[str, Sequence[object]]]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise TableError(f"{path}: Parquet needs an extra: pip install 'titleshot[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise TableError(f"{path}: expected each column once")
            for batch in file.iter_batches(batch_size=PIECE_ROWS):
                yield batch.to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: expected a Parquet file: {error}") from None
