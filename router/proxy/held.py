"""A request that waits for its own body, which names the model that it is for."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from router.proxy import refusal

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane
    from router.proxy.refusal import Refusal
    from router.proxy.request import Request
    from router.proxy.server import ClientConnection


MOST_PIECES = 1024
"""Of a body that is held: a client that sends it byte by byte must not have fifty kept for each of them."""


class HeldRequest:
    """In the place of the exchange that it becomes once the part of its body that is looked through has come.

    What comes is kept, at most `scan_bytes` and a read. The exchange begins then: the time before was the client's.
    """

    __slots__ = ("_client", "_moved", "_plane", "_request", "_started")

    def __init__(self, plane: DataPlane, client: ClientConnection, request: Request) -> None:
        self._plane = plane
        self._client = client
        self._request = request
        self._started = self._moved = monotonic()
        if request.expects_continue and not request.http10:
            request.expects_continue = False
            client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # ---- as of an exchange

    def progress(self) -> None:
        """More of the body has come, or its end."""
        request = self._request
        if request.refusal is not None:
            self._refuse(request.refusal)
        elif request.complete or request.received >= self._plane.limits.scan_bytes:
            self._client.start(request)
        else:
            self._moved = monotonic()
            if len(request.chunks) > MOST_PIECES:
                request.chunks = [b"".join(request.chunks)]

    def client_gone(self) -> None:
        """Nobody was asked yet."""

    def client_flow(self, *, paused: bool) -> None:
        """Nothing is written yet."""

    def sweep(self, now: float) -> None:
        """Enforce the deadlines of the client."""
        limits = self._plane.limits
        if now - self._moved >= limits.client_body_seconds or now - self._started >= limits.total_seconds:
            self._refuse(refusal.SLOW_REQUEST)

    def _refuse(self, why: Refusal) -> None:
        identity = self._plane.identities.fresh()[2]
        self._client.refuse(why, identity, close=True, head_only=self._request.method == b"HEAD")
        self._client.exchange_over(monotonic(), keep=False)
