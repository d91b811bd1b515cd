"""One of the two model servers: recorded requests go there as they came; outcomes are those of live traffic."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import Final

import httpx

from comparator.events import Outcome
from router.link.endpoint import Tls, place_of
from router.link.http_client import http_client, named, origin
from router.recordings.lines import Asked

MOST_BYTES: Final = 64 << 20
_NAN: Final = float("nan")
_PASSED_ON: Final = (
    ("content-type", "content_type"),
    ("content-encoding", "content_encoding"),
    ("inference-header-content-length", "header_length"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one request; times in seconds since it was sent, `first_byte` NaN where nothing came."""

    outcome: Outcome
    status: int
    first_byte: float
    latency: float
    body: bytes


class Target:
    """A model server.

    Args:
        url: as settings have endpoints.
        tls: how it is trusted.
        at_once: connections at most.
        seconds: that one exchange may take.

    Raises:
        ValueError: the URL is no address.
        OSError: a file of `tls` cannot be read.
    """

    def __init__(self, url: str, tls: Tls, at_once: int, seconds: float) -> None:
        place = place_of(url)
        self._url = httpx.URL(origin(place))
        self._base = place.base
        self._named = named(tls)
        self._seconds = seconds
        self._http = http_client(place, tls, at_once, seconds)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ask(self, asked: Asked) -> Reply:
        """Send a recorded request; its answer, or how it failed."""
        headers = {b"x-request-id": asked.request_id.encode()}
        for name, field in _PASSED_ON:
            if (value := getattr(asked, field)) is not None:
                headers[name.encode()] = str(value).encode("latin-1", "replace")  # as it was read
        began = time.monotonic()
        heard: list[float] = []
        try:
            async with asyncio.timeout(self._seconds):
                status, body = await self._exchange(asked, headers, heard)
        except (TimeoutError, httpx.TimeoutException):
            outcome, status, body = Outcome.TIMEOUT, 0, b""
        except httpx.ConnectError:
            outcome, status, body = Outcome.CONNECT, 0, b""
        except (httpx.HTTPError, httpx.InvalidURL):
            outcome, status, body = Outcome.BROKEN, 0, b""
        else:
            outcome = Outcome.OK if status < 400 else Outcome.CLIENT_ERROR if status < 500 else Outcome.SERVER_ERROR
        latency = time.monotonic() - began
        return Reply(outcome, status, heard[0] - began if heard else _NAN, latency, body)

    async def _exchange(self, asked: Asked, headers: dict[bytes, bytes], heard: list[float]) -> tuple[int, bytes]:
        # the path as a path: what a file says never becomes another address
        url = self._url.copy_with(raw_path=(self._base + asked.path).encode("latin-1", "replace"))
        request = {"content": body_of(asked), "headers": headers, "extensions": self._named}
        async with self._http.stream(asked.method, url, **request) as response:  # type: ignore[arg-type]
            heard.append(time.monotonic())
            found = bytearray()
            async for piece in response.aiter_bytes():
                found += piece
                if len(found) > MOST_BYTES:
                    raise httpx.ReadError("the answer is too long")
            return response.status_code, bytes(found)


def body_of(asked: Asked) -> bytes:
    """The bytes of a recorded body. Raises ValueError: it is not in Base64."""
    if asked.body_base64 is not None:
        return base64.b64decode(asked.body_base64, validate=True)
    return (asked.body or "").encode()
