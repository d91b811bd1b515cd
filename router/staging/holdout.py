"""Holdout rows with their labels, typed as the model's signature has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.protocols.coding import Coding, Uncoded
from router.registering.hashing import data_hash
from router.registering.tables import is_table, pieces
from router.staging.contract import Row

MOST_ROWS = 100_000


class HoldoutError(Exception):
    """The data cannot be used; the message says which row and column, and what was expected."""


@dataclass(frozen=True)
class Holdout:
    """Labelled rows.

    Args:
        rows: feature values by column.
        labels: as the coding makes numbers of them; shape (rows,).
        data_hash: of the file, as `titleshot register` makes it.
    """

    rows: list[Row]
    labels: NDArray[np.float64]
    data_hash: str


def read_holdout(path: Path, label: str, types: Mapping[str, str], coding: Coding) -> Holdout:
    """Read CSV or Parquet.

    Args:
        path: the file.
        label: the label's column.
        types: MLflow's type of each feature.
        coding: how labels become numbers.

    Raises:
        HoldoutError: a column is missing, a cell is not of its type, or there are no rows or too many.
        TableError, DataError: not a table, or not a file.
    """
    if not is_table(path):
        raise HoldoutError(f"{path}: expected a file named .csv or .parquet")
    rows: list[Row] = []
    labels: list[float] = []
    for piece in pieces(path):
        missing = [name for name in (*types, label) if name not in piece]
        if missing:
            raise HoldoutError(f"{path}: there is no column {', '.join(missing[:10])}")
        for index, truth in enumerate(piece[label]):
            number = len(rows) + 1
            rows.append({name: _typed(piece[name][index], kind, path, number, name) for name, kind in types.items()})
            labels.append(_label(truth, coding, path, number))
        if len(rows) > MOST_ROWS:
            raise HoldoutError(f"{path}: expected at most {MOST_ROWS:,} rows; a sample of them tells as much")
    if not rows:
        raise HoldoutError(f"{path}: there are no rows")
    return Holdout(rows, np.array(labels), data_hash(path))


def _typed(value: object, kind: str, path: Path, row: int, column: str) -> object:
    if value is None or value == "":
        return None
    try:
        match kind:
            case "integer" | "long":
                return _integer(value)
            case "double" | "float":
                return float(value)  # type: ignore[arg-type]
            case "boolean":
                return _boolean(value)
            case "datetime":
                return value.isoformat() if isinstance(value, (datetime, date)) else str(value)
            case _:
                return str(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise HoldoutError(f"{path}: row {row}, column {column}: expected a value of type {kind}") from None


def _integer(value: object) -> int | None:
    """A whole number; NaN, which is how tables with gaps have them, is none."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value != int(value):
            raise ValueError
    return int(value)  # type: ignore[call-overload, no-any-return]


def _boolean(value: object) -> bool:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _label(value: object, coding: Coding, path: Path, row: int) -> float:
    """A cell of a table is often a text, whatever it means: a number where it is one and classes can be numbers."""
    text = str(value).strip() if value is not None else ""
    given: float | str = text
    if coding.takes(text=False):
        given = _number(text.lower(), text if coding.takes(text=True) else math.nan)
    if given == "" or given != given:  # noqa: PLR0124 - NaN is not itself
        raise HoldoutError(
            f"{path}: row {row}: expected a label{'' if coding.takes(text=True) else ' that is a number'}"
        )
    try:
        return coding.label(given)
    except Uncoded as error:
        raise HoldoutError(f"{path}: row {row}: label: {error}") from None


def _number(text: str, otherwise: float | str) -> float | str:
    try:
        number = {"true": 1.0, "false": 0.0}[text] if text in ("true", "false") else float(text)
    except ValueError:
        return otherwise
    return number if math.isfinite(number) else otherwise
