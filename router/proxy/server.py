"""The client side of HTTP/1.1: one connection, requests in order, one exchange at a time.

After each read `_advance` starts or continues the exchange, so that a request that arrives in one read goes to the
model server in one write.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import httptools

from router.proxy import refusal
from router.proxy.exchange import ServedExchange
from router.proxy.held import HeldRequest
from router.proxy.parsing import RequestQueue
from router.proxy.refusal import OwnAnswer, Refusal
from router.proxy.request import ForwardedLines, Request

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane

DRAIN_SECONDS = 2.0
"""After a refusal that closes, what the client still sends is read and thrown away for so long: closing at once would
reset the connection, and the client might never see the answer."""

PIPELINE = "pipeline"

_RESET: Final = struct.pack("ii", 1, 0)


class ClientConnection(RequestQueue, asyncio.Protocol):
    """One client's connection.

    Args:
        plane: the worker's state.
    """

    __slots__ = (
        "_advancing",
        "_draining_until",
        "_exchange",
        "_holds",
        "_idle_since",
        "forwarded",
        "paused",
        "transport",
    )

    transport: asyncio.Transport
    forwarded: ForwardedLines

    def __init__(self, plane: DataPlane) -> None:
        RequestQueue.__init__(self, plane)
        self._exchange: ServedExchange | HeldRequest | None = None
        self._holds: set[str] = set()
        self._idle_since = monotonic()
        self._draining_until = 0.0
        self._advancing = False
        self.paused = False

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        proto = b"https" if transport.get_extra_info("sslcontext") else b"http"
        self.forwarded = ForwardedLines(peer[0].encode() if isinstance(peer, tuple) else b"unknown", proto)
        self._plane.clients.add(self)
        if len(self._plane.clients) > self._plane.limits.max_connections:
            self._refuse_and_close(refusal.TOO_MANY_CONNECTIONS)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and go on with it."""
        if self._draining_until:
            return
        self.parse(data)
        if self._exchange is None and len(self._queue) == 1 and not self.paused:
            self._advancing = True  # an exchange may end within its start, and must not start the next one
            self.start(self._queue.popleft())
            self._advancing = False
            if not self._queue:
                return
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - an interface
        """The client has gone."""
        self._plane.clients.discard(self)
        self._queue.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
        del self._parser  # it holds our methods, and we hold it

    def pause_writing(self) -> None:
        """The client reads slowly: so does the model server's connection."""
        self.paused = True
        if self._exchange is not None:
            self._exchange.client_flow(paused=True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        if self._exchange is not None:
            self._exchange.client_flow(paused=False)
        else:
            self._advance()

    # ---- used by the exchange

    def hold(self, why: str) -> None:
        """Read no more from the client until `unhold` of the same reason."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds.add(why)

    def unhold(self, why: str) -> None:
        """This reason not to read is gone."""
        if why in self._holds:
            self._holds.discard(why)
            if not self._holds and not self.transport.is_closing():
                self.transport.resume_reading()

    def holds(self, why: str) -> bool:
        """Whether reading from the client is held for this reason."""
        return why in self._holds

    def refuse(self, why: OwnAnswer, request_id: bytes, *, close: bool, head_only: bool = False) -> None:
        """Answer by ourselves."""
        why.forget()
        if why.code:
            self._plane.count_refused(why.code)
        if not self.transport.is_closing():
            self.transport.write(why.answer(request_id, close=close, head_only=head_only))

    def abort(self) -> None:
        """Break the connection off with a reset, so that half an answer is not taken for a whole one."""
        if not self.transport.is_closing():
            raw = self.transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def exchange_over(self, now: float, *, keep: bool) -> None:
        """The exchange has ended; `keep`: another request may follow."""
        self._exchange = None
        if not keep or self._plane.retiring:
            self.close()
            return
        self._idle_since = now
        if self._parsing is not None:
            self._head_began = now
        if self._queue:
            self._advance()

    # ---- used by the sweeper

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of the client, or of the exchange."""
        limits = self._plane.limits
        if self._exchange is not None:
            self._exchange.sweep(now)
        elif self._draining_until:
            if now >= self._draining_until:
                self.transport.abort()
        elif self._parsing is not None:
            if self._head_began and now - self._head_began >= limits.client_header_seconds:
                self._refuse_and_close(refusal.SLOW_REQUEST)
        elif now - self._idle_since >= limits.client_idle_seconds:
            self.transport.close()

    def retire(self) -> None:
        """Close as soon as no request is open."""
        if self._exchange is None and not self._queue and self._parsing is None and not self._draining_until:
            self.transport.close()

    def close(self, *, drain: bool = False) -> None:
        """Hang up after what was written has gone out; what the client still sends is read, not looked at."""
        if self.transport.is_closing() or self._draining_until:
            return
        self._queue.clear()
        if not (drain or self._broken or self._holds or self._parsing is not None):
            self.transport.close()
            return
        self._draining_until = monotonic() + DRAIN_SECONDS
        if self._holds:
            self._holds.clear()
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # ---- the turn of each request

    def _advance(self) -> None:
        """Start, or go on with, the exchange whose turn it is."""
        if self._advancing:
            return
        exchange = self._exchange
        if exchange is not None:
            exchange.progress()
            if self._queue:
                self.hold(PIPELINE)
            return
        self._advancing = True
        while self._queue and self._exchange is None and not self.paused and not self._draining_until:
            self.start(self._queue.popleft())
        self._advancing = False
        if self._queue:
            self.hold(PIPELINE)
        elif PIPELINE in self._holds and not self._draining_until:
            self.unhold(PIPELINE)

    def start(self, request: Request) -> None:
        """Begin the exchange of a request."""
        plane = self._plane
        if plane.table.by_body and plane.table.held(request):
            self._exchange = HeldRequest(plane, self, request)
            return
        tracing = plane.tracing
        exchange = self._exchange = (
            ServedExchange(plane, self, request) if tracing is None else tracing.exchange(plane, self, request)
        )
        try:
            exchange.start()
        except OwnAnswer as why:
            keep = request.keep_alive and request.complete and why is not request.refusal
            self.refuse(why, exchange.request_id, close=not keep, head_only=request.method == b"HEAD")
            self.exchange_over(monotonic(), keep=keep)

    def _refuse_and_close(self, why: Refusal) -> None:
        """Refuse outside of any exchange."""
        self.refuse(why, self._plane.identities.fresh()[2], close=True)
        self.close(drain=True)
