"""The requests of one client's connection, out of its bytes.

The parser's callbacks only gather. llhttp refuses most of what is malformed; what it leaves to us (Host, versions,
transfer codings, sizes, upgrades) is refused here. A refusal takes its place in the queue like any request.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

import httptools

from router.proxy import fields, heads, refusal
from router.proxy.fields import PASS, REQUEST_FIELDS
from router.proxy.refusal import Refusal
from router.proxy.request import KEEP_ALIVE, Request, take_field

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane

_USUAL: Final = frozenset(
    (b"keep-alive", b"close", b"upgrade", b"te", b"trailer", b"transfer-encoding", b"http2-settings")
)
"""What Connection fields usually name; all of it is dropped or handled anyway."""


class _Unframed:
    """Parses chunks after a head with an Upgrade that we do not speak; the request is the last of its connection."""

    def __init__(self, connection: RequestQueue) -> None:
        self.on_body = connection.on_body
        self._connection = connection
        self._begun = False

    def on_message_begin(self) -> None:
        if self._begun:
            raise refusal.MALFORMED  # a next request: it reaches nobody
        self._begun = True

    def on_message_complete(self) -> None:
        self._connection.on_message_complete()


class RequestQueue:
    """Parses what a client sends into a queue of requests.

    Args:
        plane: the worker's state; its limits hold.
    """

    __slots__ = (
        "_broken",
        "_good_host",
        "_half_line",
        "_head_began",
        "_head_bytes",
        "_last_came",
        "_left",
        "_parser",
        "_parsing",
        "_plane",
        "_queue",
        "_stale_parser",
        "_tunnel",
    )

    _parser: httptools.HttpRequestParser

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._parsing: Request | None = None  # its end has not come yet
        self._queue: deque[Request] = deque()  # heads that have come, not begun
        self._left = 0  # of a body that is not the parser's
        self._head_bytes = 0  # of a head that goes on in the next read
        self._head_began = 0.0
        self._good_host = b""
        self._tunnel = False
        self._stale_parser = False
        self._half_line = False  # between requests the parser saw a line begin to end
        self._last_came = False  # a request after which the connection closes has come whole
        self._broken = False  # nothing that follows can be parsed

    def parse(self, data: bytes) -> None:
        """Gather what came."""
        if self._left:
            data = self._take_body(data)
        while data and self._parsing is None and not (self._last_came or self._broken or self._half_line):
            taken = self._take_usual(data)
            if not taken:
                break
            if taken >= len(data):
                return
            data = data[taken:]
        if data and not (self._last_came or self._broken):
            self._feed_checked(data)

    # ---- a request whose head is of the usual form

    def _take_usual(self, data: bytes) -> int:
        """Take a request without the parser, and the part of its body that is there; how many bytes that is.

        0: the parser must see it.
        """
        end = data.find(heads.END)
        limits = self._plane.limits
        if not 0 < end <= limits.max_header_bytes - len(heads.END):
            return 0
        request = heads.usual_request(data, end, limits)
        if request is None:
            return 0
        self._queue.append(request)
        begin = end + 4
        length = request.length
        if length <= 0:
            request.complete = True
            return begin
        body = data[begin : begin + length]
        here = len(body)
        if here:
            request.chunks.append(body)
            request.received = here
        if here == length:
            request.complete = True
        else:
            self._parsing = request
            self._left = length - here
        return begin + here

    def _take_body(self, data: bytes) -> bytes:
        """Take what `data` holds of the body; what follows it."""
        request, left = self._parsing, self._left
        assert request is not None
        body = data if len(data) <= left else data[:left]
        request.chunks.append(body)
        request.received += len(body)
        self._left = left - len(body)
        if not self._left:
            request.complete = True
            self._parsing = None
        return data[left:]

    # ---- every other one

    def _feed_checked(self, data: bytes) -> None:
        """Feed the parser, within the limit of a head."""
        parsing = self._parsing
        if self._head_bytes or (
            len(data) > self._plane.limits.max_header_bytes and (parsing is None or not parsing.head_done)
        ):
            self._feed_bounded(memoryview(data))
            return
        self._feed(data)
        parsing = self._parsing
        self._half_line = parsing is None and data.endswith(b"\r")
        if parsing is not None and not parsing.head_done:  # the head goes on in the next read
            self._head_bytes = 1 if self._queue else len(data)
            self._head_began = self._head_began or monotonic()

    def _feed(self, data: bytes | memoryview) -> None:
        if self._stale_parser:
            self._parser = httptools.HttpRequestParser(self)
            self._stale_parser = False
        tunnel = -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            tunnel = upgrade.args[0]
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Refusal):
                raise cause from None
            self._malformed(cause if isinstance(cause, Refusal) else refusal.MALFORMED)
        if tunnel >= 0:
            self._feed_after_upgrade(data, tunnel)

    def _feed_bounded(self, data: memoryview) -> None:
        """Feed no more of a head than the limit, give or take a read: the parser would take a head of any size."""
        limit = self._plane.limits.max_header_bytes
        start = 0
        while start < len(data) and not self._last_came:
            before, queued = self._parsing, len(self._queue)
            piece = data[start : start + max(limit - self._head_bytes, 1)]
            start += len(piece)
            self._feed(piece)
            if self._queue and self._queue[-1].refusal is not None:
                return
            parsing = self._parsing
            if parsing is None or parsing.head_done:
                self._head_bytes = 0
                self._head_began = 0.0
            else:
                if parsing is before or (before is None and len(self._queue) == queued):
                    self._head_bytes += len(piece)
                else:
                    self._head_bytes = 1  # it began somewhere behind another request
                    self._head_began = 0.0
                self._head_began = self._head_began or monotonic()
                if self._head_bytes >= limit:
                    self._malformed(refusal.HEAD_TOO_LARGE)
                    return

    def _feed_after_upgrade(self, data: bytes | memoryview, offset: int) -> None:
        """An Upgrade is ignored and the request served whole (RFC 9110, section 7.8): llhttp takes it for a tunnel."""
        request = self._parsing
        self._tunnel = False
        if request is None or request.refusal is not None:
            return
        rest = bytes(data[offset:])
        if request.chunked:
            self._parser = httptools.HttpRequestParser(_Unframed(self))
            self._parser.feed_data(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
            self._feed(rest)
            return
        self._stale_parser = True
        self._left = max(request.length, 0)
        if not self._left:
            self.on_message_complete()
        if rest:
            self.parse(rest)

    def _malformed(self, why: Refusal) -> None:
        """What came cannot be parsed: the request that it belongs to is refused in its turn, and nothing after it."""
        why.forget()
        if self._last_came:
            return  # bytes after the last request: they belong to nobody
        self._broken = True
        parsing, self._parsing = self._parsing, None
        if parsing is None or not parsing.head_done:
            parsing = parsing or Request()
            parsing.head_done = True
            self._queue.append(parsing)
        parsing.refusal = why
        parsing.keep_alive = False

    # ---- the parser's callbacks: they only gather

    def on_message_begin(self) -> None:
        """A request begins."""
        self._parsing = Request()

    def on_url(self, url: bytes) -> None:
        """The target, or a part of it."""
        request = self._parsing
        assert request is not None
        request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or a trailer, which is dropped."""
        request = self._parsing
        assert request is not None
        if request.head_done:
            return
        value = value.strip(b" \t")  # llhttp leaves what follows it; it is no part of the value
        action = REQUEST_FIELDS[name]
        if action == PASS:
            request.lines.append(b"%b: %b\r\n" % (name, value))
        else:
            take_field(request, action, name, value)

    def _check_host(self, request: Request) -> None:
        host = request.host
        if host is None:
            if not request.http10:
                raise refusal.BAD_HOST
        elif host != self._good_host:
            if fields.HOST_VALUE.fullmatch(host) is None:
                raise refusal.BAD_HOST
            self._good_host = host

    def on_headers_complete(self) -> None:
        """The head is there: refuse it, or queue the request."""
        request = self._parsing
        assert request is not None
        parser, limits = self._parser, self._plane.limits
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        if request.connection is not None or not request.keep_alive:
            version = parser.get_http_version()
            request.http10 = version == "1.0"
            if version not in ("1.1", "1.0"):
                raise refusal.BAD_VERSION
        if request.method == b"CONNECT":
            raise refusal.UPGRADE_REFUSED
        if request.expects_else:
            raise refusal.BAD_EXPECT
        self._check_host(request)
        if len(request.lines) > limits.max_header_count:
            raise refusal.HEAD_TOO_LARGE
        if request.length > limits.max_body_bytes:
            raise refusal.BODY_TOO_LARGE
        if request.chunked and request.http10:
            raise refusal.BAD_CODING
        if request.connection is not None:
            self._take_connection(request, request.connection)
        request.head_done = True
        self._queue.append(request)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        request = self._parsing
        assert request is not None
        request.chunks.append(body)
        request.received += len(body)
        if request.received > self._plane.limits.max_body_bytes:
            raise refusal.BODY_TOO_LARGE

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self._tunnel:  # the parser says so at the end of a head with an Upgrade
            return
        request = self._parsing
        assert request is not None
        request.complete = True
        self._parsing = None
        if not request.keep_alive:
            self._last_came = True

    def _take_connection(self, request: Request, named: list[bytes]) -> None:
        if named is not KEEP_ALIVE and (other := frozenset(named) - _USUAL):
            request.lines = fields.without(request.lines, other)
        if request.upgrade:
            if b"websocket" in request.upgrade.lower():
                raise refusal.UPGRADE_REFUSED
            self._tunnel = self._parser.should_upgrade()
            if self._tunnel and request.chunked:
                request.keep_alive = False  # where its chunks end and a next request begins cannot be told in one read
