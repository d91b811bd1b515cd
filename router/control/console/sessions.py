"""Who has signed in to the console: a random cookie stands for a token, which is looked up again at every request."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

COOKIE = "titleshot_session"
SESSION_SECONDS = 8 * 3600.0
MOST_SESSIONS = 1000
MOST_OF_A_TOKEN = 20
"""So that nobody who signs in again and again signs others out."""


@dataclass(frozen=True, slots=True)
class _Session:
    token: str = field(repr=False)
    until: float


class Sessions:
    """In memory: a restart signs everybody out. Cookies are kept as their hashes, the oldest of too many go.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def open(self, token: str) -> str:
        """Sign somebody in who has shown a good token; what the cookie is to say."""
        cookie = secrets.token_urlsafe(32)
        own = [key for key, session in self._sessions.items() if session.token == token]
        for key in own[: max(0, len(own) - MOST_OF_A_TOKEN + 1)]:
            del self._sessions[key]
        self._sessions[_key(cookie)] = _Session(token, self._clock() + SESSION_SECONDS)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def token(self, cookie: str) -> str | None:
        """The token that a cookie stands for; None: it stands for none any more."""
        session = self._sessions.get(_key(cookie))
        if session is None or session.until <= self._clock():
            self.close(cookie)
            return None
        return session.token

    def close(self, cookie: str) -> None:
        """Sign out."""
        self._sessions.pop(_key(cookie), None)


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="replace")).digest()
