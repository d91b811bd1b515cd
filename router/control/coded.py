"""Answers that came gzipped or deflated, decompressed within bounds."""

from __future__ import annotations

import zlib
from typing import Final

from router.link.messages import BODY_GZIP
from router.protocols.protocol import Unreadable

MOST_BYTES: Final = 1024 * 1024
"""Of one decompressed answer: some kilobytes can stand for gigabytes."""

MOST_BYTES_TOGETHER: Final = 32 * 1024 * 1024
"""Of those that came in one message: they are decompressed one after another, and all else waits."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def decoded(body: bytes, state: int, most: int = MOST_BYTES) -> bytes | None:
    """What a body of BODY_GZIP or BODY_DEFLATE stands for; None: more than so many bytes.

    Deflate is with zlib's header, as it should be, or without, as some servers have it (RFC 9110, section 8.4.1.2).

    Raises:
        Unreadable: it is not that, or not whole.
    """
    try:
        if state == BODY_GZIP:
            return _gunzipped(body, most)
        try:
            return _inflated(body, zlib.MAX_WBITS, most)[0]
        except zlib.error:
            return _inflated(body, _RAW, most)[0]
    except zlib.error:
        raise Unreadable("expected a body in the coding that its header names") from None


def _gunzipped(body: bytes, most: int) -> bytes | None:
    """One member or several (RFC 1952, section 2.2)."""
    members: list[bytes] = []
    while True:
        piece, body = _inflated(body, _GZIP, most)
        if piece is None:
            return None
        members.append(piece)
        most -= len(piece)
        if not body:
            return b"".join(members)


def _inflated(body: bytes, bits: int, most: int) -> tuple[bytes | None, bytes]:
    """One stream and what is behind it; None: it is too long. Raises zlib.error: it does not end well."""
    stream = zlib.decompressobj(bits)
    found = stream.decompress(body, most + 1)
    if len(found) > most:
        return None, b""
    if not stream.eof:
        raise zlib.error("cut off")
    return found, stream.unused_data
