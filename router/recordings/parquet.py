"""A recording as Parquet: one row a line, with the fields of the NDJSON lines as columns. Needs the extra `parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec

from router.recordings.lines import Line
from router.recordings.reading import Recording, RecordingError, fault, refuse

BATCH_ROWS = 65_536
_WHOLE = frozenset({"row", "version", "status"})


def read_parquet(path: Path, into: Recording, *, only_labels: bool = False) -> None:
    """Read Parquet, a batch of rows at a time.

    Args:
        path: the file. Without a column `type` its rows are observations, or labels where `only_labels`.
        into: takes what is read. An empty cell, or one that is not a number, is a field left out.
        only_labels: its rows are labels.

    Raises:
        RecordingError: the extra is not installed, or with everything that is wrong, as `file:row: what was expected`;
            rows count from 1.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise RecordingError(f"{path}: Parquet needs an extra: pip install 'titleshot[parquet]'") from None
    kind = "label" if only_labels else "observation"
    problems: list[str] = []
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                rows = [_line(row, kind) for row in batch.to_pylist()]
                try:
                    into.take(msgspec.convert(rows, list[Line]))
                except (ValueError, RecursionError):
                    for offset, row in enumerate(rows, number + 1):
                        problem = fault(_decode, row, into)
                        if problem:
                            problems.append(f"{path}:{offset}: {problem}")
                    refuse(problems, at_end=False)
                number += len(rows)
    except RecordingError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path}: expected a Parquet file: {error}") from None
    except (OverflowError, ValueError) as error:  # a time that Python has not, text that is no UTF-8
        raise RecordingError(f"{path}:{number + 1} or later: a cell that cannot be read: {error}") from None
    refuse(problems, at_end=True)


def _decode(row: object) -> Line:
    return cast("Line", msgspec.convert(row, Line))


def _line(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """The row as a line: cells that are empty or not a number are left out, but for a label's: it is counted."""
    line = {name: cell for name, cell in row.items() if cell is not None and cell == cell}  # noqa: PLR0124 - NaN
    for name in _WHOLE & line.keys():
        if isinstance(line[name], float) and line[name].is_integer():
            line[name] = int(line[name])  # what a data frame makes of whole numbers among empty cells
    line.setdefault("type", kind)
    if line["type"] == "label" and "label" in row:
        line["label"] = row["label"]
    return line
