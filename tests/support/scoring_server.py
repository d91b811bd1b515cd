"""A model server over named columns: real sockets, every request shape of MLflow's protocol, strict about its columns.

It misbehaves on demand, as the attributes say.
"""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from quiet_server import Quiet, QuietServer


class BadRequest(Exception):
    """A client error."""


class ScoringServer(QuietServer):
    """Answers POST /invocations with `predict(row)` for each row; GET /ping tells readiness."""

    def __init__(self, predict: Callable[[dict], object], columns: tuple[str, ...] = ("truth", "noise")) -> None:
        self.predict = predict
        self.columns = columns
        self.optional: tuple[str, ...] = ()
        self.delay_seconds = 0.0
        self.drip_seconds = 0.0  # between the bytes of an answer
        self.status = 200
        self.ready = True
        self.strict = True  # refuses what does not fit its columns
        self.breaks_with = 400  # what a bad request is answered with
        self.shapes = ("dataframe_split", "dataframe_records", "instances", "inputs")
        self.wrap: Callable[[list], object] = lambda predictions: {"predictions": predictions}
        self.asked = 0
        server = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer(200 if server.ready else 503, b"\n")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                server.asked += 1
                if server.delay_seconds:
                    time.sleep(server.delay_seconds)
                try:
                    rows = server.rows_of(body)
                    answer = server.wrap([server.predict(row) for row in rows])
                except (BadRequest, ValueError, TypeError, KeyError):
                    self._answer(server.breaks_with, b'{"error_code": "BAD_REQUEST"}')
                else:
                    self._answer(server.status, json.dumps(answer).encode())

            def _answer(self, status, body):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if server.drip_seconds:
                    for each in body:
                        self.wfile.write(bytes([each]))
                        self.wfile.flush()
                        time.sleep(server.drip_seconds)
                else:
                    self.wfile.write(body)

        super().__init__(Handler)

    def rows_of(self, body: bytes) -> list[dict]:
        """The rows of a request; BadRequest where it is none."""
        asked = json.loads(body)
        if not isinstance(asked, dict) or len(asked) != 1:
            raise BadRequest
        ((shape, data),) = asked.items()
        if shape not in self.shapes:
            raise BadRequest
        if shape == "dataframe_split":
            if not isinstance(data["data"], list):
                raise BadRequest
            rows = [dict(zip(data["columns"], each, strict=True)) for each in data["data"]]
        elif isinstance(data, dict):
            rows = [dict(zip(data, each, strict=True)) for each in zip(*data.values(), strict=True)]
        else:
            rows = list(data)
        return [self._checked(row) for row in rows]

    def _checked(self, row: dict) -> dict:
        for name in self.columns:
            missing = row.get(name) is None
            wrong = not missing and not isinstance(row[name], (int, float))
            if self.strict and (wrong or (missing and name not in self.optional)):
                raise BadRequest
        return row
