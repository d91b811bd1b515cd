"""The model-server side of HTTP/1.1: one connection, one exchange at a time.

The parser's callbacks only gather; after each read the taker (an exchange) is called once and takes what has come. So
an answer that arrives in one read is written to the client in one write.
"""

from __future__ import annotations

import asyncio
import select
import time
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from router.proxy import fields
from router.proxy.fields import PASS, RESPONSE_FIELDS
from router.proxy.refusal import Refusal

if TYPE_CHECKING:
    from router.proxy.pool import Endpoint

MOST_INFORMATIONAL = 8
CERTAIN_SECONDS = 0.02
"""A connection idle for less is taken as alive; one idle for longer is looked at first."""


class Taker(Protocol):
    """One exchange with a model server, as its connection sees it."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Here is your connection: send."""

    def unconnected(self, why: Refusal) -> None:
        """There is none to be had."""

    def received(self, connection: UpstreamConnection) -> None:
        """More of the answer is there, or its end (`connection.complete`)."""

    def broken(self, connection: UpstreamConnection) -> None:
        """The connection ended, or what came is no HTTP; no more will come."""

    def flow(self, *, paused: bool) -> None:
        """The model server reads more slowly than we write, or has caught up."""


class NotHttp(Exception):
    """What the model server sent is not an answer that we pass on."""


class UpstreamConnection(asyncio.Protocol):
    """One kept connection to a model server, and the answer that is coming over it."""

    __slots__ = (
        "_endpoint",
        "_expects_no_body",
        "_nominated",
        "_parser",
        "_poll",
        "_stale_parser",
        "_taker",
        "answered",
        "chunked",
        "coded",
        "complete",
        "head_done",
        "idle_since",
        "informational",
        "keep",
        "length",
        "limits",
        "lines",
        "pieces",
        "reused",
        "status",
        "transport",
        "until_close",
    )

    transport: asyncio.Transport
    _parser: httptools.HttpResponseParser

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._taker: Taker | None = None
        self._poll: select.poll | None = None
        self._stale_parser = False
        self.limits = endpoint.limits
        self.idle_since = 0.0
        self.reused = False
        self._reset()

    def _reset(self) -> None:
        """Ready for the next answer."""
        self._expects_no_body = False
        self._nominated: frozenset[bytes] = frozenset()
        self.answered = False  # any byte of the answer came
        self.status = 0
        self.lines: list[bytes] = []
        self.length = -1  # as its Content-Length says; -1: it says nothing
        self.chunked = False
        self.coded = False  # has a content coding
        self.keep = False
        self.until_close = False
        self.head_done = False
        self.complete = False
        self.pieces: list[bytes] = []  # of the body; the taker takes them away
        self.informational: list[tuple[int, list[bytes]]] = []

    # ---- used by takers and the pool

    def take(self, taker: Taker) -> None:
        """Begin an exchange."""
        self._taker = taker
        taker.connected(self)

    def expect_no_body(self) -> None:
        """The request is a HEAD: its answer has no body, whatever its headers say (RFC 9110, section 9.3.2)."""
        self._expects_no_body = True

    def done(self, *, reusable: bool) -> None:
        """The exchange has ended. `reusable`: the request was sent whole and its answer taken whole."""
        self._taker = None
        if not (reusable and self.keep and self.complete) or self.transport.is_closing():
            self.close()
            return
        if self._stale_parser:
            self._parser = httptools.HttpResponseParser(self)
            self._stale_parser = False
        self.reused = True
        self._reset()
        self._endpoint.release(self)

    def usable(self) -> bool:
        """Whether this idle connection is alive: nothing, not even its end, may have arrived on it."""
        if self.transport.is_closing():
            return False
        if time.monotonic() - self.idle_since < CERTAIN_SECONDS:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def close(self) -> None:
        """Hang up; the answer, if one is coming, is not wanted."""
        self._taker = None
        self.transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._endpoint.open += 1

    def data_received(self, data: bytes) -> None:
        """Parse what came and let the taker take it."""
        taker = self._taker
        if taker is None:  # nobody asked: reaches nobody
            self.close()
            return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except Exception:  # noqa: BLE001 - whatever it is, what came is not what we pass on
            self.keep = False
            if not self.complete:
                taker.broken(self)
                self.close()
                return
        taker.received(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended; where the answer was to last until then, it is complete."""
        self._endpoint.gone(self)
        taker, self._taker = self._taker, None
        if taker is not None:
            if exc is None and self.until_close and self.head_done:
                self.complete = True
                taker.received(self)
            else:
                taker.broken(self)
        del self._parser  # it holds our methods, and we hold it

    def pause_writing(self) -> None:
        """The model server is slow to read."""
        if self._taker is not None:
            self._taker.flow(paused=True)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._taker is not None:
            self._taker.flow(paused=False)

    # ---- the parser's callbacks: they only gather

    def on_message_begin(self) -> None:
        """A message begins; after a complete answer there must be none."""
        if self.complete:
            raise NotHttp

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or a trailer, which is dropped."""
        if self.head_done:
            return
        action = RESPONSE_FIELDS[name]
        if action == PASS:
            self.lines.append(b"%b: %b\r\n" % (name, value))
        elif action == fields.LENGTH:
            self.length = int(value)
            self.lines.append(b"content-length: %b\r\n" % value)
        elif action == fields.TRANSFER_ENCODING:
            if self.chunked or value.strip().lower() != b"chunked":
                raise NotHttp
            self.chunked = True
        elif action == fields.CONNECTION:
            self._nominated |= frozenset(fields.tokens(value))
        elif action == fields.CONTENT_ENCODING:
            self.coded = value.strip().lower() != b"identity"
            self.lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self.status = self._parser.get_status_code()
        if len(self.lines) > 2 * self.limits.max_header_count:
            raise NotHttp
        if self._nominated:
            self.lines = fields.without(self.lines, self._nominated)
        if status < 200:
            if status < 100 or status == 101 or len(self.informational) >= MOST_INFORMATIONAL:
                raise NotHttp
            return
        if status > 599:
            raise NotHttp
        self.head_done = True
        self.keep = self._parser.should_keep_alive()
        if self._expects_no_body:
            self._stale_parser = True  # it waits for a body that will not come
            self.complete = True
        elif not self.chunked and self.length < 0 and status not in (204, 304):
            self.until_close = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.complete:
            raise NotHttp
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        """The end of an answer, or of an informational one before it."""
        if self.status < 200:
            self.informational.append((self.status, self.lines))
            self._nominated = frozenset()
            self.lines = []
            self.length, self.chunked, self.coded = -1, False, False
            return
        self.complete = True
