"""What one request costs a proxy in Python, by stage, without any I/O; printed as Markdown for ARCHITECTURE.md.

Real protocol objects between in-memory transports. Sockets cost about as much again in the kernel: bench/peers.py
measures the whole. Times are the best of several runs of one process: `python bench/stages.py`.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from router.link.messages import Backend, ModelRoutes, Routes, Rule, Up, frame
from router.proxy import codes, heads
from router.proxy.body_model import body_model
from router.proxy.plane import DataPlane
from router.proxy.recorder import Recorder
from router.proxy.rules import compiled, forced_role
from router.proxy.server import ClientConnection
from router.proxy.upstream import UpstreamConnection

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from memory_transport import MemoryTransport

ROUNDS = 15
REQUESTS = 4000
VARIANTS = 500
"""Requests that differ in one header, as users and traces do."""

ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 14:41:00 GMT\r\nserver: uvicorn\r\ncontent-length: 20\r\n"
    b'content-type: application/json\r\n\r\n{"predictions": [1]}'
)


class Silent(MemoryTransport):
    """Counts, keeps nothing: keeping would be measured too."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, data: bytes) -> None:  # noqa: ARG002 - an interface
        self.writes += 1

    def writelines(self, parts: list[bytes]) -> None:  # noqa: ARG002 - an interface
        self.writes += 1


class Swallow:
    """The link's end."""

    ready = True

    def send(self, message: object) -> bool:
        return message is not None


class Encoding:
    """The link's end, where what a message costs to write counts."""

    ready = True

    def send(self, message: Up) -> bool:
        return bool(frame(message))


def requests(fields: int, body: int, path: str) -> list[bytes]:
    plain = "".join(f"X-Field-{number}: value {number}\r\n" for number in range(fields - 4))
    head = f"POST {path} HTTP/1.1\r\nHost: models:8080\r\nContent-Type: application/json\r\n{plain}"
    return [
        f"{head}X-User-Id: user-{user}\r\nContent-Length: {body}\r\n\r\n".encode() + b"x" * body
        for user in range(VARIANTS)
    ]


