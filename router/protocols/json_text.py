"""JSON as model servers write it: with bare NaN and Infinity at times, and perhaps too deep to be read."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from router.protocols.protocol import Unreadable

T = TypeVar("T")


def read_json(body: bytes, decode: msgspec.json.Decoder[T], of: str) -> T:
    """What `decode` makes of a body; `of` says what was expected.

    Raises:
        Unreadable: it is not that.
    """
    try:
        return decode.decode(body)
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"NaN" in body or b"Infinity" in body:
            return _with_nan(body, decode, of)
        raise Unreadable(f"expected {of}: {error}") from None


def _with_nan(body: bytes, decode: msgspec.json.Decoder[T], of: str) -> T:
    """NaN and Infinity are not JSON, but some servers write them, and the standard library reads them."""
    import json  # noqa: PLC0415 - a proxy imports this module and never reads a body

    try:
        data: Any = json.loads(body.decode())
        return msgspec.convert(data, decode.type)
    except (ValueError, RecursionError):
        raise Unreadable(f"expected {of} in JSON (with NaN and Infinity, at most)") from None


_TOO_DEEP: Final = "expected JSON that is not nested so deeply"
