"""Requests that are traced: each exchange with a model server is a span of its own, which the server is told of.

A request that is not traced never comes here: where tracing is off, or has not chosen it, it is a plain ServedExchange.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from router.proxy.exchange import ServedExchange
from router.proxy.mirror import ShadowExchange
from router.proxy.refusal import OwnAnswer, Refusal
from router.proxy.spans import Trace, Wire, text
from router.proxy.trace_context import Metadata, context_in, context_of, new_span_id

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane
    from router.proxy.request import Request
    from router.proxy.routes import Served, Target
    from router.proxy.server import ClientConnection
    from router.proxy.upstream import UpstreamConnection

_NAN: Final = float("nan")


class Tracing:
    """Chooses the requests and the calls that are traced.

    Args:
        percent: of the requests without a sampling decision of their own.
        chance: a number from 0 to 1, drawn anew at each call.
    """

    __slots__ = ("_chance", "_share")

    def __init__(self, percent: int, chance: Callable[[], float] = random.random) -> None:  # a sample, no secret
        self._share = percent / 100
        self._chance = chance

    def exchange(self, plane: DataPlane, client: ClientConnection, request: Request) -> ServedExchange:
        """The life of a request: traced, or not."""
        if request.refusal is None:
            context = context_of(request.lines, self._share, self._chance)
            if context is not None:
                return TracedExchange(plane, client, request, Trace(context, plane))
        return ServedExchange(plane, client, request)

    def of_call(self, plane: DataPlane, metadata: Metadata) -> Trace | None:
        """The trace of a call with this metadata; None: it is not traced."""
        context = context_in(metadata, self._share, self._chance)
        return Trace(context, plane) if context is not None else None


class TracedShadow(ShadowExchange):
    """The copy of a traced request: its span is a child of the request's."""

    __slots__ = ("_id", "_method", "_path", "_sent_after", "_span_id", "_trace")

    def __init__(
        self,
        plane: DataPlane,
        served: ServedExchange,
        target: Target,
        to: Served,
        message: list[bytes],
        now: float,
        *,
        probe: bool,
    ) -> None:
        super().__init__(plane, served, target, to, message, now, probe=probe)
        traced = cast("TracedExchange", served)  # the only one that makes these
        self._trace = traced.trace
        self._span_id = traced.copy_id
        self._method = served.request.method
        self._path = served.path
        self._id = served.request_id
        self._sent_after = _NAN

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the copy."""
        self._sent_after = monotonic() - self._started
        super().connected(connection)

    def _finish(self, outcome: int, now: float) -> None:
        self._trace.tell(
            self._span_id,
            self._target,
            _asked(self._to, self._connection, self._method, self._path),
            request_id=self._id,
            began=self._started,
            ended=now,
            sent=self._sent_after,
            first_byte=self._first_byte,
            version=self._to.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            recorded=True,
        )
        super()._finish(outcome, now)


class TracedExchange(ServedExchange):
    """A traced request: its own span, and the span of its exchange with the model server that answers it.

    Args:
        plane: as of ServedExchange.
        client: as of ServedExchange.
        request: as of ServedExchange.
        trace: where its spans belong.
    """

    __slots__ = ("_asked_id", "_refused_by", "_sent_after", "_shed_by", "copy_id", "trace")

    shadow_kind = TracedShadow

    def __init__(self, plane: DataPlane, client: ClientConnection, request: Request, trace: Trace) -> None:
        super().__init__(plane, client, request)
        self.trace = trace
        self.copy_id = b""
        self._asked_id = new_span_id()
        self._sent_after = _NAN
        self._refused_by: OwnAnswer | None = None
        self._shed_by = ""

    def start(self) -> None:
        """As the others; a request that we answer ourselves has a span, too."""
        try:
            super().start()
        except OwnAnswer as why:
            self.trace.tell(
                self.trace.context.span_id,
                getattr(self, "target", None),  # refused before its model was known
                self._wire(why.status),
                request_id=self.request_id,
                began=self.started,
                ended=monotonic(),
                error=why.code,
            )
            raise

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what is there, under the span of this exchange."""
        request, lines = self.request, self.request.lines
        request.lines = self.trace.context.passed_on(lines, self._asked_id)
        self._sent_after = monotonic() - self.started
        super().connected(connection)
        request.lines = lines

    def _offer(self, body: list[bytes], now: float) -> None:
        lines = self._copy_lines()
        super()._offer(body, now)
        self.request.lines = lines

    def copy_to(self, lane: Target, body: list[bytes], now: float) -> str | None:
        """As the others, under a span of the copy's own."""
        lines = self._copy_lines()
        shed = super().copy_to(lane, body, now)
        self.request.lines = lines
        return shed

    def _copy_lines(self) -> list[bytes]:
        """From now on the request's fields are those of a copy; what they were before."""
        request, lines = self.request, self.request.lines
        self.copy_id = new_span_id()
        request.lines = self.trace.context.passed_on(lines, self.copy_id)
        return lines

    def shed(self, reason: str) -> None:
        """No copy is sent."""
        self._shed_by = reason
        super().shed(reason)

    def _fail(self, why: Refusal, outcome: int) -> None:
        self._refused_by = why
        super()._fail(why, outcome)

    def _finish(self, outcome: int, now: float) -> None:
        if not self._over:
            self._tell(outcome, now)
        super()._finish(outcome, now)

    def _tell(self, outcome: int, now: float) -> None:
        """The exchange, and the request."""
        served, refused, head = self.served, self._refused_by, None
        if self._connection is not None:
            head = self._connection.head
        self.trace.tell(
            self._asked_id,
            self.target,
            _asked(served, self._connection, self.request.method, self.path),
            request_id=self.request_id,
            began=self.started,
            ended=now,
            sent=self._sent_after,
            first_byte=self._first_byte,
            version=served.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            recorded=self._recorded,
        )
        answered = head.status if self._head_sent and head is not None else refused.status if refused is not None else 0
        self.trace.tell(
            self.trace.context.span_id,
            self.target,
            self._wire(answered),
            request_id=self.request_id,
            began=self.started,
            ended=now,
            first_byte=self._first_byte,
            version=served.version,
            role=self._role,
            mode=self._mode,
            outcome=outcome,
            error=refused.code if refused is not None else "",
            shed=self._shed_by,
        )

    def _wire(self, status: int) -> Wire:
        """Between the client and us."""
        request, scheme = self.request, self._client.forwarded.proto
        return Wire(text(request.method), _path(request.url), text(scheme), status=status)


def _asked(served: Served, connection: UpstreamConnection | None, method: bytes, path: bytes) -> Wire:
    """Between us and a model server."""
    endpoint, head = served.endpoint, connection.head if connection is not None else None
    place, status = endpoint.place, head.status if head is not None else 0
    return Wire(text(method), _path(endpoint.base + path), "", place.host or place.socket, place.port, status)


def _path(url: bytes) -> str:
    """Without query; a target in absolute form, whose authority could hold a password, is left out."""
    return text(url.partition(b"?")[0].partition(b"#")[0]) if url.startswith(b"/") else ""
