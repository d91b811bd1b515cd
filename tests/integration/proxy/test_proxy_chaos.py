"""Clients and model servers that all misbehave while the routes change: nobody waits for ever, nothing is left over."""

import random
import socket
import struct
import threading
from collections import Counter

from proxy_wire import Client, answer, model, post, until

from comparator.events import Mode
from router.link.messages import Limits

CLIENTS, TURNS, WAIT_SECONDS = 8, 120, 8.0
MODES = (Mode.SHADOW, Mode.CANARY, Mode.NONE, Mode.WATCH)


def reset(raw: socket.socket) -> None:
    """Close with a reset."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def misbehaving(seed: int):
    """A model server that mostly answers."""
    chance = random.Random(seed)

    def behave(wire, _):
        turn = chance.random()
        if turn < 0.6:
            wire.raw.sendall(answer(fields=f"X-Ever-New: {turn}\r\n"))
        elif turn < 0.7:
            wire.raw.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        elif turn < 0.75:
            wire.raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            raise EOFError
        elif turn < 0.8:
            wire.raw.sendall(answer() + b"stray")
        elif turn < 0.85:
            reset(wire.raw)
            raise EOFError
        elif turn < 0.9:
            wire.raw.sendall(answer(status="500 Oh"))
        else:
            wire.raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            wire.raw.sendall(b"late")

    return behave


class Restless:
    """A client that mostly asks; it counts what it got."""

    def __init__(self, port: int, seed: int) -> None:
        self.got: Counter = Counter()
        self._port = port
        self._chance = random.Random(seed)
        self._client: Client | None = None

    def run(self) -> None:
        for _ in range(TURNS):
            try:
                if self._client is None:
                    self._client = Client(self._port)
                    self._client.raw.settimeout(WAIT_SECONDS)
                self._turn(self._client)
            except (ConnectionError, EOFError):
                self.got["ended"] += 1
                self._drop()
            except TimeoutError:
                self.got["waits for ever"] += 1
                self._drop()
        self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    def _turn(self, client: Client) -> None:
        turn, fields = self._chance.random(), f"X-User: {self._chance.random()}\r\n"
        expected = 1
        if turn < 0.5:
            client.send(post(b"x" * self._chance.choice([0, 10, 1000, 70_000]), fields))
        elif turn < 0.6:
            client.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            client.send(b"0\r\n\r\n")
        elif turn < 0.75:
            expected = self._chance.randint(2, 5)
            client.send(post(b"p", fields) * expected)
        elif turn < 0.85:
            data = post(b"in pieces", fields)
            for at in range(0, len(data), 11):
                client.send(data[at : at + 11])
        elif turn < 0.9:
            client.send(b"NO HTTP\r\n\r\n")
        else:
            client.send(post(b"y" * 5000)[: self._chance.randint(1, 5000)])
            (reset if turn < 0.95 else socket.socket.close)(client.raw)
            raise EOFError
        for _ in range(expected):
            self.got[client.message().status] += 1


def test_nobody_waits_for_ever_and_nothing_is_left_over(world):
    champion, challenger = world.server(misbehaving(1)), world.server(misbehaving(2))
    world.limits = Limits(mirror_slots=8, upstream_connections=6, breaker_wait_seconds=0.1)
    proxy = world.start(model(champion, challenger))
    clients = [Restless(proxy.port, seed) for seed in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    step = 0
    while any(thread.is_alive() for thread in threads):
        mode = MODES[step % len(MODES)]
        share, mirror = (40, 0) if mode is Mode.CANARY else (0, 0 if mode is Mode.NONE else 100)
        routes = model(champion, challenger, mode=int(mode), share=share, mirror=mirror, rollout_id=step // 4 + 1)
        world.control.set_routes(world.routes(routes))
        threads[0].join(0.2)
        step += 1
    got = sum((client.got for client in clients), Counter())
    assert got["waits for ever"] == 0
    assert got.keys() <= {200, 400, 500, 502, "ended"}
    assert got[200] > CLIENTS * TURNS / 4
    assert proxy.process.poll() is None
    world.wait_counters(lambda counters: counters.client_connections == 0)
    until(lambda: world.client().ask().status in (200, 500, 502), "an answer after all that")
