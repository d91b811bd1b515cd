"""The head of an answer as the client gets it, and how its body is framed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from router.proxy.fields import STATUS_LINES, name_of

if TYPE_CHECKING:
    from router.proxy.request import Request
    from router.proxy.upstream import UpstreamConnection


class Framing(Enum):
    """How the client finds the end of the body (RFC 9112, section 6.3)."""

    NONE = 0  # there is no body
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


def framing_of(connection: UpstreamConnection, request: Request) -> Framing:
    """The framing towards the client; chunked where the length is not known, as far as the client knows chunks."""
    if connection.status in (204, 304) or request.method == b"HEAD":
        return Framing.NONE
    if connection.length >= 0:
        return Framing.LENGTH
    return Framing.UNTIL_CLOSE if request.http10 else Framing.CHUNKED


def answer_head(
    connection: UpstreamConnection, request: Request, request_id: bytes, framing: Framing, *, keep: bool
) -> list[bytes]:
    """The head, in parts. `keep`: the client's connection stays open after this answer."""
    lines = connection.lines
    if connection.status == 204:
        lines = [line for line in lines if name_of(line) != b"content-length"]
    out = [STATUS_LINES[connection.status], *lines, b"x-titleshot-id: ", request_id]
    if framing is Framing.CHUNKED:
        out.append(b"\r\ntransfer-encoding: chunked")
    if not keep:
        out.append(b"\r\nconnection: close\r\n\r\n")
    elif request.http10:
        out.append(b"\r\nconnection: keep-alive\r\n\r\n")
    else:
        out.append(b"\r\n\r\n")
    return out


def informational(connection: UpstreamConnection) -> bytes:
    """The informational answers that came; they are taken away. 100 is between us and the model server."""
    heads = [
        b"".join((STATUS_LINES[status], *lines, b"\r\n")) for status, lines in connection.informational if status != 100
    ]
    connection.informational = []
    return b"".join(heads)
