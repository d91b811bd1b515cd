"""Spans to a collector over OTLP/HTTP, by OpenTelemetry's own exporter (an extra): imported only where tracing is on.

Its settings (headers, timeout, compression, certificates) are the OTEL_EXPORTER_OTLP_* variables, as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from router.control import spans as told
from router.link.messages import Span
from router.settings.tracing import TracingSettings

DEFAULT_SERVICE: Final = "titleshot"
TRACES_PATH: Final = "/v1/traces"

_AWAY: Final = "it could not be reached, or did not answer in time"


class _Reasons(logging.Handler):
    """Keeps what the exporter says of a failure: of its own words only a status, since addresses can hold secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.args if isinstance(record.args, tuple) else ()
        status = next((arg for arg in said if type(arg) is int and 300 <= arg < 600), 0)
        self.last = f"its answer was {status}" if status else _AWAY


_reasons = _Reasons()
_log = logging.getLogger("opentelemetry.exporter")
_log.addHandler(_reasons)
_log.propagate = False  # it would tell of every batch


class Otlp:
    """One collector. Used by one thread at a time.

    Args:
        settings: where it is, and as which service we speak.

    Raises:
        Exception: of the exporter's, where its variables make no sense.
    """

    def __init__(self, settings: TracingSettings) -> None:
        endpoint = settings.endpoint
        if endpoint is not None and not endpoint.endswith(TRACES_PATH):
            endpoint += TRACES_PATH
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        release = version("titleshot")
        resource = Resource.create({SERVICE_VERSION: release})
        named = str(resource.attributes.get(SERVICE_NAME, ""))
        if settings.service_name is not None or named.startswith("unknown_service"):
            named = settings.service_name or DEFAULT_SERVICE
        self._resource = resource.merge(Resource({SERVICE_NAME: named}))
        self._scope = InstrumentationScope("titleshot", release)

    def export(self, spans: Sequence[Span]) -> str:
        """Send them; what went wrong, empty: the collector has them. Blocks, for as long as the exporter's timeout."""
        _reasons.last = ""
        if self._exporter.export([self.readable(span) for span in spans]) is SpanExportResult.SUCCESS:
            return ""
        return _reasons.last or _AWAY

    def close(self) -> None:
        """Let the connection go."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def readable(self, span: Span) -> ReadableSpan:
        """The span as OpenTelemetry has it."""
        trace_id, flags = int(span.trace_id, 16), TraceFlags(span.flags)
        context = SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=flags)
        parent = None
        if span.parent_id:
            parent = SpanContext(trace_id, int(span.parent_id, 16), is_remote=not span.exchange, trace_flags=flags)
        return ReadableSpan(
            name=told.name(span),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=told.attributes(span),
            events=[Event(event, timestamp=_nanoseconds(at)) for event, at in told.events(span)],
            kind=SpanKind.CLIENT if span.exchange else SpanKind.SERVER,
            status=Status(StatusCode.ERROR) if told.failed(span) else Status(StatusCode.UNSET),
            start_time=_nanoseconds(span.began),
            end_time=_nanoseconds(span.began + span.seconds),
            instrumentation_scope=self._scope,
        )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1000  # a float holds no more of the epoch
