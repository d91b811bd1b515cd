"""The model-server side of HTTP/1.1: one connection, one exchange at a time.

The parser's callbacks only gather; after each read the taker (an exchange) is called once and takes what has come. So
an answer that arrives in one read is written to the client in one write.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from router.proxy import heads
from router.proxy.answer import AnswerHead, NotHttp
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


class UpstreamConnection(asyncio.Protocol):
    """One kept connection to a model server, and the answer that is coming over it."""

    __slots__ = (
        "_coming",
        "_endpoint",
        "_expects_no_body",
        "_interim",
        "_left",
        "_parser",
        "_poll",
        "_stale_parser",
        "answered",
        "complete",
        "head",
        "idle_since",
        "informational",
        "keep",
        "limits",
        "pieces",
        "reused",
        "taker",
        "transport",
    )

    transport: asyncio.Transport
    _parser: httptools.HttpResponseParser

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.taker: Taker | None = None
        """Whose exchange is under way; the pool gives the connection away."""
        self._poll: select.poll | None = None
        self._stale_parser = False
        self._coming = AnswerHead()  # gathered by the parser's callbacks
        self._expects_no_body = False
        self._left = 0  # of the body, where the head was of the usual form
        self.limits = endpoint.limits
        self.idle_since = 0.0
        self.reused = False
        self.keep = False  # it may be used again after this answer
        self.informational: list[bytes] = []  # informational answers; the taker takes them away
        self._reset()

    def _reset(self) -> None:
        """Ready for the next answer."""
        self.answered = False  # any byte of the answer came
        self.head: AnswerHead | None = None
        self._interim = 0  # informational answers before it
        self.complete = False
        self.pieces: list[bytes] = []  # of the body; the taker takes them away

    # ---- used by takers and the pool

    def expect_no_body(self) -> None:
        """The request is a HEAD: its answer has no body, whatever its headers say (RFC 9110, section 9.3.2)."""
        self._expects_no_body = True

    def done(self, now: float, *, reusable: bool) -> None:
        """The exchange has ended. `reusable`: the request was sent whole and its answer taken whole."""
        self.taker = None
        if not (reusable and self.keep and self.complete) or self.transport.is_closing():
            self.close()
            return
        if self._stale_parser:
            self._parser = httptools.HttpResponseParser(self)
            self._stale_parser = False
            self._expects_no_body = False
        self.reused = True
        self._reset()
        self._endpoint.release(self, now)

    def usable(self, now: float) -> bool:
        """Whether this idle connection is alive: nothing, not even its end, may have arrived on it."""
        if self.transport.is_closing():
            return False
        if now - self.idle_since < CERTAIN_SECONDS:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def close(self) -> None:
        """Hang up; the answer, if one is coming, is not wanted."""
        self.taker = None
        self.transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._endpoint.open += 1

    def data_received(self, data: bytes) -> None:
        """Parse what came and let the taker take it."""
        taker = self.taker
        if taker is None:  # nobody asked: reaches nobody
            self.close()
            return
        if self._left:
            self._take_body(data)
        elif self.answered or not self._take_usual(data):
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
        taker, self.taker = self.taker, None
        if taker is not None:
            if exc is None and self.head is not None and self.head.until_close:
                self.complete = True
                taker.received(self)
            else:
                taker.broken(self)
        del self._parser  # it holds our methods, and we hold it

    def pause_writing(self) -> None:
        """The model server is slow to read."""
        if self.taker is not None:
            self.taker.flow(paused=True)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.taker is not None:
            self.taker.flow(paused=False)

    # ---- an answer of the usual form

    def _take_usual(self, data: bytes) -> bool:
        """Take an answer's first bytes without the parser; False: the parser must see them."""
        end = data.find(heads.END)
        if end < 0 or self._expects_no_body:
            return False
        head = heads.usual_answer(data[:end])
        if head is None:
            return False
        self.answered = True
        self.head = head
        self.keep = True
        self._left = head.length
        self._take_body(data[end + 4 :])
        return True

    def _take_body(self, data: bytes) -> None:
        if len(data) > self._left:  # more than was announced: it reaches nobody
            data = data[: self._left]
            self.keep = False
        if data:
            self.pieces.append(data)
        self._left -= len(data)
        self.complete = not self._left

    # ---- the parser's callbacks: they only gather

    def on_message_begin(self) -> None:
        """A message begins; after a complete answer there must be none."""
        if self.complete:
            raise NotHttp
        self._coming = AnswerHead()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or a trailer, which is dropped."""
        if self.head is None:
            self._coming.take(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status, head = self._parser.get_status_code(), self._coming
        if len(head.lines) > 2 * self.limits.max_header_count:
            raise NotHttp
        if status < 200:
            self._interim += 1
            if status < 100 or status == 101 or self._interim > MOST_INFORMATIONAL:
                raise NotHttp
            head.finish(status, keep=False)
            return
        if status > 599:
            raise NotHttp
        self.keep = self._parser.should_keep_alive()
        head.finish(status, keep=self.keep)
        self.head = head
        if self._expects_no_body:
            self._stale_parser = True  # it waits for a body that will not come
            self.complete = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.complete:
            raise NotHttp
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        """The end of an answer, or of an informational one before it."""
        if self.head is not None:
            self.complete = True
        elif self._coming.status != 100:  # 100 is between us and the model server
            self.informational.append(self._coming.text + b"\r\n")
