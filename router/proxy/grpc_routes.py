"""The routes as gRPC goes them: each model's flow, and the channels to its versions' gRPC ports.

Slots and breaker are those of the model's rollout, shared with its traffic over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import grpc
import grpc.aio

from router.link.endpoint import Stamp, Tls, stamps
from router.link.grpc_channel import grpc_channel
from router.link.grpc_place import grpc_place
from router.link.messages import Backend, Limits, ModelRoutes
from router.proxy.lanes import lane_routes
from router.proxy.mirror import Shadows
from router.proxy.plane import DataPlane
from router.proxy.routes import Flow, Table

log = logging.getLogger(__name__)

_At = tuple[str, Tls]

LONGEST_BACKOFF_MILLISECONDS: Final = 1000
"""gRPC would wait for up to two minutes before it connects again."""


class Reached:
    """One version and the channel to it; pinned by the calls that it was assigned to."""

    __slots__ = ("_unary", "channel", "place", "version")

    def __init__(self, backend: Backend, channel: grpc.aio.Channel) -> None:
        self.version = backend.version
        self.place = grpc_place(backend.grpc)
        self.channel = channel
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable] = {}

    def unary(self, method: str) -> grpc.aio.UnaryUnaryMultiCallable:
        """What calls a method that has one request and one answer, both as bytes; methods are those that we serve."""
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self.channel.unary_unary(method)
        return call


class GrpcTarget(Flow[Reached]):
    """How one model's traffic over gRPC goes, in one snapshot; or the copies of a lane."""

    __slots__ = ("id_field", "lanes")

    def __init__(
        self, routes: ModelRoutes, shadows: Shadows, channels: Channels, lanes: tuple[GrpcTarget, ...] = ()
    ) -> None:
        super().__init__(routes, shadows, channels.to(routes.champion), channels.to(routes.other))
        self.id_field = self.request_id.decode()
        self.lanes = tuple(lane for lane in lanes if lane.other is not None)


class GrpcTable:
    """One snapshot: of the models that have a gRPC port anywhere."""

    def __init__(self, table: Table, channels: Channels) -> None:
        self.source = table
        self._targets: dict[str, GrpcTarget] = {}
        for routes in table.models:
            http = table.target(routes.name)
            backends = (routes.champion, routes.other)
            if http is not None and any(backend is not None and backend.grpc for backend in backends):
                lanes = tuple(
                    GrpcTarget(lane_routes(routes, lane), table.shadows[lane.name], channels) for lane in routes.lanes
                )
                self._targets[routes.served_as or routes.name] = GrpcTarget(routes, http.shadows, channels, lanes)

    def target(self, name: str) -> GrpcTarget | None:
        """The routes of a model by the name that its servers know, or None."""
        return self._targets.get(name)

    def targets(self) -> list[GrpcTarget]:
        """All of them."""
        return list(self._targets.values())


class Channels:
    """The channels to model servers; they outlive snapshots.

    Args:
        plane: whose routes are gone by, and whose limits hold.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._open: dict[_At, grpc.aio.Channel] = {}
        self._seen: dict[_At, tuple[Stamp | None, ...]] = {}  # their files, as they were last looked at
        self._named: set[_At] = set()  # by the routes
        self._closing: set[asyncio.Task[None]] = set()
        self._table = GrpcTable(plane.table, self)

    def table(self) -> GrpcTable:
        """The routes in force. Channels that they do not name are closed once what they carry has ended."""
        if self._table.source is not self._plane.table:
            self._make_table()
        return self._table

    def renew(self) -> None:
        """Look at the files of TLS: where some have changed, calls from now on go over new channels."""
        if any(former != stamps(tls.files) for (_, tls), former in self._seen.items()):
            self._make_table()

    def to(self, backend: Backend | None) -> Reached | None:
        """A version, where it has a gRPC port and its files of TLS can be read, or could be before."""
        if backend is None or not backend.grpc:
            return None
        at, seen = (backend.grpc, backend.tls), stamps(backend.tls.files)
        channel = self._open.get(at)
        if channel is None or self._seen.get(at) != seen:
            former = channel
            try:
                channel = self._open[at] = _channel(backend, self._plane.limits)
            except (ValueError, OSError) as error:
                kept = "no gRPC traffic" if former is None else "gRPC traffic by the former certificates"
                log.error("version %d gets %s: %s", backend.version, kept, error)  # noqa: TRY400
            else:
                if former is not None:
                    self._close(former, self._plane.limits.total_seconds)
        self._seen[at] = seen
        self._named.add(at)
        return Reached(backend, channel) if channel is not None else None

    async def close(self) -> None:
        """Close all of them; what they carry is cut off."""
        for channel in self._open.values():
            self._close(channel, None)
        self._open.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _make_table(self) -> None:
        self._named = set()
        self._table = GrpcTable(self._plane.table, self)
        for at in self._seen.keys() - self._named:
            del self._seen[at]
            if (channel := self._open.pop(at, None)) is not None:
                self._close(channel, self._plane.limits.total_seconds)

    def _close(self, channel: grpc.aio.Channel, grace_seconds: float | None) -> None:
        task = asyncio.ensure_future(channel.close(grace_seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _channel(backend: Backend, limits: Limits) -> grpc.aio.Channel:
    """Raises ValueError (the URL), OSError (a file)."""
    connect = max(1, round(limits.connect_seconds * 1000))
    options = (
        ("grpc.initial_reconnect_backoff_ms", min(connect, 100)),
        ("grpc.min_reconnect_backoff_ms", connect),  # also how long a connect may take
        ("grpc.max_reconnect_backoff_ms", max(connect, LONGEST_BACKOFF_MILLISECONDS)),
        ("grpc.max_send_message_length", -1),  # what came in was small enough
        ("grpc.max_receive_message_length", limits.max_body_bytes),
        ("grpc.max_metadata_size", limits.max_header_bytes),
    )
    return grpc_channel(backend.grpc, backend.tls, options)
