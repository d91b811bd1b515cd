"""Requests that are traced: each exchange with a model server is a span of its own, which the server is told of.

A request that is not traced never comes here: where tracing is off, or has not chosen it, it is a plain ServedExchange.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from router.link.messages import Span
from router.proxy.exchange import ServedExchange
from router.proxy.mirror import ShadowExchange
from router.proxy.refusal import OwnAnswer, Refusal
from router.proxy.trace_context import Context, context_of, new_span_id

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane
    from router.proxy.pool import Endpoint
    from router.proxy.request import Request
    from router.proxy.routes import Served, Target
    from router.proxy.server import ClientConnection
    from router.proxy.spans import SpanQueue
    from router.proxy.upstream import UpstreamConnection

LONGEST: Final = 256
"""Bytes of a path or an id in a span."""

_NAN: Final = float("nan")


class Tracing:
    """Chooses the requests that are traced.

    Args:
        percent: of the requests without a sampling decision of their own.
        spans: where theirs go.
        chance: a number from 0 to 1, drawn anew at each call.
    """

    __slots__ = ("_chance", "_share", "_spans")

    def __init__(
        self,
        percent: int,
        spans: SpanQueue,
        chance: Callable[[], float] = random.random,  # a sample, no secret
    ) -> None:
        self._share = percent / 100
        self._spans = spans
        self._chance = chance

    def exchange(self, plane: DataPlane, client: ClientConnection, request: Request) -> ServedExchange:
        """The life of a request: traced, or not."""
        if request.refusal is None:
            context = context_of(request.lines, self._share, self._chance)
            if context is not None:
                return TracedExchange(plane, client, request, context, self._spans)
        return ServedExchange(plane, client, request)


class TracedShadow(ShadowExchange):
    """The copy of a traced request: its span is a child of the request's."""

    __slots__ = ("_context", "_id", "_method", "_path", "_sent_after", "_span_id", "_spans")

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
        self._context = traced.context
        self._spans = traced.spans
        self._span_id = traced.copy_id
        self._method = _text(served.request.method)
        self._path = served.path
        self._id = served.request_id
        self._sent_after = _NAN

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the copy."""
        self._sent_after = monotonic() - self._started
        super().connected(connection)

    def _finish(self, outcome: int, now: float) -> None:
        target, head = self._target, self._connection.head if self._connection is not None else None
        to = self._to
        self._spans.add(
            Span(
                trace_id=_text(self._context.trace_id),
                span_id=_text(self._span_id),
                parent_id=_text(self._context.span_id),
                flags=self._context.flags,
                exchange=True,
                began=self._started + self._plane.epoch,
                seconds=now - self._started,
                sent=self._sent_after,
                first_byte=self._first_byte,
                method=self._method,
                path=_path_at(to.endpoint, self._path),
                address=to.endpoint.place.host or to.endpoint.place.socket,
                port=to.endpoint.place.port,
                status=head.status if head is not None else 0,
                model=target.name,
                request_id=_text(self._id),
                version=to.version,
                role=self._role,
                mode=self._mode,
                rollout_id=target.rollout_id,
                outcome=outcome,
                recorded=True,
            )
        )
        super()._finish(outcome, now)


class TracedExchange(ServedExchange):
    """A traced request: its own span, and the span of its exchange with the model server that answers it.

    Args:
        plane: as of ServedExchange.
        client: as of ServedExchange.
        request: as of ServedExchange.
        context: of its trace.
        spans: where they go.
    """

    __slots__ = ("_asked_id", "_refused_by", "_sent_after", "_shed_by", "context", "copy_id", "spans")

    shadow_kind = TracedShadow

    def __init__(
        self, plane: DataPlane, client: ClientConnection, request: Request, context: Context, spans: SpanQueue
    ) -> None:
        super().__init__(plane, client, request)
        self.context = context
        self.spans = spans
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
            self._refused_by = why
            self.spans.add(self._own_span(monotonic(), -1))
            raise

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what is there, under the span of this exchange."""
        request, lines = self.request, self.request.lines
        request.lines = self.context.passed_on(lines, self._asked_id)
        self._sent_after = monotonic() - self._started
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
        request.lines = self.context.passed_on(lines, self.copy_id)
        return lines

    def _shed(self, reason: str) -> None:
        self._shed_by = reason
        super()._shed(reason)

    def _fail(self, why: Refusal, outcome: int) -> None:
        self._refused_by = why
        super()._fail(why, outcome)

    def _finish(self, outcome: int, now: float) -> None:
        if not self._over:
            self.spans.add(self._exchange_span(now, outcome))
            self.spans.add(self._own_span(now, outcome))
        super()._finish(outcome, now)

    def _exchange_span(self, now: float, outcome: int) -> Span:
        served, target, context = self._served, self.target, self.context
        head = self._connection.head if self._connection is not None else None
        return Span(
            trace_id=_text(context.trace_id),
            span_id=_text(self._asked_id),
            parent_id=_text(context.span_id),
            flags=context.flags,
            exchange=True,
            began=self._started + self._plane.epoch,
            seconds=now - self._started,
            sent=self._sent_after,
            first_byte=self._first_byte,
            method=_text(self.request.method),
            path=_path_at(served.endpoint, self.path),
            address=served.endpoint.place.host or served.endpoint.place.socket,
            port=served.endpoint.place.port,
            status=head.status if head is not None else 0,
            model=target.name,
            request_id=_text(self.request_id),
            version=served.version,
            role=self._role,
            mode=self._mode,
            rollout_id=target.rollout_id,
            outcome=outcome,
            recorded=self._recorded,
        )

    def _own_span(self, now: float, outcome: int) -> Span:
        """The request's; `outcome` -1: no model server was asked."""
        context, refused = self.context, self._refused_by
        target = getattr(self, "target", None)  # refused before its model was known
        status = 0
        if self._head_sent and self._connection is not None and self._connection.head is not None:
            status = self._connection.head.status
        elif refused is not None:
            status = refused.status
        return Span(
            trace_id=_text(context.trace_id),
            span_id=_text(context.span_id),
            parent_id=_text(context.parent_id),
            flags=context.flags,
            exchange=False,
            began=self._started + self._plane.epoch,
            seconds=now - self._started,
            first_byte=self._first_byte,
            method=_text(self.request.method),
            path=_path(self.request.url),
            scheme=_text(self._client.forwarded.proto),
            status=status,
            error=refused.code if refused is not None else "",
            model=target.name if target is not None else "",
            request_id=_text(self.request_id),
            version=self._served.version if outcome >= 0 else 0,
            role=self._role if outcome >= 0 else -1,
            mode=self._mode,
            rollout_id=target.rollout_id if target is not None else 0,
            outcome=outcome,
            shed=self._shed_by,
        )


def _text(piece: bytes) -> str:
    return piece[:LONGEST].decode("utf-8", "replace")


def _path(url: bytes) -> str:
    """Without query; a target in absolute form, whose authority could hold a password, is left out."""
    return _text(url.partition(b"?")[0].partition(b"#")[0]) if url.startswith(b"/") else ""


def _path_at(endpoint: Endpoint, path: bytes) -> str:
    return _path(endpoint.base + path)
