"""The name of a model in the first bytes of a request's body: the text under its key "model".

No JSON parser: a scanner that steps from key to key of the outermost object and over their values, strings and nesting
included, in as few steps as regular expressions can take. Whether the whole body is JSON is the model server's to say.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

MOST_STEPS: Final = 10_000
"""Keys and brackets that are stepped over one by one: a body of nothing else would hold a worker for long."""

_LONGEST: Final = 1024  # of a name, escapes included

_STRING: Final = rb'(?:"(?:[^"]*+"(?<=[^\\]\\"))*+[^"]*+"(?<!\\")|"(?:[^"\\]++|\\.)*+")'
"""From quote to quote, those with one backslash before them left out, which is quick, since it looks for one byte only;
where that does not end at a quote without a backslash, byte by byte."""

_FLAT: Final = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
"""What has no brackets in it."""

_BEGIN: Final = re.compile(rb"[ \t\r\n]*+\{[ \t\r\n]*+")
_KEY: Final = re.compile(rb"(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_TEXT: Final = re.compile(_STRING, re.DOTALL)
_BRACKET: Final = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])*+([\[\]{}])", re.DOTALL
)
"""The next bracket that is not of a list or an object without brackets in it."""

_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]++")
_COMMA: Final = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_unescape: Final = msgspec.json.Decoder(str).decode


def body_model(head: bytes) -> bytes | None:
    """The name, or None: there is none in it, or none that ends in it. Of two the first counts.

    Args:
        head: of the body, as much as is to be looked through.
    """
    place = _BEGIN.match(head)
    steps = MOST_STEPS
    while place is not None and steps:
        steps -= 1
        key = _KEY.match(head, place.end())
        if key is None:
            return None
        begin = key.end()
        if _said(key[1]) == b"model":
            text = _TEXT.match(head, begin)
            return _said(text[0]) if text is not None else None
        first = head[begin : begin + 1]
        if first in (b"{", b"["):
            depth = 1
            end = begin + 1
            while depth:
                bracket = _BRACKET.match(head, end)
                if bracket is None or not steps:
                    return None
                steps -= 1
                depth += 1 if bracket[1] in b"{[" else -1
                end = bracket.end()
        else:
            value = (_TEXT if first == b'"' else _SCALAR).match(head, begin)
            if value is None:
                return None
            end = value.end()
        place = _COMMA.match(head, end)
    return None


def _said(quoted: bytes) -> bytes | None:
    """What a JSON string says; None: it is none, or too long to be a name."""
    if len(quoted) > _LONGEST:
        return None
    if b"\\" not in quoted:
        return quoted[1:-1]
    try:
        return _unescape(quoted).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
