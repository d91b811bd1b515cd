"""Which requests are in a sample: by their ids, the same in every process, so that answers and labels follow.

No matter how ids are made: a UUID's constant parts and a client's own ids are mixed first (SplitMix64's finaliser,
Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import Final

MIXED: Final = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_LOW: Final = (1 << 64) - 1


def in_sample(hi: int, lo: int, percent: int) -> bool:
    """Whether the request with this key is in a sample of so many percent; a larger sample has all of a smaller one."""
    step, first, second = MIXED
    mixed = (hi * step + lo) & _LOW
    mixed = ((mixed ^ mixed >> 30) * first) & _LOW
    mixed = ((mixed ^ mixed >> 27) * second) & _LOW
    return ((mixed ^ mixed >> 31) >> 32) * 100 >> 32 < percent
