"""Protobuf's wire format (varints, fixed numbers, lengths), as far as the Open Inference Protocol needs it.

Read here instead of by generated code: a proxy looks for one text in a message that it passes on as it is, and must not
parse tensors for that; and what a model server answers is read without a runtime whose version has to fit the code's.
Nothing is copied but what is asked for, and every length is checked against what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

MOST_FIELDS: Final = 100_000
"""Of one message, where nobody waits for it to be read. A usual request or answer has tens."""

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_FIXED64 = struct.Struct("<Q").unpack_from
_FIXED32 = struct.Struct("<I").unpack_from


class Malformed(ValueError):
    """Not a message in protobuf's wire format."""


def varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """The number at this place, of at most 64 bits, and the place after it. Raises Malformed."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            break
    raise Malformed("expected a number of at most ten bytes")


def varints(data: memoryview) -> list[int]:
    """The numbers of a packed field, as `varint` reads each; a request may have a million of them. Raises Malformed."""
    values: list[int] = []
    value = shift = 0
    for byte in bytes(data):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            values.append(value & 0xFFFFFFFFFFFFFFFF)
            value = shift = 0
            continue
        shift += 7
        if shift > 63:
            break
    if shift:
        raise Malformed("expected numbers of at most ten bytes")
    return values


def fields(data: bytes | memoryview, most: int = MOST_FIELDS) -> Iterator[tuple[int, int, int, int]]:
    """Each field of a message: its number and kind; a number and 0, or (LENGTH) where its bytes begin and end.

    Raises:
        Malformed: the message does not end where a field does, or has more than `most` or none of the known kinds.
    """
    at, end = 0, len(data)
    for _ in range(most):
        if at >= end:
            return
        tag, at = varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise Malformed("expected fields numbered from 1")
        if kind == LENGTH:
            length, at = varint(data, at, end)
            if length > end - at:
                raise Malformed("expected all of a field's bytes")
            yield number, kind, at, at + length
            at += length
        elif kind == VARINT:
            value, at = varint(data, at, end)
            yield number, kind, value, 0
        elif kind in (FIXED64, FIXED32):
            size, read = (8, _FIXED64) if kind == FIXED64 else (4, _FIXED32)
            if size > end - at:
                raise Malformed("expected all of a field's bytes")
            yield number, kind, read(data, at)[0], 0
            at += size
        else:
            raise Malformed("expected no groups")
    if at < end:
        raise Malformed(f"expected at most {most} fields")


def texts_of(message: bytes, *wanted: int, most: int = MOST_FIELDS) -> list[str]:
    """The texts in these fields of a message, "" where one is not there. As everywhere, the last of a field counts.

    Raises:
        Malformed: this is no message, or has more than `most` fields, or one of them is no UTF-8.
    """
    found: dict[int, tuple[int, int]] = {}
    for number, kind, begin, end in fields(message, most):
        if kind == LENGTH and number in wanted:
            found[number] = begin, end
    try:
        return [message[begin:end].decode() for begin, end in (found.get(number, (0, 0)) for number in wanted)]
    except UnicodeDecodeError:
        raise Malformed("expected texts in UTF-8") from None


def text_field(number: int, text: str) -> bytes:
    """A message's field with a text, as it is written."""
    data = text.encode()
    return bytes((number << 3 | LENGTH,)) + written(len(data)) + data


def written(value: int) -> bytes:
    """A number as a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
