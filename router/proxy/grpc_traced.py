"""Calls that are traced, as traced.py has it of requests over HTTP.

A call that is not traced is a plain GrpcExchange; where tracing is off, one attribute test is all that there is of it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import grpc

from router.proxy import codes
from router.proxy.grpc_codes import HTTP_STATUS
from router.proxy.grpc_exchange import Context, GrpcExchange, GrpcShadow
from router.proxy.grpc_routes import GrpcTarget, Reached
from router.proxy.spans import Trace, Wire
from router.proxy.trace_context import new_span_id

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane

_NAN: Final = float("nan")


def exchange_of(
    plane: DataPlane,
    method: str,
    target: GrpcTarget,
    champion: Reached,
    context: Context,
    most_seconds: float,
    *,
    assigned: bool,
) -> GrpcExchange:
    """The life of a call: traced, or not. Arguments as of GrpcExchange."""
    tracing = plane.tracing
    trace = tracing.of_call(plane, context.invocation_metadata() or ()) if tracing is not None else None
    if trace is None:
        return GrpcExchange(plane, method, target, champion, context, most_seconds, assigned=assigned)
    return TracedGrpcExchange(plane, method, target, champion, context, most_seconds, assigned=assigned, trace=trace)


def tell_refused(
    plane: DataPlane,
    method: str,
    target: GrpcTarget | None,
    context: Context,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    """A call for which no model server is asked is refused now, for `reason`; None: its model is not known."""
    if plane.tracing is None:
        return
    trace = plane.tracing.of_call(plane, context.invocation_metadata() or ())
    if trace is not None:
        now = monotonic()
        wire = _wire(method, code)
        trace.tell(trace.context.span_id, target, wire, request_id=b"", began=now, ended=now, error=reason)


class TracedGrpcShadow(GrpcShadow):
    """The copy of a traced call: its span is a child of the call's."""

    __slots__ = ("_span_id", "_trace")

    def __init__(
        self,
        plane: DataPlane,
        exchange: GrpcExchange,
        target: GrpcTarget,
        to: Reached,
        request: bytes,
        *,
        probe: bool,
    ) -> None:
        super().__init__(plane, exchange, target, to, request, probe=probe)
        traced = cast("TracedGrpcExchange", exchange)  # the only one that makes these
        self._trace, self._span_id = traced.trace, traced.copy_id

    def _finish(self, outcome: int, code: grpc.StatusCode | None, body: bytes | None, now: float) -> None:
        self._trace.tell(
            self._span_id,
            self._target,
            _wire(self._exchange.method, code or _cut_off(outcome), self._to),
            request_id=self._exchange.request_id.encode(),
            began=self._started,
            ended=now,
            sent=0.0,
            first_byte=now - self._started if body is not None else _NAN,
            version=self._to.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            recorded=True,
        )
        super()._finish(outcome, code, body, now)


class TracedGrpcExchange(GrpcExchange):
    """A traced call: its own span, and the span of its exchange with the model server that answers it.

    Arguments as of GrpcExchange, and the trace where its spans belong.
    """

    __slots__ = ("_asked_id", "_refused_by", "_sent_after", "_shed_by", "copy_id", "trace")

    def __init__(  # noqa: PLR0913 - one more
        self,
        plane: DataPlane,
        method: str,
        target: GrpcTarget,
        champion: Reached,
        context: Context,
        most_seconds: float,
        *,
        assigned: bool,
        trace: Trace,
    ) -> None:
        super().__init__(plane, method, target, champion, context, most_seconds, assigned=assigned)
        self.trace = trace
        self.copy_id = b""
        self._asked_id = new_span_id()
        self._sent_after = _NAN
        self._refused_by: tuple[grpc.StatusCode, str] | None = None
        self._shed_by = ""
        self.metadata = trace.context.passed_on_in(self.metadata, self._asked_id)

    @property
    def shadow_kind(self) -> type[GrpcShadow]:
        """As the others; copies are traced, too."""
        return TracedGrpcShadow

    def copy_metadata(self) -> list[tuple[str, str | bytes]]:
        """As the others, under a span of the copy's own."""
        self.copy_id = new_span_id()
        return self.trace.context.passed_on_in(self.metadata, self.copy_id)

    def handed_over(self) -> None:
        """It goes to the model server now."""
        self._sent_after = monotonic() - self.started
        super().handed_over()

    def shed(self, reason: str) -> None:
        """No copy is sent."""
        self._shed_by = reason
        super().shed(reason)

    def cut_off(self) -> int:
        """See GrpcExchange. Where we end, that is an error to the client, and says nothing about the version."""
        outcome = super().cut_off()
        if outcome == codes.CANCELLED and self._plane.cutting_off:
            self._refused_by = grpc.StatusCode.UNAVAILABLE, "stopping"
        return outcome

    def refused(self, code: grpc.StatusCode, reason: str, latency: float | None) -> None:
        """We end it ourselves; see GrpcExchange."""
        self._refused_by = code, reason
        super().refused(code, reason, latency)

    def _finish(
        self, outcome: int, code: grpc.StatusCode | None, body: bytes | None, latency: float | None, now: float
    ) -> None:
        ended = code or _cut_off(outcome)
        self.trace.tell(
            self._asked_id,
            self.target,
            _wire(self.method, ended, self.served),
            request_id=self.request_id.encode(),
            began=self.started,
            ended=now,
            sent=self._sent_after,
            first_byte=self.first_byte,
            version=self.served.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            recorded=self._recorded and latency is None,  # else its row has another duration than the span
        )
        answered, reason = self._refused_by or (ended, "")
        self.trace.tell(
            self.trace.context.span_id,
            self.target,
            _wire(self.method, answered),
            request_id=self.request_id.encode(),
            began=self.started,
            ended=now,
            first_byte=self.first_byte,
            version=self.served.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            error=reason,
            shed=self._shed_by,
        )
        super()._finish(outcome, code, body, latency, now)


def _wire(method: str, code: grpc.StatusCode, asked: Reached | None = None) -> Wire:
    """Between the client and us, or between us and a model server."""
    rpc, status = code.name, HTTP_STATUS[code]
    if asked is None:
        return Wire(method[1:], status=status, rpc=rpc)
    return Wire(method[1:], address=asked.place.host, port=asked.place.port, status=status, rpc=rpc)


def _cut_off(outcome: int) -> grpc.StatusCode:
    """What a call ended with that gRPC has cancelled."""
    return grpc.StatusCode.DEADLINE_EXCEEDED if outcome == codes.TIMEOUT else grpc.StatusCode.CANCELLED
