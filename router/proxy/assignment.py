"""Who answers a request, and whether a copy is sent: a pure function of the key and the rollout.

A key's position lies in 0..2^32 and depends on the rollout only, so growing the share moves nobody back to the
champion, every process says the same, and a new rollout reshuffles. Mirroring draws from a domain of its own.
"""

from __future__ import annotations

import hashlib

SPACE = 1 << 32

_ASSIGN = b"titleshot.assign"  # BLAKE2b's personalisation: at most 16 bytes
_MIRROR = b"titleshot.mirror"


def position(key: bytes, rollout_id: int, domain: bytes = _ASSIGN) -> int:
    """Where a key stands in 0..2^32: BLAKE2b-32 of the key, salted with the rollout's id (RFC 7693)."""
    digest = hashlib.blake2b(key, digest_size=4, salt=rollout_id.to_bytes(8, "big"), person=domain).digest()
    return int.from_bytes(digest, "big")


class Assignment:
    """The split and the mirroring of one rollout, at one step.

    Args:
        rollout_id: salts both.
        share: percent of the keys that `other` answers.
        mirror: percent of the keys whose requests are copied to `other`.
    """

    __slots__ = ("_mirror", "_mirror_below", "_rollout_id", "_share", "_share_below")

    def __init__(self, rollout_id: int, share: int, mirror: int) -> None:
        self._rollout_id = rollout_id
        self._share = share
        self._mirror = mirror
        self._share_below = SPACE * share // 100
        self._mirror_below = SPACE * mirror // 100

    def to_other(self, key: bytes) -> bool:
        """Whether `other` answers this key's requests."""
        if self._share <= 0:
            return False
        return self._share >= 100 or position(key, self._rollout_id) < self._share_below

    def mirrored(self, key: bytes) -> bool:
        """Whether a copy of this key's requests goes to `other`."""
        if self._mirror >= 100:
            return True
        return self._mirror > 0 and position(key, self._rollout_id, _MIRROR) < self._mirror_below
