"""A class that is a text, as the number that stands for it in columns."""

from __future__ import annotations

from hashlib import blake2b

FIRST_CODE = 1 << 52
"""Numbers from here on stand for texts."""


def class_code(text: str) -> float:
    """The number of a class named by a text: whole, from FIRST_CODE on, the same in every process.

    Equality is all that is asked of it: 52 bits of BLAKE2b (RFC 7693), exact in float64; two of a million different
    texts share one with a probability of 1e-4. No class that is a small number has one of these.
    """
    return float(FIRST_CODE + (int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 12))
