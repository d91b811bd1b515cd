"""Finished spans of traced requests, until they go up the link; what does not fit is dropped and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from router.link.messages import Span, Spans

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane
    from router.proxy.routes import Flow
    from router.proxy.trace_context import Context

MOST_WAITING: Final = 2048
FRAME_SPANS: Final = 256

LONGEST: Final = 256
"""Bytes of a path or an id in a span."""

_NAN: Final = float("nan")


class Link(Protocol):
    """Where spans go."""

    @property
    def ready(self) -> bool:
        """Whether it would take a message now."""

    def send(self, message: Spans) -> bool:
        """Take a message; False: not now."""


class SpanQueue:
    """Keeps spans until `flush` hands them on.

    Args:
        most: kept at once.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.dropped = 0  # since the last message
        self._most = most
        self._waiting: list[Span] = []

    def add(self, span: Span) -> None:
        """Keep it, if there is room."""
        if len(self._waiting) < self._most:
            self._waiting.append(span)
        else:
            self.dropped += 1

    def flush(self, link: Link) -> None:
        """Hand on what waits, or as much as goes into one message."""
        if not (self._waiting or self.dropped) or not link.ready:
            return
        spans = self._waiting[:FRAME_SPANS]
        if link.send(Spans(tuple(spans), self.dropped)):
            self.dropped = 0
            del self._waiting[: len(spans)]

    def flush_all(self, link: Link) -> None:
        """Hand on all that waits, as far as the link takes it: this process ends."""
        waiting = -1
        while len(self._waiting) != waiting:
            waiting = len(self._waiting)
            self.flush(link)


class Wire(msgspec.Struct, frozen=True, gc=False):
    """What carried a request, or an exchange with a model server, and its answer; each as `Span` has it."""

    method: str
    path: str = ""
    scheme: str = ""
    address: str = ""
    port: int = 0
    status: int = 0
    rpc: str = ""


class Trace:
    """One traced request, or call: its own span is a child of its client's, and the parent of those of its exchanges.

    Args:
        context: of the request.
        plane: of this worker.
    """

    __slots__ = ("_own_id", "_plane", "_trace_id", "context")

    def __init__(self, context: Context, plane: DataPlane) -> None:
        self.context = context
        self._plane = plane
        self._trace_id = context.trace_id.decode()
        self._own_id = context.span_id.decode()

    def tell(  # noqa: PLR0913 - what differs between spans
        self,
        span_id: bytes,
        flow: Flow[Any] | None,
        wire: Wire,
        *,
        request_id: bytes,
        began: float,
        ended: float,
        sent: float = _NAN,
        first_byte: float = _NAN,
        version: int = 0,
        role: int = -1,
        mode: int = 0,
        outcome: int = -1,
        error: str = "",
        shed: str = "",
        recorded: bool = False,
    ) -> None:
        """Keep a finished span: the request's own, or that of an exchange with a model server.

        Args:
            span_id: the context's, if it is the request's own.
            flow: of its model, or its lane; None: refused before it was known.
            wire: what carried it.
            request_id: what labels join by.
            began: by the monotonic clock, as is `ended`; the others are as `Span` has them.
            ended: now, usually.
            sent: seconds from the beginning.
            first_byte: seconds from the beginning.
            version: that was asked; as all that follows is left out where no model server was.
            role: that was asked.
            mode: of the rollout that it was part of.
            outcome: of router.proxy.codes.
            error: why we answered ourselves.
            shed: why its copy was not sent.
            recorded: its row is in the histogram of durations.
        """
        context, plane = self.context, self._plane
        exchange = span_id != context.span_id
        plane.spans.add(
            Span(
                trace_id=self._trace_id,
                span_id=span_id.decode() if exchange else self._own_id,
                parent_id=self._own_id if exchange else context.parent_id.decode(),
                flags=context.flags,
                exchange=exchange,
                began=began + plane.epoch,
                seconds=ended - began,
                sent=sent,
                first_byte=first_byte,
                method=wire.method,
                path=wire.path,
                scheme=wire.scheme,
                address=wire.address,
                port=wire.port,
                status=wire.status,
                error=error,
                model=flow.name if flow is not None else "",
                request_id=text(request_id),
                version=version,
                role=role,
                mode=mode,
                rollout_id=flow.rollout_id if flow is not None else 0,
                outcome=outcome,
                shed=shed,
                recorded=recorded,
                rpc=wire.rpc,
            )
        )


def text(piece: bytes) -> str:
    """What a client chose, or we, as a span has it."""
    return piece[:LONGEST].decode("utf-8", "replace")
