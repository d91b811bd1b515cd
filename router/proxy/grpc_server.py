"""A worker's gRPC port: the Open Inference Protocol's service, passed on to model servers as it comes.

Messages are bytes here: a request is looked into for its model's name, and otherwise goes through untouched, like what
is answered. What is said by gRPC itself (deadlines, cancellation, statuses, metadata) is passed on, too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import NoReturn

import grpc
import grpc.aio

from router.link.endpoint import ListenTls, Renewed, server_context
from router.link.grpc_place import INFER, SERVICE, STREAM, GrpcListen
from router.protocols.open_inference_grpc import TRUE, model_of
from router.protocols.wire import Malformed, text_field
from router.proxy import codes
from router.proxy.grpc_exchange import Context, GrpcExchange, GrpcShadow, connected, offer, offer_to_lanes
from router.proxy.grpc_metadata import Metadata, back
from router.proxy.grpc_routes import Channels, GrpcTarget, Reached
from router.proxy.grpc_stream import Stream
from router.proxy.grpc_traced import exchange_of, tell_refused
from router.proxy.plane import DataPlane

LIVE = f"/{SERVICE}/ServerLive"
READY = f"/{SERVICE}/ServerReady"
METADATA = f"/{SERVICE}/ServerMetadata"
ABOUT_MODELS = frozenset(
    f"/{SERVICE}/{name}" for name in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics")
)
"""Answered by the model's champion. Triton's methods that change a server are not served."""

UNREACHED = "The model server could not be reached."


class GrpcPort:
    """The service on one worker's port.

    Args:
        plane: of this worker.
        listen: where, and what gRPC has to know when a port is opened.
        tls: of the port; None: plain.
    """

    def __init__(self, plane: DataPlane, listen: GrpcListen, tls: ListenTls | None) -> None:
        self._plane = plane
        self._channels = Channels(plane)
        self._copies: set[asyncio.Task[None]] = set()
        self._server = grpc.aio.server(
            handlers=[_Handler(self)],
            options=[
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", listen.most_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", listen.most_metadata_bytes),
            ],
            maximum_concurrent_rpcs=listen.most_calls,
        )
        try:
            if tls is None:
                self._server.add_insecure_port(listen.address)
            else:
                self._server.add_secure_port(listen.address, _credentials(tls))
        except RuntimeError as error:
            raise OSError(f"grpc: cannot listen on {listen.address}: {error}") from None

    async def start(self) -> None:
        """Serve."""
        await self._server.start()

    async def stop(self, within_seconds: float) -> None:
        """Take no more calls, and return when those that are open have ended, or this time has passed."""
        until = monotonic() + within_seconds
        # Before gRPC's own timer, which ends what is open then: that is told from what clients cancel meanwhile.
        asyncio.get_running_loop().call_later(within_seconds, self._plane.cut_off)
        await self._server.stop(within_seconds)
        if self._copies:
            await asyncio.wait(self._copies, timeout=max(until - monotonic(), 0.0))
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._channels.close()

    def renew(self) -> None:
        """Look at the files of TLS towards model servers; those of this port are looked at by every connection."""
        self._channels.renew()

    # ---- the methods

    async def infer(self, request: bytes, context: Context) -> bytes:
        """ModelInfer: assigned, perhaps copied and sampled, recorded."""
        target, champion, pinned = await self._model(request, INFER, context)
        seconds = self._plane.limits.first_byte_seconds
        exchange = exchange_of(self._plane, INFER, target, champion, context, seconds, assigned=not pinned)
        copies = exchange.copies(len(request))
        if copies and exchange.copy_goes_first:
            self._copy(exchange, request, first=True)
            copies = False
        call = exchange.served.unary(INFER)(request, timeout=exchange.seconds_left(), metadata=exchange.metadata)
        exchange.handed_over()
        if copies:
            self._copy(exchange, request, first=False)
        if exchange.lanes:
            for shadow in offer_to_lanes(self._plane, exchange, request):
                self._await(shadow)
        exchange.sample(request)
        return await self._answer(call, exchange, context)

    async def stream(self, _: object, context: Context) -> None:
        """ModelStreamInfer: assigned by its first message."""
        await Stream(self._plane, self, context).run()

    async def ask_champion(self, method: str, request: bytes, context: Context) -> bytes:
        """What is asked of a model but predictions: its champion answers."""
        target, champion, _ = await self._model(request, method, context)
        seconds = self._plane.limits.first_byte_seconds
        exchange = exchange_of(self._plane, method, target, champion, context, seconds, assigned=False)
        call = champion.unary(method)(request, timeout=exchange.seconds_left(), metadata=exchange.metadata)
        exchange.handed_over()
        return await self._answer(call, exchange, context)

    async def live(self, _: bytes, __: Context) -> bytes:
        """This worker is."""
        return TRUE

    async def ready(self, _: bytes, context: Context) -> bytes:
        """Whether every model's champion says that its server is ready."""
        targets = self._channels.table().targets()
        left = context.time_remaining()
        limit = self._plane.limits.first_byte_seconds
        seconds = limit if left is None else min(limit, left)
        asked = [self._is_ready(target.champion, seconds) for target in targets]
        return TRUE if targets and all(await asyncio.gather(*asked)) else b""

    async def describe(self, _: bytes, __: Context) -> bytes:
        """ServerMetadata: who passes calls on; the servers' extensions are the models' own."""
        return text_field(1, "titleshot")

    # ---- inside

    async def _answer(self, call: grpc.aio.UnaryUnaryCall, exchange: GrpcExchange, context: Context) -> bytes:
        """What the model server answers, with all that belongs to it."""
        try:
            body: bytes = await call
        except asyncio.CancelledError:
            exchange.over(exchange.cut_off(), None, None)
            raise
        except grpc.aio.AioRpcError as error:
            exchange.over(exchange.failed(error), error.code(), None)
            return await self.pass_error(error, exchange.served, context, exchange.request_id)
        exchange.first_byte = monotonic() - exchange.started
        exchange.over(codes.OK, grpc.StatusCode.OK, body)
        context.set_trailing_metadata(exchange.answered(await call.trailing_metadata()))
        await context.send_initial_metadata(exchange.answered(await call.initial_metadata()))
        return body

    async def _is_ready(self, served: Reached | None, seconds: float) -> bool:
        if served is None:
            return False
        try:
            answer: bytes = await served.unary(READY)(b"", timeout=seconds)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError):  # the latter: closed, because the routes have changed
            return False
        return answer == TRUE

    def _copy(self, exchange: GrpcExchange, request: bytes, *, first: bool) -> None:
        shadow = offer(self._plane, exchange, request)
        if shadow is None:
            return
        exchange.copied(first=first)
        self._await(shadow)

    def _await(self, shadow: GrpcShadow) -> None:
        task = asyncio.ensure_future(shadow.run())
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _model(self, request: bytes, method: str, context: Context) -> tuple[GrpcTarget, Reached, bool]:
        """Whose routes a request goes by, and whether it asks for a version of its own; refuses what names no model."""
        if len(request) > self._plane.limits.max_body_bytes:
            code, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, "body_too_large"
            tell_refused(self._plane, method, None, context, code, reason)
            await self.refuse(context, code, reason, "The message is too large.")
        try:
            name, pinned = model_of(request)
        except Malformed as error:
            await self.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "malformed", f"Not a request: {error}.")
        return *await self.target(name, method, context), pinned

    async def target(self, name: str, method: str, context: Context) -> tuple[GrpcTarget, Reached]:
        """A model's routes and its champion, or the call is refused."""
        target = self._channels.table().target(name)
        if target is None or target.champion is None:
            await self._unserved(target, method, context)
        return target, target.champion

    async def _unserved(self, target: GrpcTarget | None, method: str, context: Context) -> NoReturn:
        """Nobody can answer the call; where it is traced, its span says so."""
        code, reason = grpc.StatusCode.UNAVAILABLE, "no_champion"
        message = "The registry names no champion for this model, or no gRPC endpoint is known for it."
        if target is None and not self._channels.table().source.models:
            reason, message = "no_routes", "The router has no routes yet."
        elif target is None:
            code, reason = grpc.StatusCode.NOT_FOUND, "unknown_model"
            message = "No such model is served here over gRPC; its name stands in the request."
        tell_refused(self._plane, method, target, context, code, reason)
        await self.refuse(context, code, reason, message)

    async def refuse(self, context: Context, code: grpc.StatusCode, reason: str, message: str) -> NoReturn:
        """Answer a call ourselves. Nothing of the request is repeated."""
        self._plane.count_refused(reason)
        await context.abort(code, message)
        raise AssertionError("abort raises")

    async def pass_error(
        self, error: grpc.aio.AioRpcError, served: Reached, context: Context, request_id: str
    ) -> NoReturn:
        """Answer with what the model server said, or gRPC in its place; not where its port is."""
        details = error.details() or ""
        if error.code() is grpc.StatusCode.UNAVAILABLE and not connected(served):
            details = UNREACHED
        trailing: Metadata = back(error.trailing_metadata(), request_id)
        await context.abort(error.code(), details, trailing)
        raise AssertionError("abort raises")


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # untyped
    """Methods by name, with their messages as bytes."""

    def __init__(self, port: GrpcPort) -> None:
        unary = grpc.unary_unary_rpc_method_handler
        self._methods = {
            INFER: unary(port.infer),
            STREAM: grpc.stream_stream_rpc_method_handler(port.stream),
            LIVE: unary(port.live),
            READY: unary(port.ready),
            METADATA: unary(port.describe),
        }
        for method in ABOUT_MODELS:
            self._methods[method] = unary(_bound(port, method))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """None: UNIMPLEMENTED."""
        return self._methods.get(handler_call_details.method)


def _bound(port: GrpcPort, method: str) -> object:
    async def ask(request: bytes, context: Context) -> bytes:
        return await port.ask_champion(method, request, context)

    return ask


def _credentials(tls: ListenTls) -> grpc.ServerCredentials:
    """TLS of the port; its files are looked at for every connection, in a thread of gRPC's. Raises OSError."""
    held = Renewed(lambda: _configuration(tls), tls.files)
    return grpc.dynamic_ssl_server_credentials(
        held.context,
        lambda: held.context if held.renew() else None,
        require_client_authentication=bool(tls.client_ca),
    )


def _configuration(tls: ListenTls) -> grpc.ServerCertificateConfiguration:
    """Of the files as they are now. Raises OSError: they cannot be read, or are not what they should be."""
    server_context(tls)  # gRPC would say nothing of a key that belongs to another certificate
    pair = (Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())
    return grpc.ssl_server_certificate_configuration(
        [pair], root_certificates=Path(tls.client_ca).read_bytes() if tls.client_ca else None
    )
