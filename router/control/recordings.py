"""Recordings under way: each lasts as long as somebody reads it. What its reader is too slow for is dropped, counted.

Nothing is kept here: what is recorded goes to who asked for it, and to no file of ours.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from comparator.events import Columns
from router.link.messages import Sampled, SampledRequest
from router.link.sampling import MIXED, in_sample
from router.recordings.lines import MOST_LINE_BYTES, Asked, Begun, Ended, Line
from router.recordings.redaction import Redaction
from router.recordings.writing import id_text, label_lines, observed_lines, written
from router.settings.recording import RecordingSettings

MOST_AT_ONCE: Final = 4
"""Of all models together."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""That wait for one reader."""

WAIT_SECONDS: Final = 0.2
HEARTBEAT_SECONDS: Final = 5.0
"""An empty line: a reader that is gone is noticed, and one that is there knows that we are."""

_SENT_BYTES = 256 * 1024
_ROW_BYTES = 400  # about, of a row as a line
_MOST_ESCAPED = 7  # bytes of a line for one of a body: \u0000, and a head that is none
_MOST_DIGITS = 18  # of a length that somebody may mean


class TooMany(Exception):
    """There are as many recordings under way as there may be."""


Piece = tuple[str, object, int]


class Recording:
    """One recording under way.

    Args:
        begun: its first line.
        redaction: of the bodies.
    """

    def __init__(self, begun: Begun, redaction: Redaction) -> None:
        self.begun = begun
        self.counts = {"requests": 0, "observations": 0, "labels": 0, "dropped": 0, "left_out": 0}
        self._redaction = redaction
        self._waiting: deque[Piece] = deque()
        self._bytes = 0

    def take(self, kind: str, rows: list[SampledRequest] | Columns, size: int) -> None:
        """Keep requests, observations or labels for the reader, or drop them."""
        if not len(rows):
            return
        if self._bytes + size > MOST_BYTES:
            self.counts["dropped"] += len(rows)
            return
        self._bytes += size
        self._waiting.append((kind, rows, size))

    async def lines(self, seconds: float) -> AsyncIterator[bytes]:
        """NDJSON for so long, and what it all came to at the end."""
        yield written([self.begun])
        until = told = time.monotonic()
        until += seconds
        while True:
            over = time.monotonic() >= until
            pieces, self._waiting = list(self._waiting), deque()
            if pieces:
                self._bytes -= sum(size for _, _, size in pieces)
                text = await asyncio.to_thread(self._written, pieces)  # the loop has a rollout to look after
                for begin in range(0, len(text), _SENT_BYTES):  # a slow reader takes this much in time
                    yield text[begin : begin + _SENT_BYTES]
                told = time.monotonic()
            elif time.monotonic() - told >= HEARTBEAT_SECONDS:
                yield b"\n"
                told = time.monotonic()
            if over:
                break
            await asyncio.sleep(min(WAIT_SECONDS, max(0.0, until - time.monotonic())))
        yield written([Ended(time.time(), **self.counts)])

    def _written(self, pieces: list[Piece]) -> bytes:
        lines: list[Line] = []
        for kind, rows, _ in pieces:
            if isinstance(rows, np.ndarray):
                found: list[Line] = list(observed_lines(rows) if kind == "observations" else label_lines(rows))
            else:
                assert isinstance(rows, list)
                found = [line for request in rows if (line := self._asked(request)) is not None]
                self.counts["left_out"] += len(rows) - len(found)
            self.counts[kind] += len(found)
            lines += found
        return written(lines)

    def _asked(self, request: SampledRequest) -> Asked | None:
        if request.over_grpc:
            return None  # no field of a protobuf can be found by its name, and nothing sends a call again
        content_type, coding = request.content_type.decode("latin-1"), request.content_encoding.decode("latin-1")
        given = request.header_length
        length = int(given) if given.isdigit() and len(given) <= _MOST_DIGITS else None
        body = self._redaction.apply(request.body, content_type, coding, binary=bool(given))
        if body is None:
            return None
        try:
            text, encoded = body.decode(), None
        except UnicodeDecodeError:
            text, encoded = None, base64.b64encode(body).decode()
        asked = Asked(
            at=request.at,
            request_id=id_text(request.request_hi, request.request_lo),
            path=request.path.decode("latin-1"),
            method=request.method.decode("latin-1"),
            content_type=content_type or None,
            content_encoding=coding or None,
            header_length=length,
            body=text,
            body_base64=encoded,
        )
        # what few bytes become many when they are escaped is seen when it is written
        long = len(body) * _MOST_ESCAPED > MOST_LINE_BYTES and len(written([asked])) > MOST_LINE_BYTES
        return None if long else asked


