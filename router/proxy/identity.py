"""The id of a request: made here (UUIDv7, RFC 9562: time-ordered, 74 random bits), or the client's own."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import uuid
from collections.abc import Callable, Iterator

_RANDOM = struct.Struct("<HQ")
_REFILL = 512
_LOW = (1 << 64) - 1


class Identities:
    """Makes request ids. Random bits are drawn from the kernel for many ids at once.

    Args:
        now_ns: the wall clock, in nanoseconds since the epoch.
        random: the source of random bytes; guessable ids would let anyone label other people's requests.
    """

    __slots__ = ("_millisecond", "_now_ns", "_pool", "_prefix", "_random")

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom) -> None:
        self._now_ns = now_ns
        self._random = random
        self._millisecond = -1
        self._prefix = b""
        self._pool: Iterator[tuple[int, int]] = iter(())

    def fresh(self) -> tuple[int, int, bytes]:
        """A new id: its upper and lower 64 bits, and its text."""
        drawn = next(self._pool, None)
        if drawn is None:
            self._pool = _RANDOM.iter_unpack(self._random(_RANDOM.size * _REFILL))
            drawn = next(self._pool)
        short, long = drawn
        millisecond = self._now_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = b"%08x-%04x-7" % (millisecond >> 16 & 0xFFFFFFFF, millisecond & 0xFFFF)
        short &= 0xFFF
        low = 1 << 63 | long >> 2
        text = b"%b%03x-%04x-%012x" % (self._prefix, short, low >> 48, low & 0xFFFFFFFFFFFF)
        return (millisecond & 0xFFFFFFFFFFFF) << 16 | 0x7000 | short, low, text


def client_key(value: bytes) -> tuple[int, int]:
    """The key of a client's own id, upper and lower 64 bits: the same as comparator.events.request_key of its text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    key: int | None = None
    if len(text) in (32, 36):
        try:
            key = uuid.UUID(text).int
        except ValueError:
            key = None
    if key is None:
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
    return key >> 64, key & _LOW
