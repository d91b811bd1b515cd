"""Rows of requests by column, in the shapes that several protocols have. Off the request path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from router.protocols.protocol import Table, Unreadable

MOST_ROWS: Final = 1000
"""Of one request; of more the first ones are read."""

MOST_COLUMNS: Final = 2000


def records(data: object) -> Table:
    """Objects; anything else in the list is a row without names."""
    if not isinstance(data, list):
        raise Unreadable("expected a list of rows")
    read = data[:MOST_ROWS]
    found = [row for row in read if isinstance(row, dict)]
    if len(found) < len(read):
        return Table({}, len(data))
    names = names_once(list(dict.fromkeys(name for row in found for name in islice(row, MOST_COLUMNS + 1))))
    return Table({name: [row.get(name) for row in found] for name in names}, len(data))


def columns_or_records(data: object) -> Table:
    """By column, or as `instances`."""
    if not isinstance(data, dict):
        return records(data)
    names = names_once(list(data))
    if not any(isinstance(values, list) for values in data.values()):
        return Table({name: [data[name]] for name in names}, 1)
    lengths = {len(values) if isinstance(values, list) else -1 for values in data.values()}
    if len(lengths) != 1:
        raise Unreadable("expected columns of one length ")
    return Table({name: data[name][:MOST_ROWS] for name in names}, lengths.pop())


def by_column(names: Sequence[str], rows: Sequence[object], *, typed: bool = True) -> Table:
    """Rows that are lists, under these names. Raises Unreadable: rows of other lengths."""
    read = rows[:MOST_ROWS]
    if not all(isinstance(row, list) and len(row) == len(names) for row in read):
        raise Unreadable("expected rows as long as the columns")
    values = zip(*read, strict=True) if read else ([] for _ in names)
    return Table(dict(zip(names, map(list, values), strict=True)), len(rows), typed)


def names_once(names: list[str]) -> list[str]:
    """The names. Raises Unreadable: one twice, or too many."""
    if len(names) > MOST_COLUMNS or len(set(names)) < len(names):
        raise Unreadable(f"expected at most {MOST_COLUMNS} columns, each once")
    return names
