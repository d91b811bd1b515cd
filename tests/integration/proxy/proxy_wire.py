"""Raw HTTP over blocking sockets on both sides of a real proxy process, and a control process's end of the link."""

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from router.link.endpoint import ListenTls, Tls
from router.link.grpc_place import GrpcListen
from router.link.messages import (
    EXCHANGE_ROW,
    Backend,
    Exchanges,
    Hello,
    Limits,
    ModelRoutes,
    Routes,
    RoutesSet,
    SetRoutes,
    frame,
    read_up,
    routes_to_file,
)

WAIT = 10.0
ROW = ["at", "rollout_id", "hi", "lo", "version", "body_length", "first_byte", "latency", "flags"]
ROW += ["status", "role", "mode", "both", "outcome", "body_state"]
ANSWER = b'{"predictions": [1]}'


def until(condition: Callable[[], object], what: str = "the condition") -> object:
    """Wait until the condition holds, for a bounded time."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"waited {WAIT:g} s for {what}")


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Message:
    """An HTTP message as it came over a socket."""

    def __init__(self, head: bytes, body: bytes, raw_body: bytes) -> None:
        self.head = head
        first, *lines = head.decode("latin-1").split("\r\n")
        self.first = first
        self.fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.body = body
        self.raw_body = raw_body

    def __getitem__(self, name: str) -> str:
        return dict(self.fields)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.fields)

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    @property
    def status(self) -> int:
        return int(self.first.split()[1])


class Wire:
    """Reads HTTP messages from a blocking socket."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.buffer = b""

    def more(self) -> bool:
        data = self.raw.recv(65536)
        self.buffer += data
        return bool(data)

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError(self.buffer)
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def upto(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(self.buffer)
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken

    def head(self) -> Message:
        return Message(self.upto(b"\r\n\r\n"), b"", b"")

    def chunk(self) -> bytes:
        size = int(self.upto(b"\r\n"), 16)
        piece = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return piece

    def message(self, *, bodiless: bool = False) -> Message:
        head = self.head()
        if bodiless:
            return head
        if "transfer-encoding" in head:
            pieces = []
            while piece := self.chunk():
                pieces.append(piece)
            return Message(head.head, b"".join(pieces), b"")
        if "content-length" in head:
            return Message(head.head, self.exactly(int(head["content-length"])), b"")
        if head.first.startswith("HTTP/") and head.status not in (204, 304):
            body = b""
            with suppress(EOFError):
                while True:
                    body += self.exactly(1)
            return Message(head.head, body, b"")
        return head

    def ended(self) -> bool:
        """Whether the other side has hung up, cleanly or not; nothing more may come."""
        try:
            data = self.raw.recv(65536)
        except ConnectionError:
            return True
        assert data == b"", data
        return True


class Client(Wire):
    """One connection of a client."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, server_name: str = "titleshot") -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        super().__init__(tls.wrap_socket(raw, server_hostname=server_name) if tls is not None else raw)

    def send(self, data: bytes) -> "Client":
        self.raw.sendall(data)
        return self

    def ask(self, body: bytes = b'{"inputs": [1]}', fields: str = "", path: str = "/invocations") -> Message:
        return self.send(post(body, fields, path)).message()

    def close(self) -> None:
        self.raw.close()


def post(body: bytes = b'{"inputs": [1]}', fields: str = "", path: str = "/invocations") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: models.example\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def answer(body: bytes = ANSWER, status: str = "200 OK", fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


class ModelServer:
    """A model server whose behaviour a test writes: `behave(wire, request)` answers, or does not, on the raw socket."""

    def __init__(
        self,
        behave: Callable[[Wire, Message], object] | None = None,
        listener: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behave = behave or (lambda wire, request: wire.raw.sendall(answer()))
        self.on_connect: Callable[[Wire], object] | None = None
        self.requests: list[Message] = []
        self.connections = 0
        self.lost = threading.Event()
        self.release = threading.Event()
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self._at = self._listener.getsockname()
        self.port = self._at[1] if isinstance(self._at, tuple) else 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self) -> str:
        at = self._at
        if isinstance(at, str):
            return f"unix://{at}"
        host = f"[{at[0]}]" if ":" in at[0] else at[0]
        return f"{'https' if self._tls else 'http'}://{host}:{at[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self.connections += 1
                self._open.append(raw)
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError, EOFError):
            if self._tls is not None:
                raw = self._tls.wrap_socket(raw, server_side=True)
                self._open.append(raw)
            wire = Wire(raw)
            if self.on_connect is not None:
                self.on_connect(wire)
            while True:
                request = wire.message()
                self.requests.append(request)
                self.behave(wire, request)
        self.lost.set()
        raw.close()

    def close(self) -> None:
        self.release.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for raw in self._open:
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
            raw.close()


class Control:
    """The control process's end of the link: collects what comes up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[object] = []
        self._raw: socket.socket | None = None
        self._listener: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hang_up(self) -> None:
        for raw in (self._listener, self._raw):
            if raw is not None:
                with suppress(OSError):
                    raw.shutdown(socket.SHUT_RDWR)
                raw.close()
        self._listener = self._raw = None
        self.path.unlink(missing_ok=True)

    def send(self, message: object) -> None:
        until(lambda: self._raw, "a proxy on the link")
        self._raw.sendall(frame(message))

    def set_routes(self, routes: Routes) -> None:
        self.send(SetRoutes(routes))
        wanted = RoutesSet(routes.revision, routes.generation)
        until(lambda: wanted in self.messages, "the routes to be set")

    def of(self, kind: type) -> list:
        return [message for message in list(self.messages) if isinstance(message, kind)]

    def rows(self) -> list[dict]:
        """All recorded exchanges so far, with their bodies."""
        rows = []
        for batch in self.of(Exchanges):
            offset = 0
            for values in EXCHANGE_ROW.iter_unpack(batch.rows):
                row = dict(zip(ROW, values, strict=True))
                row["model"] = batch.model
                row["body"] = batch.bodies[offset : offset + row["body_length"]]
                offset += row["body_length"]
                rows.append(row)
        return rows

    def wait_rows(self, count: int) -> list[dict]:
        until(lambda: len(self.rows()) >= count, f"{count} rows")
        rows = self.rows()
        assert len(rows) == count, rows
        return rows

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                self._raw = raw
                threading.Thread(target=self._read, args=(raw,), daemon=True).start()

    def _read(self, raw: socket.socket) -> None:
        wire = Wire(raw)
        with suppress(OSError, EOFError):
            while True:
                self.messages.append(read_up(wire.exactly(int.from_bytes(wire.exactly(4), "big"))))


class Proxy:
    """A real proxy process on a free port."""

    def __init__(
        self, folder: Path, routes: Routes | None, tls: ListenTls | None = None, grpc: GrpcListen | None = None
    ) -> None:
        self.routes_file = folder / "routes.json"
        self.link = folder / "link.sock"
        if routes is not None:
            self.routes_file.write_bytes(routes_to_file(routes))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        call = (
            "from router.link.endpoint import ListenTls; from router.link.grpc_place import GrpcListen; "
            "from router.proxy.process import run_proxy; "
            f"run_proxy({self.listener.fileno()}, 0, 'g', {str(self.link)!r}, {str(self.routes_file)!r}, {tls!r}, "
            f"{grpc!r})"
        )
        self.errors = (folder / "stderr").open("wb+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", call], pass_fds=(self.listener.fileno(),), stderr=self.errors
        )

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End it; it must not have complained."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WAIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.listener.close()
        if self.errors.closed:
            return
        self.errors.seek(0)
        text = self.errors.read().decode()
        self.errors.close()
        assert "Traceback" not in text, text


