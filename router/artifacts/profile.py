"""A compact profile of training features, which live ones are compared with.

Per column quantiles or categories, and the share that is missing. Memory does not grow with the rows.
Quantiles are those of a sample without replacement of SAMPLE_ROWS rows, chosen by a hash of the row's number: the same
rows however the data are cut, and all of them up to that number. Beyond it a quantile's rank is off by less than 0.014
with probability 0.95 (Massart 1990, the tight constant of the Dvoretzky-Kiefer-Wolfowitz inequality).
What share of the sample is at most a quantile (`reached`) is more than its level where many rows have that value.
Categories are all counted up to MOST_CATEGORIES; of more, those are found that make up more than 1/MOST_CATEGORIES of
the values, each with a share that is too small by at most that (Misra and Gries 1982).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROFILE_TAG = "titleshot.profile_sha256"
"""On a version: which profile is its own."""

SCHEMA = 1
SAMPLE_ROWS = 10_000
MOST_CATEGORIES = 1000
TOP_CATEGORIES = 50
LONGEST_CATEGORY = 100
MOST_COLUMNS = 2000
MOST_BYTES = 4 << 20
FOLDER = "titleshot"
"""Of a run's artifacts, with its profiles; a logged model has them beside its files."""

LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class ProfileError(ValueError):
    """Not a profile, or nothing that one can be made of."""


