"""A thin HTTP/1.1 client for the traffic generator: httpx costs more CPU per request than the road it is sent down."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import cast

import httptools

ID_HEADER = b"x-titleshot-id"
DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: of the answer; 0: none came.
        request_id: by which its label is sent later; "": none was given.
        body: of the answer; what went wrong where there is none.
    """

    status: int
    request_id: str
    body: bytes


class Client:
    """Sends requests to one address over kept connections, the most recently used one first.

    Args:
        host, port: of the data port.
        most: connections open at once; further requests wait for one.
    """

    def __init__(self, host: str, port: int, most: int = 64) -> None:
        self._host = host
        self._port = port
        self._slots = asyncio.Semaphore(most)
        self._idle: list[_Connection] = []

    async def get(self, path: str) -> Answer:
        """GET; as `post`."""
        return await self._request("GET", path, b"", "")

    async def post(self, path: str, body: bytes, content_type: str = "application/json") -> Answer:
        """POST. Never raises for what the other side does: an answer that did not come has status 0."""
        framing = f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
        return await self._request("POST", path, body, framing)

    async def _request(self, method: str, path: str, body: bytes, framing: str) -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n{framing}\r\n"
        async with self._slots:
            try:
                connection = await self._connection()
            except OSError as error:
                return Answer(0, "", f"no connection: {error}".encode())
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    answer = await connection.exchange(head.encode() + body)
            except (OSError, TimeoutError, httptools.HttpParserError) as error:
                connection.close()
                return Answer(0, "", (str(error) or type(error).__name__).encode())
            if connection.reusable:
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._reset()
        self.reusable = True

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._request_id = ""
        self._body: list[bytes] = []

    async def exchange(self, data: bytes) -> Answer:
        """Send one request and wait for its answer. Raises ConnectionError, HttpParserError."""
        if self._transport is None:
            raise ConnectionResetError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._waiting

    def close(self) -> None:
        """Now, whatever is under way."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._transport = None
        self._fail(exc or ConnectionResetError("the connection was closed before the answer's end"))

    # the parser's callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == ID_HEADER:
            self._request_id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._request_id, b"".join(self._body))
        self.reusable = self.reusable and self._parser.should_keep_alive()
        self._reset()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        if self._waiting is not None and not self._waiting.done():
            with contextlib.suppress(asyncio.InvalidStateError):
                self._waiting.set_exception(error)
