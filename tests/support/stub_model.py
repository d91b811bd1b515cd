"""A model server small enough to misbehave on demand: real sockets, real HTTP/1.1, MLflow's protocol."""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from quiet_server import Quiet, QuietServer


class StubModel(QuietServer):
    """Answers POST /invocations with `predict(row)` for every row of `inputs`; GET /ping tells readiness."""

    def __init__(self, predict: Callable[[dict], float]) -> None:
        self.predict = predict
        self.delay_seconds = 0.0
        self.status = 200
        self.ready = True
        self.seen: list[dict] = []
        stub = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer(200 if stub.ready else 503, b"\n")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                rows = json.loads(body)["inputs"]
                stub.seen.append(dict(self.headers))
                if stub.delay_seconds:
                    time.sleep(stub.delay_seconds)
                answer = {"predictions": [stub.predict(row) for row in rows]}
                self._answer(stub.status, json.dumps(answer).encode())

            def _answer(self, status, body):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
