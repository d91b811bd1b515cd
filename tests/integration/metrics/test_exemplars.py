"""A real Prometheus keeps the exemplars: from a bucket of the durations to the trace of its latest traced answer."""

import time
from http.server import BaseHTTPRequestHandler

import pytest
from judged_model import observations
from prometheus_server import start_prometheus
from quiet_server import Quiet, QuietServer
from world import free_port

from comparator.events import Outcome, Role
from router.control.metrics import Metrics
from router.link.messages import Span

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def page():
    """The metrics page of one slow answer of the challenger's, which was traced."""
    metrics = Metrics()
    metrics.add_model("late")
    metrics.observe("late", observations([{"outcome": Outcome.OK, "role": Role.CHALLENGER, "latency": 0.5}]))
    metrics.traced(
        Span(
            trace_id=TRACE,
            span_id=SPAN,
            parent_id="",
            flags=1,
            exchange=True,
            began=time.time(),
            seconds=0.5,
            method="POST",
            path="/invocations",
            model="late",
            request_id="id",
            role=int(Role.CHALLENGER),
            outcome=int(Outcome.OK),
            recorded=True,
        )
    )

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self):
            body, content_type = metrics.expose(self.headers["accept"])
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = QuietServer(Handler)
    yield server.url.removeprefix("http://")
    server.close()


def test_prometheus_keeps_them_with_their_series(page, tmp_path):
    prometheus = start_prometheus(page, tmp_path, free_port(), features="exemplar-storage")
    try:
        asked = "titleshot_request_duration_seconds_bucket"
        (found,) = prometheus.wait_for(lambda: prometheus.exemplars(asked), "an exemplar")
    finally:
        prometheus.close()
    assert found["labels"] == {"trace_id": TRACE, "span_id": SPAN}
    assert (found["series"]["model"], found["series"]["role"]) == ("late", "challenger")
    assert float(found["value"]) == 0.5 <= float(found["series"]["le"])