class Recordings:
    """All recordings under way.

    Args:
        on_change: called when the share of some model's requests that proxies are to copy may have changed.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._open: dict[str, list[Recording]] = {}

    def share(self, model: str) -> int:
        """Percent of a model's requests that proxies are to copy."""
        return max((each.begun.share for each in self._open.get(model, ())), default=0)

    def opened(
        self, model: str, protocol: str, share: int, settings: RecordingSettings
    ) -> AbstractContextManager[Recording]:
        """A recording of so many percent of a model's requests, as long as the context lasts. Raises TooMany."""
        self._check_room()
        redact, pseudonymise = settings.redact, settings.pseudonymise
        begun = Begun(time.time(), model, protocol, share, list(redact), list(pseudonymise))
        redaction = Redaction(frozenset(redact), frozenset(pseudonymise), secrets.token_bytes(32))
        return self._under_way(model, Recording(begun, redaction))

    @contextmanager
    def _under_way(self, model: str, recording: Recording) -> Iterator[Recording]:
        self._check_room()  # others may have begun since
        self._open.setdefault(model, []).append(recording)
        self._on_change()
        try:
            yield recording
        finally:
            self._open[model].remove(recording)
            self._on_change()

    def _check_room(self) -> None:
        if sum(map(len, self._open.values())) >= MOST_AT_ONCE:
            raise TooMany

    def requests(self, message: Sampled) -> None:
        """Copies from a proxy."""
        for recording in self._open.get(message.model, ()):
            share = recording.begun.share
            recording.counts["dropped"] += message.dropped
            kept = [each for each in message.requests if in_sample(each.request_hi, each.request_lo, share)]
            recording.take("requests", kept, sum(len(each.body) + _ROW_BYTES for each in kept))

    def observed(self, model: str, columns: Columns) -> None:
        """Observations of a model: dtype OBSERVATION, shape (n,)."""
        self._rows("observations", model, columns)

    def labelled(self, model: str, columns: Columns) -> None:
        """Labels of a model: dtype LABEL, shape (n,)."""
        self._rows("labels", model, columns)

    def _rows(self, kind: str, model: str, columns: Columns) -> None:
        for recording in self._open.get(model, ()):
            kept = columns[in_samples(columns["request_hi"], columns["request_lo"], recording.begun.share)]
            recording.take(kind, kept, len(kept) * _ROW_BYTES)


def in_samples(hi: NDArray[np.uint64], lo: NDArray[np.uint64], percent: int) -> NDArray[np.bool_]:
    """As `router.link.sampling.in_sample`, of many: shape (n,), of bool."""
    step, first, second = (np.uint64(number) for number in MIXED)
    with np.errstate(over="ignore"):
        mixed = hi * step + lo
        mixed = (mixed ^ mixed >> np.uint64(30)) * first
        mixed = (mixed ^ mixed >> np.uint64(27)) * second
    share = (mixed ^ mixed >> np.uint64(31)) >> np.uint64(32)
    return np.asarray(share * np.uint64(100) >> np.uint64(32) < np.uint64(percent))
