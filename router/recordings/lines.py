"""The lines of a recording: what each may hold, and in words what was expected. docs/recordings.md tells it."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from comparator.columns import LATEST

MOST_LINE_BYTES: Final = 4 * 1024 * 1024
"""A longer line is not read, and must not be written: no other line of its file would be read either."""

_At = Annotated[float, Meta(ge=0, lt=LATEST)]
_Row = Annotated[int, Meta(ge=0, lt=1 << 32)]
_Id = Annotated[str, Meta(min_length=1, max_length=1024)]
_VersionText = Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}$")]
Value = bool | float | str | None


class Observed(
    msgspec.Struct, tag="observation", tag_field="type", forbid_unknown_fields=True, gc=False, omit_defaults=True
):
    """One version's answer to one row of one request."""

    at: _At
    request_id: _Id
    role: Literal["champion", "challenger", "previous"]
    row: _Row = 0
    version: Annotated[int, Meta(ge=1, lt=1 << 32)] | _VersionText | None = None
    mode: Literal["none", "shadow", "canary", "watch", "forced", "twice", "again"] | None = None
    latency_s: float | None = None
    first_byte_s: float | None = None
    status: Annotated[int, Meta(ge=0, le=599)] | None = None
    ok: bool | None = None
    outcome: (
        Literal[
            "ok", "client_error", "server_error", "timeout", "connect", "broken", "garbage", "cancelled", "lost_race"
        ]
        | None
    ) = None
    attempted_both: bool | None = None
    shed: bool = False
    copy_first: bool = False
    prediction: Value = None
    score: float | None = None


class Told(msgspec.Struct, tag="label", tag_field="type", forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """The truth for one row of one request."""

    at: _At
    request_id: _Id
    label: Value
    row: _Row = 0


class Begun(msgspec.Struct, tag="recording", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """What `titleshot record` says first: of what this is a recording, and what is missing in it on purpose."""

    at: _At
    model: str
    protocol: str = ""
    share: int = 100  # percent of the requests, by their ids
    redacted: list[str] = []
    pseudonymised: list[str] = []


class Asked(msgspec.Struct, tag="request", tag_field="type", forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """A client's request: what `titleshot resend` sends again. Its body is a text, or what is none in Base64."""

    at: _At
    request_id: _Id
    path: str
    method: str = "POST"
    content_type: str | None = None
    content_encoding: str | None = None
    header_length: Annotated[int, Meta(ge=0)] | None = None  # Inference-Header-Content-Length, of binary tensors
    body: str | None = None
    body_base64: str | None = None


class Ended(msgspec.Struct, tag="end", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """What `titleshot record` says last; without it the recording broke off."""

    at: _At
    requests: int = 0
    observations: int = 0
    labels: int = 0
    dropped: int = 0  # lines that the reader was too slow for, and requests that were too long or too much at once
    left_out: int = 0  # requests that could not be redacted, came over gRPC, or are too long for a line


Line = Observed | Told | Begun | Asked | Ended

EXPECTED = {
    "type": '"observation", "label", "request", "recording" or "end"',
    "at": "seconds since the epoch, before the year 10000",
    "request_id": "text of 1 to 1024 characters",
    "role": "champion, challenger or previous",
    "row": "a whole number from 0",
    "version": "a whole number from 1, or its digits",
    "mode": "none, shadow, canary, watch, forced, twice or again",
    "latency_s": "seconds, a number",
    "first_byte_s": "seconds, a number",
    "status": "an HTTP status, or 0 where no answer came",
    "ok": "true or false",
    "outcome": "what became of the exchange: ok, client_error, server_error, timeout, connect, broken, garbage, "
    "cancelled or lost_race",
    "attempted_both": "true or false",
    "shed": "true or false",
    "copy_first": "true or false",
    "prediction": "a number, true or false",
    "score": "a number",
    "label": "a number, true or false",
}
_OF_REQUESTS = {
    "path": "text",
    "method": "text",
    "body": "text",
    "body_base64": "text in Base64",
    "content_type": "text",
    "content_encoding": "text",
    "header_length": "a whole number from 0",
    "model": "text",
    "protocol": "text",
}
TEXT_EXPECTED = "a number, true or false; --positive says which text is the positive class (of two)"


class Wrong(ValueError):
    """One line's fault that the structs do not know of; the message says what was expected."""


def in_words(message: str) -> str:
    """A message of msgspec, as what was expected of which field."""
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        return f"expected {missing[1]}: {_expected(missing[1])}"
    unknown = re.search(r"unknown field `(.*?)`", message)
    if unknown:
        return f"{unknown[1]}: expected no such field; the fields are {', '.join(EXPECTED)}"
    place = re.search(r"`\$\.(\w+)`$", message)
    if place:
        return f"{place[1]}: expected {_expected(place[1])}"
    return "expected one JSON object"


def _expected(name: str) -> str:
    return EXPECTED.get(name) or _OF_REQUESTS.get(name) or "another value"
