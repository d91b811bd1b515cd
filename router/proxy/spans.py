"""Finished spans of traced requests, until they go up the link; what does not fit is dropped and counted."""

from __future__ import annotations

from typing import Final, Protocol

from router.link.messages import Span, Spans

MOST_WAITING: Final = 2048
FRAME_SPANS: Final = 256


class Link(Protocol):
    """Where spans go."""

    @property
    def ready(self) -> bool:
        """Whether it would take a message now."""

    def send(self, message: Spans) -> bool:
        """Take a message; False: not now."""


class SpanQueue:
    """Keeps spans until `flush` hands them on.

    Args:
        most: kept at once.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.dropped = 0  # since the last message
        self._most = most
        self._waiting: list[Span] = []

    def add(self, span: Span) -> None:
        """Keep it, if there is room."""
        if len(self._waiting) < self._most:
            self._waiting.append(span)
        else:
            self.dropped += 1

    def flush(self, link: Link) -> None:
        """Hand on what waits, or as much as goes into one message."""
        if not (self._waiting or self.dropped) or not link.ready:
            return
        spans = self._waiting[:FRAME_SPANS]
        if link.send(Spans(tuple(spans), self.dropped)):
            self.dropped = 0
            del self._waiting[: len(spans)]

    def flush_all(self, link: Link) -> None:
        """Hand on all that waits, as far as the link takes it: this process ends."""
        waiting = -1
        while len(self._waiting) != waiting:
            waiting = len(self._waiting)
            self.flush(link)
