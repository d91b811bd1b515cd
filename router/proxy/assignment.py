"""Who answers a request, and whether a copy is sent: a pure function of the key and the rollout.

A key's position lies in 0..2^32 and depends on the rollout only, so growing the share moves nobody back to the
champion, every process says the same, and a new rollout reshuffles. Mirroring draws from a domain of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

SPACE = 1 << 32

ALL = 100
"""Percent of the keys."""

_ASSIGN = b"titleshot.assign"  # BLAKE2b's personalisation: at most 16 bytes
_MIRROR = b"titleshot.mirror"
_TWICE = b"titleshot.twice"
_EVERYBODY = b"\xff" * 5
"""Above every position."""


class Draw:
    """Whether a key stands below a share: BLAKE2b-32 of the key (RFC 7693), salted with the rollout's id.

    Args:
        rollout_id: the salt.
        percent: the share of the keys.
        domain: draws of different domains are independent.
    """

    __slots__ = ("_below", "_salted")

    def __init__(self, rollout_id: int, percent: int, domain: bytes) -> None:
        self._salted = hashlib.blake2b(digest_size=4, salt=rollout_id.to_bytes(8, "big"), person=domain)
        below = SPACE * max(percent, 0) // 100
        self._below = below.to_bytes(4, "big") if below < SPACE else _EVERYBODY

    def has(self, key: bytes) -> bool:
        """Whether this key is in the share."""
        digest = self._salted.copy()
        digest.update(key)
        return digest.digest() < self._below


class Assignment:
    """The split and the mirroring of one rollout, at one step.

    Args:
        rollout_id: salts both.
        share: percent of the keys that `other` answers.
        mirror: percent of the keys whose requests are copied to `other`.
    """

    __slots__ = ("mirrored", "to_other")

    def __init__(self, rollout_id: int, share: int, mirror: int) -> None:
        self.to_other = Draw(rollout_id, share, _ASSIGN).has
        """Whether `other` answers this key's requests."""
        self.mirrored = Draw(rollout_id, mirror, _MIRROR).has
        """Whether a copy of this key's requests goes to `other`."""


def asked_twice(rollout_id: int, percent: int) -> Callable[[bytes], bool]:
    """Whether the copy of a request with this id goes to the champion once more."""
    return Draw(rollout_id, percent, _TWICE).has
