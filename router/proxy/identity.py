"""The id of a request: made here (UUIDv7, RFC 9562: time-ordered, 74 random bits), or the client's own."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

_RANDOM_BYTES: Final = 10
_TAIL_BYTES: Final = 22
_REFILL: Final = 512
_LOW: Final = (1 << 64) - 1

_NUMBERS: Final = struct.Struct(">HQ")
_TAILS: Final = struct.Struct(f"{_TAIL_BYTES}s")
_RANDOM_BITS: Final = int.from_bytes(bytes.fromhex("0fff3fffffffffffffff") * _REFILL, "big")
_VERSION_AND_VARIANT: Final = int.from_bytes(bytes.fromhex("70008000000000000000") * _REFILL, "big")
_DIGITS: Final = tuple(at for at in range(_TAIL_BYTES) if at not in (4, 9))
"""Where the hexadecimal digits of a tail stand: 7xxx-xxxx-xxxxxxxxxxxx."""

Drawn = tuple[tuple[int, int], tuple[bytes]]


class Identities:
    """Makes request ids. All but their time is made for many ids at once, a digit's place at a time.

    Args:
        now_ns: the wall clock, in nanoseconds since the epoch.
        random: the source of random bytes; guessable ids would let anyone label other people's requests.
    """

    __slots__ = ("_high", "_millisecond", "_now_ns", "_pool", "_prefix", "_random")

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom) -> None:
        self._now_ns = now_ns
        self._random = random
        self._millisecond = -1
        self._high = 0
        self._prefix = b""
        self._pool: Iterator[Drawn] = iter(())

    def fresh(self) -> tuple[int, int, bytes]:
        """A new id: its upper and lower 64 bits, and its text."""
        drawn = next(self._pool, None)
        if drawn is None:
            self._pool = self._refilled()
            drawn = next(self._pool)
        (short, low), (tail,) = drawn
        millisecond = self._now_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._high = (millisecond & 0xFFFFFFFFFFFF) << 16
            self._prefix = b"%08x-%04x-" % (millisecond >> 16 & 0xFFFFFFFF, millisecond & 0xFFFF)
        return self._high | short, low, self._prefix + tail

    def _refilled(self) -> Iterator[Drawn]:
        bits = int.from_bytes(self._random(_RANDOM_BYTES * _REFILL), "big") & _RANDOM_BITS | _VERSION_AND_VARIANT
        drawn = bits.to_bytes(_RANDOM_BYTES * _REFILL, "big")
        digits = drawn.hex().encode()
        tails = bytearray(b"-") * (_TAIL_BYTES * _REFILL)
        for number, at in enumerate(_DIGITS):
            tails[at::_TAIL_BYTES] = digits[number :: len(_DIGITS)]
        return zip(_NUMBERS.iter_unpack(drawn), _TAILS.iter_unpack(bytes(tails)), strict=True)


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
