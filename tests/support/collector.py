"""A collector for OTLP/HTTP: takes spans as OpenTelemetry's exporters send them, decodes them, and keeps them."""

from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from quiet_server import Quiet, QuietServer


class Collector(QuietServer):
    """Answers POST /v1/traces with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list = []
        self.resources: list[dict] = []
        collector = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = collector.status if self.path == "/v1/traces" else 404
                if status == 200:
                    collector.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        super().__init__(Handler)

    def take(self, request: ExportTraceServiceRequest) -> None:
        for of_resource in request.resource_spans:
            self.resources.append(values(of_resource.resource.attributes))
            for of_scope in of_resource.scope_spans:
                self.spans += of_scope.spans

    def of_trace(self, trace_id: str) -> list:
        return [span for span in list(self.spans) if span.trace_id.hex() == trace_id]


def values(attributes) -> dict:
    """OTLP's attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