def chat(size: int) -> bytes:
    """A body as the client of the OpenAI API writes it: the model's name stands behind the messages."""
    text = 'She said: "well", and left.\n'
    body = {"messages": [{"role": "user", "content": text * 8}] * (size // (9 * len(text)) or 1), "model": "m"}
    return json.dumps(body).encode()


def per_call(call: Callable[[], object], calls: int = 20_000) -> float:
    """Microseconds a call, the loop's own cost taken off."""

    def best(what: Callable[[], object]) -> float:
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(calls):
                what()
            times.append(time.process_time() - began)
        return min(times) / calls * 1e6

    return best(call) - best(lambda: None)


def whole(mode: str = "plain", fields: int = 4, body: int = 1024, models: int = 1, traced: int | None = None) -> float:
    """Microseconds of one request, from the client's bytes to the recorded row (and the spans, `traced` percent)."""
    routes = {
        "plain": {},
        "split": {"mode": codes.MODE_CANARY, "share": 10},
        "mirror": {"mode": codes.MODE_SHADOW, "mirror": 100},
    }[mode]
    plane = DataPlane(lambda _change: None)
    plane.apply(
        Routes(
            1,
            "bench",
            tuple(
                ModelRoutes(
                    f"m{number}",
                    "mlflow",
                    Backend(1, f"http://champion-{number}:1"),
                    Backend(2, f"http://challenger-{number}:1"),
                    assign_by="header:x-user-id",
                    rollout_id=number + 1,
                    **routes,
                )
                for number in range(models)
            ),
            traced=traced,
        )
    )
    servers = []
    for target in plane.table.targets():
        for served in (target.champion, target.other):
            connection = UpstreamConnection(served.endpoint)
            transport = Silent()
            connection.connection_made(transport)
            served.endpoint.release(connection, float("inf"))
            servers.append((connection, transport))
    client = ClientConnection(plane)
    client.connection_made(Silent())
    calls = [requests(fields, body, f"/models/m{number}/invocations") for number in range(models)]
    asked = servers[: 2 * min(models, 1)]

    def run() -> None:
        for number in range(REQUESTS):
            model = number % models
            client.data_received(calls[model][number % VARIANTS])
            for connection, transport in asked if models == 1 else servers[2 * model : 2 * model + 2]:
                if transport.writes:
                    transport.writes = 0
                    connection.data_received(ANSWER)
                    connection.idle_since = float("inf")
            if traced is not None and number % 64 == 0:
                plane.spans.flush(Encoding())
        plane.recorder.flush(Swallow())

    run()
    gc.collect()
    gc.freeze()
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best / REQUESTS * 1e6


def stages() -> list[tuple[str, float]]:
    plane = DataPlane(lambda _change: None)
    model = ModelRoutes(
        "m", "mlflow", Backend(1, "http://a:1"), Backend(2, "http://b:1"), mode=2, share=10, rollout_id=3
    )
    plane.apply(Routes(1, "bench", (model,)))
    target = plane.table.targets()[0]
    data = requests(4, 1024, "/invocations")[0]
    end, limits = data.find(heads.END), plane.limits
    answer = ANSWER[: ANSWER.find(heads.END)]
    request = heads.usual_request(data, end, limits)
    recorder = Recorder(10**9)
    parts = [data[:100], data[100:end], data[end:]]
    return [
        (
            "parse the request's head (4 fields)",
            per_call(lambda: heads.usual_request(data, data.find(heads.END), limits)),
        ),
        ("make its id (UUIDv7)", per_call(plane.identities.fresh)),
        ("find its model", per_call(lambda: plane.table.match(b"POST", b"/invocations"))),
        *(
            (f"find its model in a body of {size} KiB (route_by: body.model only)", per_call(partial(body_model, body)))
            for size, body in ((size, chat(size * 1024)) for size in (1, 16))
        ),
        (
            "assign it (split only: find the key, draw)",
            per_call(lambda: target.assignment.to_other(request.field(b"x-user-id"))),
        ),
        *(
            (
                f"hold it against a rule by {source} (4 fields)",
                per_call(lambda rules=rules, path=path: forced_role(rules, request, path)),
            )
            for source in ("header:x-tenant", "query:titleshot", "cookie:beta", "path", "path:2")
            for rules, path in [(compiled([Rule(source, codes.CHAMPION, ("acme", "initech"))]), b"/invocations?a=b")]
        ),
        ("join a message (each of two)", per_call(lambda: b"".join(parts))),
        ("parse the answer's head", per_call(lambda: heads.usual_answer(answer))),
        (
            "record it",
            per_call(lambda: recorder.record("m", 1.0, 3, 1, 2, 1, b"", 0.1, 0.2, 0, 200, 0, 0, False, 0, 0)),
        ),
    ]


def main() -> None:
    print("| stage | us |\n| --- | --- |")
    for name, cost in stages():
        print(f"| {name} | {cost:.2f} |")
    for mode in ("plain", "split", "mirror"):
        print(f"| whole, {mode} | {whole(mode):.2f} |")
    print("\n| traced | pass-through, us | mirror, us |\n| --- | --- | --- |")
    for traced in (None, 0, 1, 100):
        share = "tracing off" if traced is None else f"{traced} %"
        print(f"| {share} | {whole(traced=traced):.2f} | {whole('mirror', traced=traced):.2f} |")
    print("\n| how it grows | us |\n| --- | --- |")
    for fields in (4, 16, 64):
        print(f"| {fields} header fields | {whole(fields=fields):.2f} |")
    for size in (128, 1024, 16 * 1024, 64 * 1024):
        print(f"| body of {size} bytes in one read | {whole(body=size):.2f} |")
    for models in (1, 10, 100):
        print(f"| {models} models | {whole(models=models):.2f} |")


if __name__ == "__main__":
    main()
