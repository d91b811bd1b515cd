"""ModelStreamInfer: messages both ways between a client and one version, each passed on as it comes.

A stream is assigned once, by its metadata or its own id, for the model that its first message names; the others must
name the same one. It is recorded as one exchange: its outcome, and the time from the first message to the first answer
as its latency, since how long a stream stays open is its client's choice. No copy is made of a stream, and one that was
due counts as shed: a shadow in which most calls are streams proves nothing.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from router.link.grpc_place import STREAM
from router.protocols.open_inference_grpc import model_of, stream_answer
from router.protocols.wire import Malformed
from router.proxy import codes, mirror
from router.proxy.grpc_exchange import Context, GrpcExchange
from router.proxy.grpc_traced import exchange_of

if TYPE_CHECKING:
    from router.proxy.grpc_server import GrpcPort
    from router.proxy.plane import DataPlane

SAME_MODEL = "A stream is for the model that its first message names."


class Stream:
    """One stream.

    Args:
        plane: of this worker.
        port: refuses, and knows the models.
        context: of the client's call.
    """

    def __init__(self, plane: DataPlane, port: GrpcPort, context: Context) -> None:
        self._plane = plane
        self._port = port
        self._context = context
        self._answers = 0
        self._only: bytes | None = None  # the answer, where there was one
        self._failed = False  # an answer told of an error
        self._name = ""
        self._misnamed = False

    async def run(self) -> None:
        """Until both sides have ended."""
        plane, context, port = self._plane, self._context, self._port
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        try:
            self._name, pinned = model_of(first)
        except Malformed as error:
            await port.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "malformed", f"Not a request: {error}.")
        target, champion = await port.target(self._name, STREAM, context)
        seconds = plane.limits.total_seconds
        exchange = exchange_of(plane, STREAM, target, champion, context, seconds, assigned=not pinned)
        if exchange.copies(0):
            exchange.shed(mirror.STREAM)
        for lane in exchange.lanes:
            exchange.copied_to(lane, mirror.STREAM)
        call = exchange.served.channel.stream_stream(STREAM)(
            timeout=exchange.seconds_left(), metadata=exchange.metadata
        )
        exchange.handed_over()
        sending = asyncio.ensure_future(self._send(call, first))
        try:
            await self._pass_answers(call, exchange)
            code: grpc.StatusCode = await call.code()
            if code is not grpc.StatusCode.OK:
                raise _error_of(code, await call.details(), await call.trailing_metadata())
        except asyncio.CancelledError:
            call.cancel()
            await self._broken_off(exchange)
            exchange.over(exchange.cut_off(), None, None, self._latency(exchange))
            raise
        except grpc.aio.AioRpcError as error:
            await self._broken_off(exchange)
            exchange.over(exchange.failed(error), error.code(), None, self._latency(exchange))
            await port.pass_error(error, exchange.served, context, exchange.request_id)
        finally:
            sending.cancel()
        outcome = codes.SERVER_ERROR if self._failed else codes.OK
        exchange.over(outcome, grpc.StatusCode.OK, self._only, self._latency(exchange))
        context.set_trailing_metadata(exchange.answered(await call.trailing_metadata()))

    async def _broken_off(self, exchange: GrpcExchange) -> None:
        """Where we have cancelled it ourselves, tell the client why; it says nothing about the version."""
        if self._misnamed:
            exchange.refused(grpc.StatusCode.INVALID_ARGUMENT, "malformed", self._latency(exchange))
            await self._port.refuse(self._context, grpc.StatusCode.INVALID_ARGUMENT, "malformed", SAME_MODEL)

    async def _send(self, call: grpc.aio.StreamStreamCall, first: bytes) -> None:
        """The client's messages; a slow model server makes the client wait."""
        message = first
        try:
            while message is not grpc.aio.EOF:
                await call.write(message)
                message = await self._context.read()
                if message is not grpc.aio.EOF and not self._named(message):
                    self._misnamed = True
                    call.cancel()
                    return
            await call.done_writing()
        except (asyncio.InvalidStateError, grpc.RpcError, grpc.aio.BaseError):
            pass  # the model server has ended it: its answers say how

    def _named(self, message: bytes) -> bool:
        try:
            return model_of(message)[0] == self._name
        except Malformed:
            return False

    async def _pass_answers(self, call: grpc.aio.StreamStreamCall, exchange: GrpcExchange) -> None:
        context = self._context
        began = False
        while True:
            message = await call.read()
            if not began:
                began = True
                await context.send_initial_metadata(exchange.answered(await call.initial_metadata()))
            if message is grpc.aio.EOF:
                return
            if not self._answers:
                exchange.first_byte = monotonic() - exchange.started
            self._note(message)
            await context.write(message)

    def _note(self, message: bytes) -> None:
        self._answers += 1
        try:
            answer, failed = stream_answer(message)
        except Malformed:
            answer, failed = message, False  # control will find that it cannot be read
        self._failed = self._failed or failed
        self._only = answer if self._answers == 1 else None

    def _latency(self, exchange: GrpcExchange) -> float | None:
        return exchange.first_byte if self._answers else None


def _error_of(code: grpc.StatusCode, details: str, trailing: grpc.aio.Metadata) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)
