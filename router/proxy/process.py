"""The entry of a proxy process: serve on the inherited socket, follow the routes, report, retire."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import uvloop

from router.link.client import LinkClient
from router.link.endpoint import ListenTls, Renewed, server_context
from router.link.grpc_place import GrpcListen
from router.link.messages import BreakerChanged, Down, Hello, Retire, RoutesSet, SetRoutes, Up
from router.proxy.plane import DataPlane
from router.proxy.routes import read_routes
from router.proxy.server import DRAIN_SECONDS, ClientConnection

if TYPE_CHECKING:
    from router.proxy.grpc_server import GrpcPort

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.02
"""Recorded rows are sent so often."""

SWEEP_SECONDS = 0.08
"""Deadlines are enforced so often."""

COUNTERS_SECONDS = 1.0
LONGEST_DRAIN_SECONDS = 30.0
BACKLOG = 1024


def run_proxy(
    fd: int,
    worker: int,
    generation: str,
    link_path: str,
    routes_file: str,
    tls: ListenTls | None = None,
    grpc: GrpcListen | None = None,
) -> None:
    """Serve until told to retire (over the link, or by SIGTERM or SIGINT); returns when what was open has ended.

    Args:
        fd: of the bound listening socket, inherited.
        worker: this process's number among the supervisor's.
        generation: of the supervisor that started it.
        link_path: of the Unix socket of the control process, which may not be there yet.
        routes_file: what control last wrote; may not be there yet.
        tls: of the data port; None: it speaks plain HTTP.
        grpc: the port for gRPC, under the same `tls`; None: there is none.

    Raises:
        OSError: a file of `tls` cannot be read, or is not what it should be.
    """
    hello = Hello(worker, os.getpid(), generation)
    uvloop.run(ProxyProcess(fd, hello, Path(link_path), Path(routes_file), tls, grpc).run())


class ProxyProcess:
    """One worker. Arguments as of `run_proxy`."""

    def __init__(
        self,
        fd: int,
        hello: Hello,
        link_path: Path,
        routes_file: Path,
        tls: ListenTls | None = None,
        grpc: GrpcListen | None = None,
    ) -> None:
        self._fd = fd
        self._grpc = grpc
        self._grpc_port: GrpcPort | None = None
        self._listen_tls = tls
        self._trust: Renewed[ssl.SSLContext] | None = None
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._trust = Renewed(lambda: server_context(tls), tls.files)
            self._context = self._trust.context
        self._plane = DataPlane(self._breaker_changed)
        self._link = LinkClient(link_path, hello, self._on_message, self._on_connected)
        self._unsent: list[BreakerChanged] = []
        self._retire = asyncio.Event()
        routes = read_routes(routes_file)
        if routes is not None:
            self._plane.apply(routes)

    async def run(self) -> None:
        """Serve until told to retire, finish what is open, and return."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._retire.set)
        server = await self._listen()
        grpc = self._grpc_port = await self._listen_grpc()
        link = loop.create_task(self._link.run(), name="link")
        sweeper = loop.create_task(self._sweep_forever(), name="sweep")
        link.add_done_callback(self._ended)
        sweeper.add_done_callback(self._ended)
        gc.collect()
        gc.freeze()
        await self._retire.wait()
        server.close()
        ended = loop.create_task(grpc.stop(self._longest_drain()), name="grpc") if grpc is not None else None
        await self._drain()
        if ended is not None:
            await ended
        for shadow in list(self._plane.shadows):
            shadow.abandon()
        sweeper.cancel()
        self._report()
        self._plane.recorder.flush_all(self._link)
        self._plane.spans.flush_all(self._link)
        await self._link.close(seconds=2.0)
        link.cancel()
        for task in (sweeper, link):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._plane.endpoints.close()

    async def _listen_grpc(self) -> GrpcPort | None:
        """The port for gRPC; what that takes is imported only where there is one."""
        if self._grpc is None:
            return None
        from router.proxy.grpc_server import GrpcPort  # noqa: PLC0415

        port = GrpcPort(self._plane, self._grpc, self._listen_tls)
        await port.start()
        return port

    async def _listen(self) -> asyncio.Server:
        loop, listening = asyncio.get_running_loop(), socket.socket(fileno=self._fd)
        if self._context is None:
            return await loop.create_server(lambda: ClientConnection(self._plane), sock=listening, backlog=BACKLOG)
        return await loop.create_server(
            lambda: ClientConnection(self._plane),
            sock=listening,
            backlog=BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=self._plane.limits.client_header_seconds,
            ssl_shutdown_timeout=DRAIN_SECONDS,
        )

    def _renew(self) -> None:
        """New certificates, for connections from now on."""
        self._plane.endpoints.renew()
        if self._grpc_port is not None:
            self._grpc_port.renew()
        tls, context = self._listen_tls, self._context
        if tls is None or context is None or self._trust is None or not self._trust.renew():
            return
        context.load_cert_chain(tls.certificate, tls.key)  # the server keeps the context that it began with
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)

    async def _drain(self) -> None:
        """Let requests and copies that are open end, within a bound."""
        plane = self._plane
        plane.retiring = True
        for client in list(plane.clients):
            client.retire()
        until = monotonic() + self._longest_drain()
        while (plane.clients or plane.shadows) and monotonic() < until:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(SWEEP_SECONDS / 4)
        for client in list(plane.clients):
            client.abort()
        await asyncio.sleep(0)  # their connections say that they are lost, and their rows are kept

    def _longest_drain(self) -> float:
        return min(LONGEST_DRAIN_SECONDS, self._plane.limits.total_seconds)

    async def _sweep_forever(self) -> None:
        """The one timer: deadlines, rows up, counters."""
        sweep_due = counters_due = 0.0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            now = monotonic()
            self._plane.recorder.flush(self._link)
            self._plane.sampler.flush(self._link)
            self._plane.spans.flush(self._link)
            if now >= sweep_due:
                sweep_due = now + SWEEP_SECONDS
                self._plane.sweep(now)
            if now >= counters_due:
                counters_due = now + COUNTERS_SECONDS
                self._plane.keep_time()
                self._renew()
                self._report()

    def _report(self) -> None:
        """Send what waits to be sent, and the counters."""
        self._send_breakers()
        self._plane.recorder.flush(self._link)
        self._link.send(self._plane.counters())

    # ---- the link

    def _on_connected(self) -> None:
        self._report()

    def _on_message(self, message: Down) -> None:
        match message:
            case SetRoutes(routes=routes):
                if self._plane.apply(routes):
                    log.info("routes: revision %d of %s", routes.revision, routes.generation)
                table = self._plane.table
                self._send(RoutesSet(table.revision, table.generation))
            case Retire():
                log.info("told to retire")
                self._retire.set()

    def _breaker_changed(self, message: BreakerChanged) -> None:
        log.warning(
            "%s: breaker %s: %d of the last %d answers failed",
            message.model,
            message.state,
            message.failed,
            message.seen,
        )
        self._unsent.append(message)
        self._send_breakers()

    def _send_breakers(self) -> None:
        while self._unsent and self._send(self._unsent[0]):
            del self._unsent[0]

    def _send(self, message: Up) -> bool:
        return self._link.send(message)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Neither task ends by itself: if one does, this process is of no use; the supervisor starts another."""
        if not task.cancelled():
            log.critical("%s ended", task.get_name(), exc_info=task.exception())
            self._retire.set()
