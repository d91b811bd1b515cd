"""POST /labels: items checked one by one, good ones as columns. Pure.

An item is {"request_id": str, "label": number, true, false or str, "row": int = 0, "model": str, "at": time}; a body is
one item, a list of items, or NDJSON. `model` may be left out where there is one model. `at` (seconds since the epoch,
or RFC 3339 with an offset) may say when the truth became known; it is checked, but the record carries the time of
receipt, which retention and evidence go by.

What number a label becomes is the model's `Coding`: compared with the positive class it is 1.0 or 0.0, of several
classes it is its class, of a regression or a reward the number that it is. Its kind must fit, because a label of
another kind never equals: where classes are numbers, labels are numbers or booleans (true is 1, false is 0), and the
text "1" is refused; where they are texts, labels are texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from comparator.events import LABEL, Columns, request_key
from router.protocols.coding import Coding, Uncoded

LONGEST_ID = 256
LONGEST_TEXT = 256
LARGEST_ROW = 2**32 - 1
MOST_ITEMS = 100_000
CLOCK_SKEW_SECONDS = 300.0

_KEYS = frozenset({"request_id", "label", "row", "model", "at"})


class BadLabel(ValueError):
    """One item that is no label; the message says what was expected."""


class NotLabels(ValueError):
    """A body in which no items can be told apart; the message says what was expected."""


@dataclass(slots=True)
class Batch:
    """What a body held.

    Args:
        columns: the good labels by model; dtype LABEL, in the order of the body.
        rejected: (index of the item, why).
    """

    columns: dict[str, Columns] = field(default_factory=dict)
    rejected: list[tuple[int, str]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """How many good labels there are."""
        return sum(len(columns) for columns in self.columns.values())


@dataclass(frozen=True, slots=True)
class _Beyond:
    """A number of the body that is longer than any number we take."""

    text: str


def read_labels(body: bytes, content_type: str, codings: Mapping[str, Coding], now: float) -> Batch:
    """Check every item of a body.

    Args:
        body: JSON or NDJSON, UTF-8.
        content_type: NDJSON by its name; anything else is told by the body's shape.
        codings: every model's.
        now: seconds since the epoch: when the body was received.

    Returns:
        The good labels as columns, the others with what was expected.

    Raises:
        NotLabels: neither JSON nor NDJSON, or too many items.
    """
    batch = Batch()
    good: dict[str, list[tuple[float, int, int, int, float]]] = {}
    count = 0
    for index, item in enumerate(_items(body, content_type)):
        count += 1
        if count > MOST_ITEMS:
            raise NotLabels(f"expected at most {MOST_ITEMS} labels at once")
        try:
            if isinstance(item, NotLabels):
                raise BadLabel(str(item))  # noqa: TRY301 - a line of NDJSON is refused like any other item
            model, row = read_item(item, codings, now)
        except BadLabel as error:
            batch.rejected.append((index, str(error)))
        else:
            good.setdefault(model, []).append(row)
    if not count:
        raise NotLabels("expected at least one label")
    batch.columns = {model: np.array(rows, LABEL) for model, rows in good.items()}
    return batch


def read_item(
    item: object, codings: Mapping[str, Coding], now: float
) -> tuple[str, tuple[float, int, int, int, float]]:
    """One item: its model, and the row of dtype LABEL. Raises BadLabel."""
    if not isinstance(item, dict):
        raise BadLabel("expected an object with request_id and label")
    if unknown := sorted(item.keys() - _KEYS):
        raise BadLabel(f"expected only request_id, label, row, model and at, not {_shown(unknown[0])}")
    if missing := sorted({"request_id", "label"} - item.keys()):
        raise BadLabel(f"expected {' and '.join(missing)}")
    model = _model(item.get("model"), codings)
    key = _request_id(item["request_id"])
    label = _label(item["label"], codings[model])
    row = item.get("row", 0)
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= LARGEST_ROW:
        raise BadLabel(f"row: expected an integer from 0 to {LARGEST_ROW}, not {_shown(row)}")
    if item.get("at") is not None:
        _check_time(item["at"], now)
    return model, (now, key >> 64, key & 0xFFFF_FFFF_FFFF_FFFF, row, label)


def _model(given: object, codings: Mapping[str, Coding]) -> str:
    if given is None:
        if len(codings) != 1:
            raise BadLabel("model: expected a name: there is more than one model" if codings else "there is no model")
        return next(iter(codings))
    if not isinstance(given, str) or given not in codings:
        raise BadLabel(f"model: expected a model that is served here, not {_shown(given)}")
    return given


def _request_id(given: object) -> int:
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_ID:
        raise BadLabel(f"request_id: expected a text of 1 to {LONGEST_ID} characters, not {_shown(given)}")
    try:
        return request_key(given)
    except UnicodeEncodeError:
        raise BadLabel("request_id: expected Unicode text, not half a surrogate pair") from None


def _label(given: object, coding: Coding) -> float:
    if isinstance(given, str) and len(given) > LONGEST_TEXT:
        raise BadLabel(f"label: expected at most {LONGEST_TEXT} characters, not {_shown(given)}")
    try:
        return coding.label(given)
    except Uncoded as error:
        raise BadLabel(f"label: {error}, not {_shown(given)}") from None


def _check_time(given: object, now: float) -> None:
    expected = "at: expected seconds since the epoch, or RFC 3339 with an offset"
    if isinstance(given, str):
        try:
            read = datetime.fromisoformat(given)
        except ValueError:
            raise BadLabel(f"{expected}, not {_shown(given)}") from None
        if read.tzinfo is None:
            raise BadLabel(f"{expected}, not {_shown(given)}")
        at: float = read.timestamp()
    elif isinstance(given, int | float) and not isinstance(given, bool):
        at = given
    else:
        raise BadLabel(f"{expected}, not {_shown(given)}")
    if not 0 <= at <= now + CLOCK_SKEW_SECONDS:
        raise BadLabel(f"at: expected a time between 1970 and now, not {_shown(given)}")


def _items(body: bytes, content_type: str) -> Iterator[object]:
    """The items; NotLabels in the place of a line of NDJSON that is not JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"):
        return _lines(body)
    try:
        whole = _parse(body)
    except NotLabels:
        if b"\n" in body.strip() and not body.lstrip().startswith(b"["):
            return _lines(body)
        raise
    return iter(whole) if isinstance(whole, list) else iter([whole])


def _lines(body: bytes) -> Iterator[object]:
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield _parse(line)
        except NotLabels as error:
            yield error


def _parse(text: bytes) -> object:
    try:
        return json.loads(text.decode(), parse_int=_integer, parse_float=float, parse_constant=float)
    except (ValueError, RecursionError):
        raise NotLabels("expected JSON in UTF-8") from None


def _integer(text: str) -> int | _Beyond:
    return int(text) if len(text) <= 20 else _Beyond(text)


_SHOWN: Mapping[type, Callable[[object], str]] = {
    bool: lambda value: "true" if value else "false",
    dict: lambda _: "an object",
    list: lambda _: "a list",
    type(None): lambda _: "null",
    _Beyond: lambda _: "a number of so many digits",
}


def _shown(value: object) -> str:
    """A rejected value as a message can carry it: short, and safe to encode."""
    if (show := _SHOWN.get(type(value))) is not None:
        return show(value)
    if isinstance(value, str):
        short = value if len(value) <= 40 else f"{value[:40]}..."
        return json.dumps(short)  # ASCII
    if isinstance(value, int) and abs(value) >= 10**20:
        return _SHOWN[_Beyond](value)
    return str(value)
