"""Where something stands in a JSON value: JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

Keys = tuple[str, ...]
"""A pointer, taken apart."""

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def pointer(text: str) -> Keys:
    """The keys of a pointer; "" points at the whole. Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError("expected a JSON pointer, such as /label")
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:])


def at(value: object, keys: Keys) -> object:
    """What stands there in a JSON value; UNSET: nothing."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) is not None and int(key) < len(value):
            value = value[int(key)]
        else:
            return msgspec.UNSET
    return value
