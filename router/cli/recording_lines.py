"""The lines of a recording: what each may hold, and in words what was expected. docs/recordings.md tells it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from comparator.columns import LATEST

_At = Annotated[float, Meta(ge=0, lt=LATEST)]
_Row = Annotated[int, Meta(ge=0, lt=1 << 32)]
_Id = Annotated[str, Meta(min_length=1, max_length=1024)]
_VersionText = Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}$")]
Value = bool | float | str | None


class Observed(msgspec.Struct, tag="observation", tag_field="type", forbid_unknown_fields=True, gc=False):
    """One version's answer to one row of one request."""

    at: _At
    request_id: _Id
    role: Literal["champion", "challenger", "previous"]
    row: _Row = 0
    version: Annotated[int, Meta(ge=1, lt=1 << 32)] | _VersionText | None = None
    mode: Literal["shadow", "canary", "watch"] | None = None
    latency_s: float | None = None
    status: Annotated[int, Meta(ge=0, le=599)] | None = None
    ok: bool | None = None
    prediction: Value = None
    score: float | None = None


class Told(msgspec.Struct, tag="label", tag_field="type", forbid_unknown_fields=True, gc=False):
    """The truth for one row of one request."""

    at: _At
    request_id: _Id
    label: Value
    row: _Row = 0


Line = Observed | Told

EXPECTED = {
    "type": '"observation" or "label"',
    "at": "seconds since the epoch, before the year 10000",
    "request_id": "text of 1 to 1024 characters",
    "role": "champion, challenger or previous",
    "row": "a whole number from 0",
    "version": "a whole number from 1, or its digits",
    "mode": "shadow, canary or watch",
    "latency_s": "seconds, a number",
    "status": "an HTTP status, or 0 where no answer came",
    "ok": "true or false",
    "prediction": "a number, true or false",
    "score": "a number",
    "label": "a number, true or false",
}
TEXT_EXPECTED = "a number, true or false; --positive says which text is the positive class (of two)"


class Wrong(ValueError):
    """One line's fault that the structs do not know of; the message says what was expected."""


def in_words(message: str) -> str:
    """A message of msgspec, as what was expected of which field."""
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        return f"expected {missing[1]}: {EXPECTED.get(missing[1], '')}"
    unknown = re.search(r"unknown field `(.*?)`", message)
    if unknown:
        return f"{unknown[1]}: expected no such field; the fields are {', '.join(EXPECTED)}"
    place = re.search(r"`\$\.(\w+)`$", message)
    if place:
        return f"{place[1]}: expected {EXPECTED[place[1]]}"
    return "expected one JSON object"
