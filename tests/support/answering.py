"""A real HTTP server in a thread, for others that titleshot asks: what it answers is the test's to say."""

from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from quiet_server import Quiet, QuietServer


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Answering(QuietServer):
    """Keeps what it was asked; `answer` gives (status, body) or (status, body, headers), and may take its time."""

    def __init__(self, answer: Callable[[Asked], tuple]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        outer = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Asked(self.path, headers, self.rfile.read(length))
                outer.asked.append(request)
                status, body, *more = outer.answer(request)
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    for name, value in (more[0] if more else {}).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # who asked did not wait

        super().__init__(Handler)
