"""Header fields: what becomes of each on its way through (RFC 9110, section 7.6.1), and status lines."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

PASS: Final = 0
DROP: Final = 1
HOST: Final = 2
LENGTH: Final = 3
TRANSFER_ENCODING: Final = 4
CONNECTION: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
FORWARDED_FOR: Final = 8
FORWARDED_PROTO: Final = 9
FORWARDED_HOST: Final = 10
REQUEST_ID: Final = 11
SECRET: Final = 12
OWN_ID: Final = 13
CONTENT_ENCODING: Final = 14

_REQUEST: dict[bytes, int] = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-request-id": REQUEST_ID,
    b"authorization": SECRET,
    b"cookie": SECRET,
    b"proxy-authorization": SECRET,
    b"x-api-key": SECRET,
    b"x-titleshot-id": OWN_ID,
    b"x-titleshot-shadow": DROP,  # ours to say
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,  # trailers are dropped
    b"http2-settings": DROP,  # belongs to an upgrade that we do not speak
}

_RESPONSE: dict[bytes, int] = {
    b"content-length": LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"content-encoding": CONTENT_ENCODING,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
    b"upgrade": DROP,
    b"x-titleshot-id": DROP,
}

HOST_VALUE: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
"""Never removed because a Connection field names them: how a message is framed is ours to say."""

_MOST_SPELLINGS: Final = 4096


class Fields(dict[bytes, int]):
    """Field name as written -> what becomes of it. Learns spellings, up to a bound: names are compared without case."""

    def __init__(self, lower: dict[bytes, int]) -> None:
        super().__init__(lower)
        self._lower = lower

    def __missing__(self, name: bytes) -> int:
        action = self._lower.get(name.lower(), PASS)
        if len(self) < _MOST_SPELLINGS:
            self[name] = action
        return action


REQUEST_FIELDS = Fields(_REQUEST)
RESPONSE_FIELDS = Fields(_RESPONSE)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


STATUS_LINES: Final[dict[int, bytes]] = {
    status: f"HTTP/1.1 {status} {_phrase(status)}\r\n".encode() for status in range(100, 600)
}


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case."""
    return [token for part in value.lower().split(b",") if (token := part.strip(b" \t"))]


def name_of(line: bytes) -> bytes:
    """The field name of a header line, in lower case."""
    return line[: line.index(b":")].lower()


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines whose field a Connection field does not name."""
    banned = names - FRAMING
    return [line for line in lines if name_of(line) not in banned]
