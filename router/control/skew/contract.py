"""Requests against a version's signature: what its server refuses, and what it takes silently as something else. Pure.

What is taken silently is what MLflow's scoring server does with rows of named columns (`dataframe_split`,
`dataframe_records`): it casts them with numpy, so that 1.5 in a column of integers becomes 1, and any text in a column
of booleans true.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from router.artifacts.signature import Columns
from router.control.skew.names import Break
from router.protocols.protocol import Table

_LARGEST: Final = {"integer": 2**31, "long": 2**63}
_LARGEST_FLOAT: Final = 3.4028235e38
_TRUTHS: Final = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Checked:
    """What one request comes to.

    Args:
        breaks: column of the signature, how it breaks it.
        extra: columns that the signature does not have, as the request names them.
    """

    breaks: frozenset[tuple[str, Break]]
    extra: tuple[str, ...]


def checked(columns: Columns, table: Table) -> Checked:
    """Look at the rows that were read of a request."""
    found: set[tuple[str, Break]] = set()
    for name, kind in columns.types.items():
        values = table.columns.get(name)
        if values is None:
            if name in columns.required:
                found.add((name, Break.MISSING))
            continue
        null = name in columns.required or kind in _NO_NULL
        judge = (_TYPED if table.typed else _TEXTS)[kind]
        for value in values:
            # NaN is what MLflow makes of null
            broken = (Break.NULL if null else None) if value is None or value != value else judge(value)  # noqa: PLR0124
            if broken is not None:
                found.add((name, broken))
    return Checked(frozenset(found), tuple(name for name in table.columns if name not in columns.types))


_NO_NULL: Final = frozenset({"integer", "long", "boolean"})
"""MLflow takes null in them for false, or refuses it, whether the signature requires the column or not."""


def _whole(largest: int) -> Callable[[object], Break | None]:
    def judge(value: object) -> Break | None:
        if isinstance(value, bool):
            return Break.COERCED
        if isinstance(value, int):
            return None if -largest <= value < largest else Break.COERCED
        if isinstance(value, float) and math.isfinite(value):
            return None if value.is_integer() and -largest <= value < largest else Break.COERCED
        if isinstance(value, str):
            return Break.COERCED if _is_whole(value) else Break.WRONG_TYPE
        return Break.WRONG_TYPE

    return judge


def _real(largest: float) -> Callable[[object], Break | None]:
    def judge(value: object) -> Break | None:
        if isinstance(value, bool):
            return Break.COERCED
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            return Break.WRONG_TYPE  # no float at all
        if isinstance(value, (int, float)):
            return None if abs(value) <= largest or math.isinf(value) else Break.COERCED
        if isinstance(value, str):
            return Break.COERCED if _is_real(value) else Break.WRONG_TYPE
        return Break.WRONG_TYPE

    return judge


def _truth(value: object) -> Break | None:
    if isinstance(value, bool):
        return None
    return Break.COERCED if isinstance(value, (int, float, str)) else Break.WRONG_TYPE


def _text(value: object) -> Break | None:
    return None if isinstance(value, str) else Break.WRONG_TYPE


def _moment(value: object) -> Break | None:
    """Texts are read generously; a number is taken for nanoseconds since 1970."""
    if isinstance(value, str):
        return None if any(letter.isdigit() for letter in value) else Break.WRONG_TYPE
    return Break.COERCED if isinstance(value, (int, float)) and not isinstance(value, bool) else Break.WRONG_TYPE


def _text_of(legal: Callable[[str], bool]) -> Callable[[object], Break | None]:
    return lambda value: None if isinstance(value, str) and legal(value) else Break.WRONG_TYPE


def _is_whole(text: str) -> bool:
    try:
        int(text)
    except ValueError:  # of too many digits, too
        return False
    return True


def _is_real(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_TYPED: Final[Mapping[str, Callable[[object], Break | None]]] = {
    "boolean": _truth,
    "integer": _whole(_LARGEST["integer"]),
    "long": _whole(_LARGEST["long"]),
    "float": _real(_LARGEST_FLOAT),
    "double": _real(math.inf),
    "string": _text,
    "datetime": _moment,
}

_TEXTS: Final[Mapping[str, Callable[[object], Break | None]]] = {
    "boolean": _text_of(lambda text: text.strip().lower() in _TRUTHS),
    "integer": _text_of(_is_whole),
    "long": _text_of(_is_whole),
    "float": _text_of(_is_real),
    "double": _text_of(_is_real),
    "string": _text_of(lambda _: True),
    "datetime": _moment,
}
"""Of CSV, whose cells are texts that are read as the signature's types."""
