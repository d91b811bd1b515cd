"""Readiness probes: which versions' model servers answer, kept up to date for all models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from router.link.endpoint import Tls, Trusts, place_of
from router.link.grpc_place import grpc_place, is_grpc
from router.link.http_client import named

NO_TLS: Final = Tls()
READY_PATH: Final = "/ping"
"""Of MLflow's scoring server; other protocols name theirs."""

UNREADY_SECONDS: Final = 0.25
"""Between two probes of a server that is not ready (or not known to be): it may be up any moment."""

FAILURES: Final = 2
"""So many in a row make a ready server not ready: one alone can be an accident."""

_MOST_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's readiness URL, and how it is reached."""

    url: str
    socket: str
    tls: Tls

    @staticmethod
    def at(base: str, ready_path: str, tls: Tls) -> _Server:
        if is_grpc(base):
            return _Server(base, "", tls if grpc_place(base).secure else NO_TLS)
        place = place_of(base)
        if place.socket:
            return _Server(f"http://{place.authority}{ready_path}", place.socket, NO_TLS)
        url = f"{place.scheme}://{place.authority}{place.base}{ready_path}"  # not as it is written: HTTPS is https
        return _Server(url, "", tls if place.scheme == "https" else NO_TLS)

    @property
    def secure(self) -> bool:
        return self.url.startswith("https:")


class _Target:
    __slots__ = ("due", "failures", "model", "probing", "ready", "server", "version")

    def __init__(self, model: str, version: int, server: _Server) -> None:
        self.model = model
        self.version = version
        self.server = server
        self.ready = False
        self.failures = 0
        self.due = 0.0  # of the loop's clock
        self.probing = False


class Prober:
    """GETs every target's readiness path, again and again: ready is who answers 200 within the deadline.

    A server that has a gRPC port only is asked by the service's ServerReady.

    Every probe opens a connection of its own: an open one says nothing about whether the server takes new ones.

    Args:
        interval_seconds: between two probes of a ready server.
        deadline_seconds: for a whole probe.
        on_change: called with the model's name when its ready versions have changed; may be set later.
    """

    def __init__(
        self,
        interval_seconds: float = 1.0,
        deadline_seconds: float = 2.0,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self.on_change = on_change
        self._interval_seconds = interval_seconds
        self._deadline_seconds = deadline_seconds
        self._targets: dict[str, dict[int, _Target]] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._probes: set[asyncio.Task[None]] = set()
        self._trusts = Trusts()

    def set_targets(
        self, model: str, targets: Mapping[int, str], ready_path: str = READY_PATH, tls: Tls = NO_TLS
    ) -> None:
        """From now on these versions of the model, each with its server's base URL; the others are forgotten.

        A version whose URL changed is not ready until its new server has answered.
        """
        before = self._targets.get(model, {})
        now: dict[int, _Target] = {}
        for version, base in targets.items():
            server = _Server.at(base, ready_path, tls)
            known = before.get(version)
            now[version] = known if known is not None and known.server == server else _Target(model, version, server)
        if now.keys() == before.keys() and all(now[version] is before[version] for version in now):
            return
        was_ready = self.ready(model)
        if now:
            self._targets[model] = now
        else:
            self._targets.pop(model, None)
        self._wake.set()
        if self.ready(model) != was_ready:
            self._changed(model)

    def ready(self, model: str) -> frozenset[int]:
        """The versions whose server answered its last probe (or missed no more than one)."""
        return frozenset(version for version, target in self._targets.get(model, {}).items() if target.ready)

    async def check(self, base: str, ready_path: str = READY_PATH, tls: Tls = NO_TLS) -> bool:
        """Probe one server now, target or not, while `run` runs. Raises ValueError: `base` is no address."""
        return await self._answers(_Server.at(base, ready_path, tls))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._wake.clear()
                wait = self._start_due(asyncio.get_running_loop().time())
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._probes:
                task.cancel()
            await asyncio.gather(*self._probes, return_exceptions=True)

    def _start_due(self, now: float) -> float | None:
        """Start the probes that are due; seconds until the next one is, None: when one ends or targets change."""
        waits: list[float] = []
        for targets in self._targets.values():
            for target in targets.values():
                if target.probing:
                    continue
                if target.due > now:
                    waits.append(target.due - now)
                    continue
                target.probing = True
                task = asyncio.create_task(self._probe(target), name="probe")
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)
        return min(waits, default=None)

    async def _probe(self, target: _Target) -> None:
        async with self._slots:
            answered = await self._answers(target.server)
        target.failures = 0 if answered else target.failures + 1
        ready = answered or (target.ready and target.failures < FAILURES)
        changed = ready is not target.ready
        target.ready = ready
        # A failure of a ready server is looked at again at once, too.
        wait = self._interval_seconds if answered else min(UNREADY_SECONDS, self._interval_seconds)
        target.due = asyncio.get_running_loop().time() + wait
        target.probing = False
        self._wake.set()
        if changed and self._targets.get(target.model, {}).get(target.version) is target:
            self._changed(target.model)

    async def _answers(self, server: _Server) -> bool:
        if is_grpc(server.url):
            from router.control.grpc_probe import server_ready  # noqa: PLC0415 - where there are such servers

            return await server_ready(server.url, server.tls, self._deadline_seconds)
        try:
            async with (
                asyncio.timeout(self._deadline_seconds),
                httpx.AsyncClient(
                    transport=self._transport(server), trust_env=False, timeout=self._deadline_seconds
                ) as client,
                client.stream("GET", server.url, extensions=named(server.tls)) as answer,
            ):
                return answer.status_code == 200
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            return False

    def _transport(self, server: _Server) -> httpx.AsyncHTTPTransport:
        """How this server is reached. Raises OSError: a file of its `tls` cannot be read."""
        if not server.secure:
            return httpx.AsyncHTTPTransport(uds=server.socket or None, verify=False)
        trust = self._trusts[server.tls]
        trust.renew()
        return httpx.AsyncHTTPTransport(verify=trust.context)

    def _changed(self, model: str) -> None:
        if self.on_change is not None:
            self.on_change(model)
