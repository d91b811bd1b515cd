"""The connections to one model server: kept alive, last in first out, with a cap and an idle limit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from router.link.endpoint import Tls, Trust, Trusts, place_of
from router.link.messages import Limits
from router.proxy import refusal
from router.proxy.upstream import Taker, UpstreamConnection

log = logging.getLogger(__name__)


class Endpoint:
    """One model server and the connections to it.

    Args:
        url: as router.link.endpoint.place_of reads it.
        limits: bounds and deadlines.
        server_name: that its certificate must bear; empty: the URL's host.
        trust: where the URL says https.

    Raises:
        ValueError: the URL is not of that form.
    """

    __slots__ = (
        "_connecting",
        "_idle",
        "_tasks",
        "_trust",
        "_waiting",
        "base",
        "head_line",
        "limits",
        "open",
        "place",
        "retired",
        "server_name",
        "url",
    )

    def __init__(self, url: str, limits: Limits, server_name: str = "", trust: Trust | None = None) -> None:
        place = self.place = place_of(url)
        self.url = url
        self.limits = limits
        self.base = place.base.encode()
        self.head_line = b" HTTP/1.1\r\nhost: %b\r\n" % place.authority.encode()
        self.server_name = server_name or place.host
        self.open = 0
        self.retired = False  # no route names it now: what comes back is closed
        self._trust = trust if place.scheme == "https" else None
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[Taker] = deque()
        self._connecting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def total(self) -> int:
        """Connections open now, or being opened."""
        return self.open + self._connecting

    @property
    def busy(self) -> bool:
        """Whether another exchange would have to wait for one to end."""
        return not self._idle and self.total >= self.limits.upstream_connections

    def acquire(self, taker: Taker, now: float) -> None:
        """Give the taker a connection: `taker.connected` is called, at once or later, or `taker.unconnected`."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable(now):
                connection.taker = taker
                taker.connected(connection)
                return
            connection.close()
        self._waiting.append(taker)
        self._open_for_waiting()

    def cancel(self, taker: Taker) -> None:
        """The taker waits no more."""
        if taker in self._waiting:
            self._waiting.remove(taker)

    def release(self, connection: UpstreamConnection, now: float) -> None:
        """A connection is free again, and may be used for another exchange."""
        if self._waiting:
            taker = connection.taker = self._waiting.popleft()
            taker.connected(connection)
        elif self.retired:
            connection.close()
        else:
            connection.idle_since = now
            self._idle.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        self.open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._open_for_waiting()

    def sweep(self, now: float) -> None:
        """Close what has been idle too long; the oldest stand first."""
        oldest = now - self.limits.idle_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close what is idle; what is in use is closed when its exchange ends."""
        while self._idle:
            self._idle.pop().close()

    def _open_for_waiting(self) -> None:
        while self._connecting < len(self._waiting) and self.total < self.limits.upstream_connections:
            self._connecting += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        failure = refusal.CONNECT_FAILED
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                connection = await self._connected()
        except TimeoutError:
            failure = refusal.CONNECT_TIMEOUT
        except OSError:
            pass
        else:
            self._connecting -= 1
            self.release(connection, time.monotonic())
            return
        self._connecting -= 1
        if self._waiting:
            self._waiting.popleft().unconnected(failure)
        self._open_for_waiting()

    async def _connected(self) -> UpstreamConnection:
        loop, place = asyncio.get_running_loop(), self.place
        if place.socket:
            _, connection = await loop.create_unix_connection(lambda: UpstreamConnection(self), place.socket)
        elif self._trust is not None:
            _, connection = await loop.create_connection(
                lambda: UpstreamConnection(self),
                place.host,
                place.port,
                ssl=self._trust.context,
                server_hostname=self.server_name,
            )
        else:
            _, connection = await loop.create_connection(lambda: UpstreamConnection(self), place.host, place.port)
        return connection


class Endpoints:
    """All model servers that the routes name, by URL."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._known: dict[tuple[str, Tls], Endpoint] = {}
        self._trusts = Trusts()  # shared: making one reads all that the system trusts

    def at(self, url: str, tls: Tls = Tls()) -> Endpoint:  # noqa: B008 - immutable
        """The endpoint of this URL.

        Raises:
            ValueError: the URL has no form that place_of reads.
            OSError: a file of `tls` cannot be read.
        """
        endpoint = self._known.get((url, tls))
        if endpoint is None:
            trust = self._trusts[tls] if place_of(url).scheme == "https" else None
            endpoint = self._known[url, tls] = Endpoint(url, self.limits, tls.server_name, trust)
        endpoint.retired = False
        return endpoint

    def renew(self) -> None:
        """Trust what the files say now, where they have changed: for connections from now on."""
        for tls, trust in self._trusts.items():
            if trust.renew():
                for (_, its), endpoint in self._known.items():
                    if its == tls:
                        endpoint.close()

    @property
    def connections(self) -> int:
        """Open now, or being opened."""
        return sum(endpoint.total for endpoint in self._known.values())

    def set_limits(self, limits: Limits) -> None:
        """Bounds and deadlines from now on."""
        self.limits = limits
        for endpoint in self._known.values():
            endpoint.limits = limits

    def keep_only(self, wanted: set[Endpoint]) -> None:
        """Forget what no route names any more."""
        for key, endpoint in list(self._known.items()):
            if endpoint not in wanted:
                endpoint.retired = True
                endpoint.close()
                if not endpoint.total:
                    del self._known[key]

    def sweep(self, now: float) -> None:
        """Close idle connections."""
        for endpoint in self._known.values():
            endpoint.sweep(now)

    def close(self) -> None:
        """Close what is idle."""
        for endpoint in self._known.values():
            endpoint.close()
