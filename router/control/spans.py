"""What is said of a span: name, attributes, events; by OpenTelemetry's conventions for HTTP and gRPC where they can.

No header, no body and no query is in it; of what clients send only the method, the path and the request's id.
"""

from __future__ import annotations

import math
from typing import Final

from comparator.events import Outcome
from router.control.metric_table import MODES, OUTCOMES, ROLES
from router.link.messages import Span

OTHER: Final = "_OTHER"
SENT: Final = "titleshot.sent"
FIRST_BYTE: Final = "titleshot.first_byte"

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Those that the conventions know; others are told apart from the span's name, so that clients cannot make up names."""

Attribute = str | int


def name(span: Span) -> str:
    """The span's name: the method, and the model (not over gRPC) or, of an exchange, the role that was asked."""
    method = span.method if span.rpc or span.method in _METHODS else "HTTP"
    place = _of(ROLES, span.role) if span.exchange else _route(span)
    return f"{method} {place}" if place else method


def attributes(span: Span) -> dict[str, Attribute]:
    """Its attributes; what is not known is left out."""
    known: dict[str, Attribute] = {
        **(_rpc(span) if span.rpc else _http(span)),
        "server.address": span.address,
        "server.port": span.port,
        "error.type": error(span),
        "titleshot.model": span.model,
        "titleshot.version": span.version,
        "titleshot.role": _of(ROLES, span.role),
        "titleshot.mode": _of(MODES, span.mode),
        "titleshot.request_id": span.request_id,
        "titleshot.outcome": _of(OUTCOMES, span.outcome),
        "titleshot.rollout_id": str(span.rollout_id or ""),  # more digits than others' numbers hold
        "titleshot.shed": span.shed,
    }
    return {key: value for key, value in known.items() if value}


def events(span: Span) -> list[tuple[str, float]]:
    """What happened within it, and when, in seconds since the epoch."""
    moments = ((SENT, span.sent), (FIRST_BYTE, span.first_byte))
    return [(event, span.began + after) for event, after in moments if math.isfinite(after)]


def error(span: Span) -> str:
    """What went wrong; empty: nothing. Answers from 500 are errors of the request, from 400 of an exchange.

    Of gRPC those are all but OK, and those that its conventions name for a server. Below 400 the outcome may be one.
    """
    if span.error and not span.exchange:
        return span.error
    if span.outcome in (Outcome.OK, Outcome.CANCELLED):  # a client that left is no failure of ours
        return ""
    if span.status >= (400 if span.exchange else 500):
        return span.rpc or str(span.status)
    return "" if span.status >= 400 else _of(OUTCOMES, span.outcome)


def failed(span: Span) -> bool:
    """Whether its status is Error: wherever something went wrong, but where we refuse what was wrong itself."""
    return bool(error(span)) and (span.exchange or not 400 <= span.status < 500)


def _http(span: Span) -> dict[str, Attribute]:
    return {
        "http.request.method": span.method if span.method in _METHODS else OTHER,
        "http.request.method_original": span.method if span.method not in _METHODS else "",
        "http.route": _route(span),
        "url.path": span.path,
        "url.scheme": span.scheme,
        "http.response.status_code": span.status,
    }


def _rpc(span: Span) -> dict[str, Attribute]:
    return {"rpc.system.name": "grpc", "rpc.method": span.method, "rpc.response.status_code": span.rpc}


def _route(span: Span) -> str:
    return f"/models/{span.model}" if span.model and not (span.exchange or span.rpc) else ""


def _of(names: tuple[str, ...], code: int) -> str:
    return names[code] if 0 <= code < len(names) else ""