class Profile:
    """Takes rows in pieces, in order. `data` is the profile as plain data."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, _Column] = {}

    def take(self, columns: Mapping[str, Sequence[object]]) -> None:
        """The next rows: values by column, all of one length; None, "" and what is not a number (NaN) are missing.

        Raises:
            ProfileError: columns of different lengths, or other ones than before.
        """
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise ProfileError("expected columns of one length")
        if not self._columns:
            if not columns or len(columns) > MOST_COLUMNS:
                raise ProfileError(f"expected 1 to {MOST_COLUMNS} columns, not {len(columns)}")
            self._columns = {str(name): _Column() for name in columns}
        if self._columns.keys() != columns.keys():
            raise ProfileError("expected the same columns in every part of the data")
        count = lengths.pop() if lengths else 0
        chance = _shuffled(np.arange(self.rows, self.rows + count, dtype=np.uint64))
        for name, values in columns.items():
            self._columns[name].take(values, chance)
        self.rows += count

    def data(self) -> dict[str, Any]:
        """Plain data. Raises ProfileError: no row was taken."""
        if not self.rows:
            raise ProfileError("there is no row in the data")
        columns = {name: column.data(self.rows) for name, column in self._columns.items()}
        return {"schema": SCHEMA, "rows": self.rows, "columns": columns}


class _Column:
    """Numbers as long as all values are, infinite ones counted apart; text from the first on that is none."""

    def __init__(self) -> None:
        self._missing = self._infinite = 0
        self._numbers = True
        self._count = 0
        self._mean = self._squares = 0.0
        self._least, self._most = math.inf, -math.inf
        self._sample = np.zeros(0)
        self._chance = np.zeros(0, dtype=np.uint64)
        self._categories: Counter[str] = Counter()
        self._values = 0
        self._overflowed = False  # there were more categories than are told apart

    def take(self, values: Sequence[object], chance: NDArray[np.uint64]) -> None:
        there = np.array([not is_missing(value) for value in values], dtype=bool)
        self._missing += int(there.size - np.count_nonzero(there))
        present = [value for value, kept in zip(values, there, strict=True) if kept]
        for value in present:
            self._categorise(value)
        found = [number_of(value) for value in present] if self._numbers else []
        numbers = np.array([number for number in found if number is not None], dtype=float)
        numbers += 0.0  # -0.0 is 0.0: which of them is the least would depend on where the data are cut
        if numbers.size < len(found):
            self._numbers = False
        if self._numbers and numbers.size:
            finite = np.isfinite(numbers)
            self._infinite += int(numbers.size - np.count_nonzero(finite))
            if finite.any():
                self._measure(numbers[finite], chance[there][finite])

    def _categorise(self, value: object) -> None:
        self._values += 1
        text = str(value)[:LONGEST_CATEGORY]
        if text in self._categories or len(self._categories) < MOST_CATEGORIES:
            self._categories[text] += 1
            return
        self._overflowed = True
        self._categories = Counter({name: count - 1 for name, count in self._categories.items() if count > 1})

    def _measure(self, numbers: NDArray[np.float64], chance: NDArray[np.uint64]) -> None:
        for number in numbers.tolist():  # Welford 1962, so that the way the data are cut does not show
            self._count += 1
            step = number - self._mean  # beyond all floats it is infinite, and mean and deviation are not told
            self._mean += step / self._count
            self._squares += step * (number - self._mean)
        self._least, self._most = min(self._least, float(numbers.min())), max(self._most, float(numbers.max()))
        sample, chances = np.concatenate([self._sample, numbers]), np.concatenate([self._chance, chance])
        if sample.size > SAMPLE_ROWS:
            kept = np.argpartition(chances, SAMPLE_ROWS)[:SAMPLE_ROWS]
            sample, chances = sample[kept], chances[kept]
        self._sample, self._chance = sample, chances

    def data(self, rows: int) -> dict[str, Any]:
        missing = self._missing / rows
        if self._numbers and self._count:
            inner = np.quantile(self._sample, LEVELS[1:-1], method="inverted_cdf").tolist()
            values = [self._least, *inner, self._most]
            reached = np.searchsorted(np.sort(self._sample), values, side="right") / self._sample.size
            variance = self._squares / self._count
            return {
                "kind": "number",
                "missing": missing,
                "infinite": self._infinite / rows,
                "mean": self._mean if math.isfinite(self._mean) else None,
                "deviation": math.sqrt(variance) if math.isfinite(variance) else None,
                "quantiles": dict(zip(map(str, LEVELS), values, strict=True)),
                "reached": dict(zip(map(str, LEVELS), reached.tolist(), strict=True)),
            }
        top = [(name, count / self._values) for name, count in self._categories.items()]
        top.sort(key=lambda each: (-each[1], each[0]))
        distinct = MOST_CATEGORIES if self._overflowed else len(self._categories)
        return {
            "kind": "text",
            "missing": missing,
            "distinct": distinct,
            "more_than_distinct": self._overflowed,
            "top": [[name, share] for name, share in top[:TOP_CATEGORIES]],
        }


def artifact_name(sha256: str) -> str:
    """Of the file that holds the profile with this SHA-256: one of its own for each content."""
    return f"profile-{sha256}.json"


def as_text(data: Mapping[str, Any]) -> str:
    """The profile as its artifact."""
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_profile(text: str) -> dict[str, Any]:
    """A profile from its artifact. ProfileError: not one that this version reads."""
    if len(text) > MOST_BYTES:
        raise ProfileError(f"expected at most {MOST_BYTES} characters")
    try:
        data = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        columns, rows = data["columns"], data["rows"]
        legal = data["schema"] == SCHEMA and type(rows) is int and rows >= 1 and 1 <= len(columns) <= MOST_COLUMNS
        for column in columns.values():
            legal = legal and 0 <= column["missing"] <= 1
            if column["kind"] == "number":
                values = [column["quantiles"][str(level)] for level in LEVELS]
                legal = legal and all(math.isfinite(value) for value in values) and values == sorted(values)
                legal = legal and 0 <= column.get("infinite", 0) <= 1  # earlier profiles have no such share
                reached = [column["reached"][str(level)] for level in LEVELS] if "reached" in column else []
                legal = legal and all(0 <= share <= 1 for share in reached) and reached == sorted(reached)
                figures = (column["mean"], column["deviation"])
                legal = legal and all(figure is None or math.isfinite(figure) for figure in figures)
                legal = legal and (column["deviation"] or 0) >= 0
            else:
                names, shares = [name for name, _ in column["top"]], [share for _, share in column["top"]]
                legal = legal and column["kind"] == "text" and type(column["distinct"]) is int
                legal = legal and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
                legal = legal and all(0 <= share <= 1 for share in shares) and sum(shares) <= 1 + 1e-9
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        legal = False
    if not legal:
        raise ProfileError(f"not a profile of schema {SCHEMA}")
    return dict(data)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is more than a number holds")
    return number


def is_missing(value: object) -> bool:
    """Whether a profile counts it as missing."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, str) and (not value or value.strip().lower().lstrip("+-") == "nan"))


def number_of(value: object) -> float | None:
    """What a profile counts it as, of a column of numbers; None: no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:  # of an integer
        return math.inf if isinstance(value, int) and value > 0 else -math.inf


def _shuffled(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each number (splitmix64, Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