class World:
    """A proxy between raw clients and scripted model servers, with or without control."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing: list = []
        self.control: Control | None = None
        self.proxy: Proxy
        self.limits = Limits()
        self.revision = 0

    def server(self, behave: Callable[[Wire, Message], object] | None = None, **rest) -> ModelServer:
        server = ModelServer(behave, **rest)
        self._closing.append(server.close)
        return server

    def routes(self, *models: ModelRoutes) -> Routes:
        self.revision += 1
        return Routes(self.revision, "g", models, self.limits)

    def start(
        self,
        *models: ModelRoutes,
        control: bool = True,
        tls: ListenTls | None = None,
        grpc: GrpcListen | None = None,
    ) -> Proxy:
        if control:
            self.control = Control(self._folder / "link.sock")
            self._closing.append(self.control.hang_up)
        self.proxy = Proxy(self._folder, self.routes(*models) if models else None, tls, grpc)
        if control:
            until(lambda: self.control.of(Hello), "the proxy on the link")
        return self.proxy

    def client(self, tls: ssl.SSLContext | None = None) -> Client:
        client = Client(self.proxy.port, tls)
        self._closing.append(client.close)
        return client

    def counters(self):
        from router.link.messages import Counters

        return self.control.of(Counters)[-1]

    def wait_counters(self, condition: Callable) -> None:
        """By counters that came after this call: those before it, up to a second old, say how it was before."""
        from router.link.messages import Counters

        known = len(self.control.of(Counters))
        until(lambda: len(self.control.of(Counters)) > known and condition(self.counters()), "the counters")

    def close(self) -> None:
        for close in self._closing:  # first: a proxy would wait for what is open
            close()
        self.proxy.close()


def model(
    champion: ModelServer | None, other: ModelServer | None = None, name: str = "m", tls: Tls | None = None, **rest
) -> ModelRoutes:
    trust = tls or Tls()
    return ModelRoutes(
        name,
        "mlflow",
        Backend(1, champion.url(), trust) if champion else None,
        Backend(2, other.url(), trust) if other else None,
        **rest,
    )


UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
