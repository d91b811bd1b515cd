"""The admin application on a port, within the control process's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 128


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class CannotListen(OSError):
    """The admin port's address cannot be had."""


async def serve_admin(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    bound: Callable[[str, int], None] | None = None,
    grace_seconds: float = 3.0,
) -> None:
    """Serve until cancelled; then finish the open requests, for `grace_seconds` at most.

    Args:
        app: from `admin_app`.
        host: address or name to listen on; all of its addresses would surprise, so the first one is taken.
        port: 0: any free one.
        bound: told address and port once connections are accepted.
        grace_seconds: how long open requests may take at the end.

    Raises:
        CannotListen: the address cannot be listened on.
    """
    config = uvicorn.Config(
        app,
        http="httptools",  # h11 takes Content-Length together with Transfer-Encoding
        ws="none",
        lifespan="off",
        log_config=None,  # the process's own
        access_log=False,
        proxy_headers=False,  # who is on loopback is told by the connection, never by a header
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
    )
    listener = await _listen(host, port)
    address, actual = listener.getsockname()[:2]
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="admin")
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if bound is not None and server.started:
            bound(address, actual)
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
        listener.close()


async def _listen(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, proto, _, address = found[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(error.errno, f"admin: cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener
