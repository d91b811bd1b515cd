"""A model server small enough to misbehave on demand: real sockets, real HTTP/1.1, MLflow's protocol."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StubModel:
    """Answers POST /invocations with `predict(row)` for every row of `inputs`; GET /ping tells readiness."""

    def __init__(self, predict: Callable[[dict], float]) -> None:
        self.predict = predict
        self.delay_seconds = 0.0
        self.status = 200
        self.ready = True
        self.seen: list[dict] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

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

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128  # as model servers have it, or more: a rollback opens many connections at once

            def handle_error(self, request, client_address):
                pass  # a proxy that closes its idle connections is no error

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
