"""A client's request as it was parsed, and the head that goes to a model server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from router.proxy import fields, refusal
from router.proxy.refusal import Refusal

if TYPE_CHECKING:
    from router.proxy.pool import Endpoint

KEEP_ALIVE: Final = [b"keep-alive"]
_KEEP_ALIVE_SPELLINGS: Final = (b"keep-alive", b"Keep-Alive")
"""What a Connection field usually says; this very list, so that it costs nothing more."""

COLON: Final = 0x3A
SHADOW_LINE: Final = b"x-titleshot-shadow: 1\r\n"
CHUNKED_LINE: Final = b"transfer-encoding: chunked\r\n"


class Request:
    """What the parser gathered of one request. The body's pieces are taken away as they are passed on."""

    __slots__ = (
        "chunked",
        "chunks",
        "complete",
        "connection",
        "expects_continue",
        "expects_else",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "has_request_id",
        "head_done",
        "host",
        "http10",
        "keep_alive",
        "length",
        "lines",
        "method",
        "own_id",
        "received",
        "refusal",
        "secrets",
        "upgrade",
        "url",
    )

    def __init__(self) -> None:
        self.method = b""
        self.url = b""
        self.lines: list[bytes] = []  # header lines that pass
        self.secrets: list[bytes] | None = None  # those among them that a shadow must not see
        self.host: bytes | None = None
        self.length = -1
        self.chunked = False
        self.connection: list[bytes] | None = None  # what Connection fields name
        self.upgrade = b""
        self.expects_continue = False
        self.expects_else = False
        self.forwarded_for = b""
        self.forwarded_proto = False
        self.forwarded_host = False
        self.has_request_id = False
        self.own_id = b""
        self.keep_alive = True
        self.http10 = False
        self.chunks: list[bytes] = []
        self.received = 0  # bytes of the body so far
        self.head_done = False
        self.complete = False
        self.refusal: Refusal | None = None

    def field(self, name: bytes) -> bytes:
        """The value of the first field of this name (lower case); empty: none."""
        if name == b"x-titleshot-id":
            return self.own_id
        if name == b"x-forwarded-for":
            return self.forwarded_for
        colon = len(name)
        for line in self.lines:
            if len(line) > colon and line[colon] == COLON and line[:colon].lower() == name:
                return line[colon + 1 : -2].strip(b" \t")
        return b""


def take_field(request: Request, action: int, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 - one case a field
    """Note a field that means something to us (`action` is what fields.REQUEST_FIELDS says of it).

    Raises:
        Refusal: it makes the request one that we do not serve.
    """
    match action:
        case fields.HOST:
            if request.host is not None:
                raise refusal.BAD_HOST
            request.host = value.rstrip(b" \t")
        case fields.LENGTH:
            request.length = int(value)
            request.lines.append(b"content-length: %d\r\n" % request.length)
        case fields.CONNECTION:
            named = KEEP_ALIVE if value in _KEEP_ALIVE_SPELLINGS else fields.tokens(value)
            request.connection = named if request.connection is None else request.connection + named
        case fields.TRANSFER_ENCODING:
            if request.chunked or value.strip(b" \t").lower() != b"chunked":
                raise refusal.BAD_CODING
            request.chunked = True
        case fields.UPGRADE:
            request.upgrade += value
        case fields.EXPECT:
            if value.strip(b" \t").lower() == b"100-continue":
                request.expects_continue = True
            else:
                request.expects_else = True  # refused once the head is whole: a malformed one is refused as that
        case fields.FORWARDED_FOR:
            request.forwarded_for += b", " + value if request.forwarded_for else value
        case fields.OWN_ID:
            request.own_id = value.strip(b" \t")
        case _:
            line = b"%b: %b\r\n" % (name, value)
            if action != fields.DROP:
                request.lines.append(line)
            if action == fields.SECRET:
                request.secrets = [*(request.secrets or []), line]
            elif action == fields.REQUEST_ID:
                request.has_request_id = True
            elif action == fields.FORWARDED_PROTO:
                request.forwarded_proto = True
            elif action == fields.FORWARDED_HOST:
                request.forwarded_host = True


class ForwardedLines:
    """The x-forwarded-* lines of one client connection; remembered, because most requests get the same."""

    __slots__ = ("_host", "_lines", "_peer", "proto")

    def __init__(self, peer: bytes, proto: bytes) -> None:
        self._peer = peer
        self.proto = proto
        self._host: bytes | None = None
        self._lines = b""

    def of(self, request: Request) -> bytes:
        """The lines for a request."""
        host = request.host or b""
        if not (request.forwarded_for or request.forwarded_proto or request.forwarded_host):
            if host != self._host:
                self._host = host
                self._lines = self._written(request, host)
            return self._lines
        return self._written(request, host)

    def _written(self, request: Request, host: bytes) -> bytes:
        before = request.forwarded_for + b", " if request.forwarded_for else b""
        proto = b"" if request.forwarded_proto else b"x-forwarded-proto: %b\r\n" % self.proto
        named = b"" if request.forwarded_host or not host else b"x-forwarded-host: %b\r\n" % host
        return b"x-forwarded-for: %b%b\r\n%b%b" % (before, self._peer, proto, named)


def start_line(request: Request, path: bytes, endpoint: Endpoint) -> list[bytes]:
    """The request line and the Host field, as this model server gets them."""
    return [request.method, b" ", endpoint.base, path, endpoint.head_line]


def passed_on(request: Request, lines: list[bytes], forwarded: bytes, request_id: bytes) -> list[bytes]:
    """All other fields but those of framing, to the end of the head; `lines` are the client's."""
    if request.has_request_id:
        return [*lines, forwarded, b"x-titleshot-id: ", request_id, b"\r\n\r\n"]
    return [*lines, forwarded, b"x-titleshot-id: ", request_id, b"\r\nx-request-id: ", request_id, b"\r\n\r\n"]


def without_secrets(request: Request) -> list[bytes]:
    """The lines that pass, less the credentials."""
    secrets = request.secrets
    return request.lines if secrets is None else [line for line in request.lines if line not in secrets]
