"""The codes of comparator.events, as plain ints: importing them from there would cost a proxy numpy's 20 MB.

A test holds them equal.
"""

from typing import Final

CHAMPION: Final = 0
CHALLENGER: Final = 1
PREVIOUS: Final = 2

MODE_NONE: Final = 0
MODE_SHADOW: Final = 1
MODE_CANARY: Final = 2
MODE_WATCH: Final = 3
MODE_FORCED: Final = 4
MODE_TWICE: Final = 5
MODE_AGAIN: Final = 6

OK: Final = 0
CLIENT_ERROR: Final = 1
SERVER_ERROR: Final = 2
TIMEOUT: Final = 3
CONNECT: Final = 4
BROKEN: Final = 5
GARBAGE: Final = 6
CANCELLED: Final = 7
LOST_RACE: Final = 8

FAILED: Final[tuple[bool | None, ...]] = (False, False, True, True, True, True, True, None, None)
"""By outcome: whether the breaker counts it against a version (GARBAGE is only known to the control process); None: it
says nothing about the version."""


OUTCOME_OF: Final = (OK,) * 400 + (CLIENT_ERROR,) * 100 + (SERVER_ERROR,) * 100
"""The outcome of an answer that came whole, by its status."""
