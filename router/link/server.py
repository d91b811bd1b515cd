"""The control process's end of the link: every proxy's messages come in, routes go out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from router.link.messages import MAX_FRAME, Hello, Retire, Routes, RoutesSet, SetRoutes, Up, frame, read_up

log = logging.getLogger(__name__)

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel's limit for Unix socket paths is 107 (unix(7))."""


def check_path(path: Path) -> None:
    """See whether a socket can have this path.

    Raises:
        OSError: it is too long.
    """
    if len(str(path).encode()) > LONGEST_SOCKET_PATH:
        raise OSError(errno.ENAMETOOLONG, "the state directory's path is too long for a Unix socket", str(path))


class LinkServer:
    """Accepts proxies on a Unix socket; keeps each of them on the newest routes.

    Args:
        path: of the socket; what is left there of an earlier process is replaced.
        generation: of the supervisor. A proxy that another one started is told to retire.
        on_message: called with (worker, message) for every message but Hello and RoutesSet.
    """

    def __init__(self, path: Path, generation: str, on_message: Callable[[int, Up], None]) -> None:
        check_path(path)
        self._path = path
        self._generation = generation
        self._on_message = on_message
        self._server: asyncio.Server | None = None
        self._routes: Routes | None = None
        self._proxies: dict[asyncio.StreamWriter, int] = {}
        self._applied: dict[int, int] = {}  # worker -> revision
        self._pids: dict[int, int] = {}  # worker -> of its process
        self._changed = asyncio.Condition()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Only this user may connect."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # not chmod afterwards: whoever connects in between stays connected
        try:
            listening.bind(str(self._path))
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=1 << 20)

    async def close(self) -> None:
        """Stop listening and let the proxies go; they serve on."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._proxies):
            writer.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=1.0)

    def publish(self, routes: Routes) -> None:
        """Send the routes to every proxy, now and whenever one connects."""
        self._routes = routes
        message = frame(SetRoutes(routes))
        for writer in self._proxies:
            writer.write(message)

    @property
    def connected(self) -> list[int]:
        """The workers that are connected now."""
        return sorted(set(self._proxies.values()))

    @property
    def pids(self) -> dict[int, int]:
        """The processes of the workers that are connected now."""
        return {worker: self._pids[worker] for worker in self.connected}

    async def applied(self, revision: int) -> None:
        """Return once every connected proxy assigns by this revision or a newer one."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: all(self._applied.get(worker, -1) >= revision for worker in self._proxies.values())
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                if length > MAX_FRAME:
                    log.error("link: a frame of %d bytes; the connection is closed", length)
                    return
                await self._take(read_up(await reader.readexactly(length)), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy went away; it connects again by itself
        except msgspec.DecodeError as error:
            log.error("link: not a message: %s", error)  # noqa: TRY400 - the text says all
        finally:
            worker = self._proxies.pop(writer, None)
            if worker is not None and worker not in self._proxies.values():
                self._applied.pop(worker, None)
            async with self._changed:
                self._changed.notify_all()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _take(self, message: Up, writer: asyncio.StreamWriter) -> None:
        match message:
            case Hello():
                if message.generation != self._generation:
                    log.info("link: proxy %d (pid %d) is of an earlier supervisor: retire", message.worker, message.pid)
                    writer.write(frame(Retire()))
                    return
                self._proxies[writer] = message.worker
                self._pids[message.worker] = message.pid
                if self._routes is not None:
                    writer.write(frame(SetRoutes(self._routes)))
            case RoutesSet():
                if writer in self._proxies and self._routes and message.generation == self._routes.generation:
                    self._applied[self._proxies[writer]] = message.revision
                    async with self._changed:
                        self._changed.notify_all()
            case _:
                # A retiring proxy's last exchanges count too: it served real clients.
                try:
                    self._on_message(self._proxies.get(writer, -1), message)
                except Exception:  # the next ones are worth taking
                    log.exception("link: a message could not be taken: %s", type(message).__name__)
