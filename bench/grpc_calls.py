"""ModelInfer through the proxy beside a direct connection, and what an idle gRPC port costs HTTP; printed as Markdown.

Client, proxy and model server are processes of their own. The model server is grpc.aio's and answers at once, so that
what is measured is the way. CPU is the proxy process's own, by /proc: it depends less on what else the machine does.
Each figure is the best of alternating runs: `python bench/grpc_calls.py [seconds of a run] [runs]`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import Queue
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from router.link.grpc_place import SERVICE, GrpcListen
from router.link.messages import Backend, ModelRoutes, Routes, routes_to_file
from router.protocols.wire import LENGTH, text_field, written
from router.proxy.process import run_proxy

METHOD = f"/{SERVICE}/ModelInfer"
CONCURRENCY = (1, 16)
SHADOW = {"mode": 1, "mirror": 100, "rollout_id": 7}


def field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | LENGTH,)) + written(len(data)) + data


REQUEST = text_field(1, "m") + field(7, bytes(1024))
_OUTPUT = text_field(1, "y") + text_field(2, "FP32") + bytes((3 << 3, 1))
ANSWER = text_field(1, "m") + field(5, _OUTPUT) + field(6, bytes(4))
HTTP_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"predictions": [1]}'
HTTP_REQUEST = b'POST /invocations HTTP/1.1\r\nhost: m\r\ncontent-length: 15\r\n\r\n{"inputs": [1]}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Model(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        del handler_call_details
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, _: bytes, __: grpc.aio.ServicerContext) -> bytes:
        return ANSWER


class HttpModel(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, _: bytes) -> None:
        self.transport.write(HTTP_ANSWER)


def serve_models(port: int, http_port: int) -> None:

    async def run() -> None:
        server = grpc.aio.server(handlers=[Model()])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        http = await asyncio.get_running_loop().create_server(HttpModel, "127.0.0.1", http_port)
        await http.serve_forever()

    uvloop.run(run())


def serve_proxy(folder: str, fd: int, listen: GrpcListen | None) -> None:
    run_proxy(fd, 0, "g", f"{folder}/link.sock", f"{folder}/routes.json", None, listen)


def ask(port: int, concurrency: int, seconds: float, done: Queue) -> None:
    """A client process: requests a second, and the latencies' median and 99 % in microseconds."""

    async def run() -> list[float]:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        call = channel.unary_unary(METHOD)
        await call(REQUEST, wait_for_ready=True, timeout=20)
        times: list[float] = []
        end = time.perf_counter() + seconds

        async def client() -> None:
            while (began := time.perf_counter()) < end:
                await call(REQUEST)
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(client() for _ in range(concurrency)))
        await channel.close()
        return times

    done.put(figures(uvloop.run(run()), seconds))


def ask_http(port: int, _: int, seconds: float, done: Queue) -> None:
    times = []
    with socket.create_connection(("127.0.0.1", port)) as raw:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            raw.sendall(HTTP_REQUEST)
            data = raw.recv(65536)
            assert data.startswith(b"HTTP/1.1 200"), data
            times.append(time.perf_counter() - began)
    done.put(figures(times, seconds))


def figures(times: list[float], seconds: float) -> tuple[float, float, float]:
    times.sort()
    return len(times) / seconds, times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6


class Proxy:
    def __init__(self, folder: str, grpc_port: int, http_port: int, *, listens: bool, **routes: int) -> None:
        model_server = Backend(1, f"http://127.0.0.1:{http_port}", grpc=f"grpc://127.0.0.1:{grpc_port}")
        routed = ModelRoutes("m", "mlflow", model_server, model_server if routes else None, **routes)
        Path(folder).mkdir()
        Path(folder, "routes.json").write_bytes(routes_to_file(Routes(1, "g", (routed,))))
        self.http = socket.create_server(("127.0.0.1", 0))
        self.port = self.http.getsockname()[1]
        self.grpc_port = free_port()
        listen = GrpcListen("127.0.0.1", self.grpc_port, 1 << 26, 1 << 15, 4096) if listens else None
        self.process = multiprocessing.Process(
            target=serve_proxy, args=(folder, self.http.fileno(), listen), daemon=True
        )
        self.process.start()
        if listens:
            until_open(self.grpc_port)

    def cpu(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1024

    def close(self) -> None:
        self.process.terminate()
        self.process.join()
        self.http.close()


def until_open(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(port)


def measured(client: Callable, port: int, concurrency: int, seconds: float, proxy: Proxy | None) -> tuple[float, ...]:
    """Requests a second, median and 99 % in microseconds, and the proxy's CPU in microseconds a request."""
    done = multiprocessing.Queue()
    before = proxy.cpu() if proxy is not None else 0.0
    asking = multiprocessing.Process(target=client, args=(port, concurrency, seconds, done))
    asking.start()
    rate, median, most = done.get(timeout=60)
    asking.join()
    used = (proxy.cpu() - before) / (rate * seconds) * 1e6 if proxy is not None else 0.0
    return rate, median, most, used


def best(runs: list[tuple[float, ...]]) -> tuple[float, ...]:
    """What else the machine does only makes it slower."""
    rates, *costs = zip(*runs, strict=True)
    return max(rates), *map(min, costs)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    multiprocessing.set_start_method("fork")
    grpc_port, http_port = free_port(), free_port()
    models = multiprocessing.Process(target=serve_models, args=(grpc_port, http_port), daemon=True)
    models.start()
    until_open(grpc_port)
    until_open(http_port)
    with tempfile.TemporaryDirectory() as folder:
        through = Proxy(f"{folder}/1", grpc_port, http_port, listens=True)
        mirroring = Proxy(f"{folder}/2", grpc_port, http_port, listens=True, **SHADOW)
        ways = [("direct", grpc_port, None), ("through titleshot", through.grpc_port, through)]
        ways.append(("mirrored, 100 %", mirroring.grpc_port, mirroring))
        print("| gRPC, 1 KiB | calls at once | requests/s | p50, us | p99, us | CPU of the proxy, us |")
        print("| --- | --- | --- | --- | --- | --- |")
        for concurrency in CONCURRENCY:
            found: dict[str, list] = {name: [] for name, _, _ in ways}
            for _ in range(runs):
                for name, port, proxy in ways:
                    found[name].append(measured(ask, port, concurrency, seconds, proxy))
            for name, _, proxy in ways:
                rate, median, most, cpu = best(found[name])
                cost = f"{cpu:.0f}" if proxy is not None else ""
                print(f"| {name} | {concurrency} | {rate:.0f} | {median:.0f} | {most:.0f} | {cost} |")
        plain = Proxy(f"{folder}/3", grpc_port, http_port, listens=False)
        print("\n| HTTP, one connection | requests/s | p50, us | p99, us | CPU of the proxy, us | its memory, MiB |")
        print("| --- | --- | --- | --- | --- | --- |")
        pair = [("no gRPC port", plain), ("an idle gRPC port", through)]
        found = {name: [] for name, _ in pair}
        for _ in range(2 * runs):
            pair.reverse()
            for name, proxy in pair:
                found[name].append(measured(ask_http, proxy.port, 1, seconds, proxy))
        for name, proxy in pair:
            rate, median, most, cpu = best(found[name])
            print(f"| {name} | {rate:.0f} | {median:.0f} | {most:.0f} | {cpu:.1f} | {proxy.memory():.0f} |")
        for proxy in (through, mirroring, plain):
            proxy.close()
    models.terminate()


if __name__ == "__main__":
    main()
