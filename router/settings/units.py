"""Quantities as people write them: durations, sizes, margins. Parsing and writing are each other's inverse."""

from __future__ import annotations

import re
from decimal import Decimal

_DURATION_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # in milliseconds, largest first
_DURATION = re.compile(r"(?:(?:\d{1,9}(?:\.\d{1,3})?)(?:ms|[dhms]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|[dhms])", re.ASCII)
MAX_DURATION_SECONDS = 3650 * 86_400.0

_SIZE_UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_SIZE = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB)", re.ASCII)

_NUMBER = r"\d{1,4}(?:\.\d{1,4})?"
_POINTS = re.compile(rf"({_NUMBER}) ?points?", re.ASCII)
_RELATIVE = re.compile(rf"({_NUMBER}) ?%", re.ASCII)

DURATION_PATTERN = rf"^{_DURATION.pattern}$"
SIZE_PATTERN = r"^\d{1,15} ?(B|KiB|MiB|GiB)$"
POINTS_PATTERN = rf"^{_NUMBER} ?points?$"
RELATIVE_PATTERN = rf"^{_NUMBER} ?%$"


class NotAUnit(ValueError):
    """A value that is not written as its kind of quantity is; the message says what was expected."""


def parse_duration(written: object) -> float:
    """Seconds from "30s", "10m", "1h30m", "7d", "500ms"; units from the largest to the smallest, each once.

    Raises:
        NotAUnit: a bare number, an unknown unit, or more than ten years.
    """
    if _is_number(written):
        raise NotAUnit(f"expected a duration with its unit, such as {written:g}s or {written:g}m, not a bare number")
    if not isinstance(written, str) or _DURATION.fullmatch(written) is None:
        raise NotAUnit(f"expected a duration such as 30s, 10m, 1h30m or 7d, not {shown(written)}")
    parts = _DURATION_PART.findall(written)
    order = [list(_DURATION_UNITS).index(unit) for _, unit in parts]
    if order != sorted(set(order)):
        raise NotAUnit(f"expected the units of a duration from the largest to the smallest, each once, not {written}")
    milliseconds = sum(Decimal(number) * _DURATION_UNITS[unit] for number, unit in parts)
    seconds = float(milliseconds / 1000)
    if seconds > MAX_DURATION_SECONDS:
        raise NotAUnit(f"expected at most 3650d, not {written}")
    return seconds


def write_duration(seconds: float) -> str:
    """The duration as people write it, to the millisecond: 5400.0 is "1h30m"."""
    left = round(seconds * 1000)
    written = ""
    for unit, milliseconds in _DURATION_UNITS.items():
        count, left = divmod(left, milliseconds)
        if count:
            written += f"{count}{unit}"
    return written or "0s"


def parse_size(written: object) -> int:
    """Bytes from "512B", "64KiB", "1MiB", "2GiB".

    Raises:
        NotAUnit: anything else.
    """
    if _is_number(written):
        raise NotAUnit(f"expected a size with its unit, such as {written:g}KiB, not a bare number")
    match = _SIZE.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise NotAUnit(f"expected a size such as 64KiB or 1MiB (B, KiB, MiB, GiB), not {shown(written)}")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def write_size(size: int) -> str:
    """The size as people write it, in the largest unit that divides it."""
    unit = next(unit for unit, factor in _SIZE_UNITS.items() if size % factor == 0 and (size or factor == 1))
    return f"{size // _SIZE_UNITS[unit]}{unit}"


def parse_points(written: object) -> float:
    """An absolute margin as a ratio: "2 points" is 0.02.

    Raises:
        NotAUnit: anything else; a percentage would be relative, which this metric's margin is not.
    """
    match = _POINTS.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise NotAUnit(f'expected percentage points, such as "2 points", not {shown(written)}')
    return float(Decimal(match[1]) / 100)


def write_points(ratio: float) -> str:
    """The absolute margin as people write it: 0.02 is "2 points"."""
    number = _plain(ratio)
    return f"{number} point{'' if number == '1' else 's'}"


def parse_relative(written: object) -> float:
    """A relative margin as a ratio: "10%" is 0.1.

    Raises:
        NotAUnit: anything else.
    """
    match = _RELATIVE.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise NotAUnit(f"expected a percentage of the champion's, such as 10%, not {shown(written)}")
    return float(Decimal(match[1]) / 100)


def write_relative(ratio: float) -> str:
    """The relative margin as people write it: 0.1 is "10%"."""
    return f"{_plain(ratio)}%"


def parse_percent(written: object) -> int:
    """An integer percent, 1 to 100.

    Raises:
        NotAUnit: anything else.
    """
    if isinstance(written, int) and not isinstance(written, bool) and 1 <= written <= 100:
        return written
    raise NotAUnit(f"expected an integer percent from 1 to 100, such as 10, not {shown(written)}")


def shown(value: object) -> str:
    """A value as an error message shows it: short, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(ratio: float) -> str:
    number = round(Decimal(repr(ratio)) * 100, 4).normalize()
    return f"{number:f}"
