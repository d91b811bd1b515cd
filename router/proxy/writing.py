"""Bytes onto a connection: one write per message, as far as joining is cheaper than writing twice."""

from __future__ import annotations

from asyncio import Transport

LAST_CHUNK = b"0\r\n\r\n"

SEPARATE_BYTES = 32 * 1024
"""A part from this size on is written by itself: joining it would cost a copy."""


def chunk(piece: bytes) -> bytes:
    """A piece of a body as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def write(transport: Transport, parts: list[bytes]) -> None:
    """Write a message, or the next part of one; nothing on a connection that is closing: its end is on its way."""
    if transport.is_closing():
        return
    if len(parts[-1]) > SEPARATE_BYTES:
        transport.writelines(parts)
    else:
        transport.write(b"".join(parts))
