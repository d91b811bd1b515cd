"""The proxy's end of the link: connects for ever, sends what it can, hands on what comes down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from router.link.messages import MAX_FRAME, Down, Hello, Up, frame, read_down

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0
MOST_UNSENT_BYTES = 4 * 1024 * 1024
"""Beyond so many bytes that control has not taken, `send` refuses: the sender keeps them, within its own bounds."""


class LinkClient:
    """One connection to the control process, made again whenever it is lost.

    Args:
        path: of the Unix socket.
        hello: the first message of every connection.
        on_message: called with every message that comes down.
        on_connected: called after Hello has been sent.
    """

    def __init__(
        self, path: Path, hello: Hello, on_message: Callable[[Down], None], on_connected: Callable[[], None]
    ) -> None:
        self._path = path
        self._hello = hello
        self._on_message = on_message
        self._on_connected = on_connected
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._writer is not None

    @property
    def ready(self) -> bool:
        """Whether `send` would take a message now."""
        writer = self._writer
        return (
            writer is not None
            and not writer.transport.is_closing()
            and writer.transport.get_write_buffer_size() <= MOST_UNSENT_BYTES
        )

    def send(self, message: Up) -> bool:
        """Send a message; False: not taken, because control is away or behind."""
        writer = self._writer
        if writer is None or not self.ready:
            return False
        writer.write(frame(message))
        return True

    async def run(self) -> None:
        """Stay connected until cancelled."""
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
                continue
            try:
                if await self._converse(reader, writer):
                    wait = FIRST_WAIT_SECONDS
            finally:
                self._writer = None
                writer.transport.abort()
            await asyncio.sleep(wait)

    async def close(self, seconds: float) -> None:
        """Let what was sent arrive, for at most so long, and hang up."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                writer.close()
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one connection until it ends; whether anything came down."""
        heard = False
        try:
            writer.write(frame(self._hello))
            self._writer = writer
            self._on_connected()
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                if length > MAX_FRAME:
                    log.error("link: a frame of %d bytes; the connection is closed", length)
                    return heard
                message = read_down(await reader.readexactly(length))
                heard = True
                self._on_message(message)
        except (asyncio.IncompleteReadError, OSError):
            return heard
        except msgspec.DecodeError as error:
            log.error("link: not a message: %s", error)  # noqa: TRY400 - the text says all
            return heard
