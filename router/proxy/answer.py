"""The head of a model server's answer, and how its body is framed towards the client."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from router.link.messages import BODY_DEFLATE, BODY_GZIP, BODY_UNREAD, BODY_WHOLE
from router.proxy import fields
from router.proxy.fields import PASS, RESPONSE_FIELDS, STATUS_LINES, name_of

if TYPE_CHECKING:
    from router.proxy.request import Request

BODILESS: Final = frozenset((204, 304))
"""Their answers have no body, whatever their fields say (RFC 9112, section 6.3)."""

_STATES: Final = {
    b"identity": BODY_WHOLE,
    b"gzip": BODY_GZIP,
    b"x-gzip": BODY_GZIP,
    b"deflate": BODY_DEFLATE,
}
"""By content coding, what is recorded of a body that is kept; any other, or a second one, is not read."""


class NotHttp(Exception):
    """What the model server sent is not an answer that we pass on."""


class AnswerHead:
    """Status and fields of one answer, hop-by-hop fields left out. Once finished it is shared, and never changed."""

    __slots__ = (
        "body_state",
        "chunked",
        "framed",
        "keep",
        "length",
        "lines",
        "nominated",
        "status",
        "text",
        "until_close",
    )

    def __init__(self) -> None:
        self.status = 0
        self.lines: list[bytes] = []
        self.text = b""  # status line and fields, as they are passed on
        self.length = -1  # as its Content-Length says; -1: it says nothing
        self.chunked = False
        self.body_state = BODY_WHOLE  # or another, by its content coding
        self.framed = False  # it has a body, and its length is known
        self.keep = False  # the connection may be used again after this answer
        self.until_close = False  # its body lasts until the connection ends
        self.nominated: frozenset[bytes] = frozenset()  # what Connection fields name

    def take(self, name: bytes, value: bytes) -> None:
        """Note one header field.

        Raises:
            NotHttp: it makes the answer one that we do not pass on.
        """
        action = RESPONSE_FIELDS[name]
        if action == PASS:
            self.lines.append(b"%b: %b\r\n" % (name, value))
        elif action == fields.LENGTH:
            if self.length >= 0:
                raise NotHttp
            self.length = int(value)
            self.lines.append(b"content-length: %d\r\n" % self.length)
        elif action == fields.TRANSFER_ENCODING:
            if self.chunked or value.strip().lower() != b"chunked":
                raise NotHttp
            self.chunked = True
        elif action == fields.CONNECTION:
            self.nominated |= frozenset(fields.tokens(value))
        elif action == fields.CONTENT_ENCODING:
            coding = _STATES.get(value.strip().lower(), BODY_UNREAD)
            self.body_state = coding if self.body_state == BODY_WHOLE else BODY_UNREAD
            self.lines.append(b"%b: %b\r\n" % (name, value))

    def finish(self, status: int, *, keep: bool) -> None:
        """All fields are there."""
        self.status = status
        self.keep = keep
        if self.nominated:
            self.lines = fields.without(self.lines, self.nominated)
        if status == 204:
            self.lines = [line for line in self.lines if name_of(line) != b"content-length"]
        self.until_close = not self.chunked and self.length < 0 and status not in BODILESS
        self.framed = self.length >= 0 and status not in BODILESS
        self.text = b"".join((STATUS_LINES[status], *self.lines))


class Framing(Enum):
    """How the client finds the end of the body (RFC 9112, section 6.3)."""

    NONE = 0  # there is no body
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


def framing_of(head: AnswerHead, request: Request) -> Framing:
    """The framing towards the client; chunked where the length is not known, as far as the client knows chunks."""
    if head.status in BODILESS or request.method == b"HEAD":
        return Framing.NONE
    if head.length >= 0:
        return Framing.LENGTH
    return Framing.UNTIL_CLOSE if request.http10 else Framing.CHUNKED


def answer_head(head: AnswerHead, request: Request, request_id: bytes, framing: Framing, *, keep: bool) -> list[bytes]:
    """The head, in parts. `keep`: the client's connection stays open after this answer."""
    out = [head.text, b"x-titleshot-id: ", request_id]
    if framing is Framing.CHUNKED:
        out.append(b"\r\ntransfer-encoding: chunked")
    if not keep:
        out.append(b"\r\nconnection: close\r\n\r\n")
    elif request.http10:
        out.append(b"\r\nconnection: keep-alive\r\n\r\n")
    else:
        out.append(b"\r\n\r\n")
    return out
