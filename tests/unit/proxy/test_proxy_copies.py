"""What goes to the challenger, in which order, and what the rows say of it."""

import msgspec
import pytest
from memory_transport import MemoryTransport

from router.link.messages import (
    COPY_FIRST,
    EXCHANGE_ROW,
    GRPC_CONTENT,
    SHED,
    Backend,
    Limits,
    ModelRoutes,
    Routes,
    Sampled,
    SampledRequest,
    frame,
    read_up,
)
from router.proxy import codes
from router.proxy.plane import DataPlane
from router.proxy.sampler import of_call
from router.proxy.server import ClientConnection
from router.proxy.upstream import UpstreamConnection

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"predictions": [1]}'
FLAGS, ROLE, BOTH = 8, 10, 12


class Desk:
    """A data plane with one client and one kept connection to each model server, all in memory."""

    def __init__(self, limits: Limits | None = None, **routes) -> None:
        self.journal: list[tuple[str, bytes]] = []
        self.plane = DataPlane(lambda _change: None)
        model = ModelRoutes(
            "m",
            "mlflow",
            Backend(1, "http://champion:1"),
            Backend(2, "http://challenger:1"),
            **({"mode": codes.MODE_SHADOW, "mirror": 100, "rollout_id": 7} | routes),
        )
        self.plane.apply(Routes(1, "g", (model,), limits or Limits()))
        self.target = self.plane.table.target("m")
        self.servers = {
            "champion": self._connected("champion", self.target.champion.endpoint),
            "challenger": self._connected("challenger", self.target.other.endpoint),
        }
        self.client = ClientConnection(self.plane)
        self.client.connection_made(MemoryTransport(self.journal, "client"))

    def _connected(self, name, endpoint):
        connection = UpstreamConnection(endpoint)
        connection.connection_made(MemoryTransport(self.journal, name))
        endpoint.release(connection, float("inf"))  # taken as alive
        return connection

    def ask(self, fields: str = "", body: bytes = b"{}") -> list[tuple[str, bytes]]:
        """One request, answered by whoever was asked; what was written meanwhile."""
        before = len(self.journal)
        head = f"POST /invocations HTTP/1.1\r\nHost: m\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self.client.data_received(head.encode() + body)
        for name, _ in self.journal[before:]:
            if name in self.servers:
                self.servers[name].data_received(ANSWER)
                self.servers[name].idle_since = float("inf")
        return self.journal[before:]

    def rows(self) -> list[tuple]:
        messages = []

        class Kept:
            ready = True

            def send(self, message) -> bool:
                messages.append(message)
                return True

        self.plane.recorder.flush(Kept())
        return [row for message in messages for row in EXCHANGE_ROW.iter_unpack(message.rows)]


@pytest.mark.parametrize(("random_order", "orders"), [(False, {"champion"}), (True, {"champion", "challenger"})])
def test_the_champion_is_asked_first_unless_the_order_is_drawn(random_order, orders):
    desk = Desk(mirror_random_order=random_order)
    first = [desk.ask()[0][0] for _ in range(64)]
    assert set(first) == orders
    rows = desk.rows()
    assert len(rows) == 128
    for role in (codes.CHAMPION, codes.CHALLENGER):
        flags = [row[FLAGS] for row in rows if row[ROLE] == role]
        assert flags == [COPY_FIRST if name == "challenger" else 0 for name in first]
    assert all(row[BOTH] for row in rows)


def test_the_order_is_part_of_what_the_id_decides():
    """A client's own id gives the same order again: a repeated request is not asked twice in a lucky order."""
    desk = Desk(mirror_random_order=True, request_id="header:x-request-id")
    for number in range(16):
        one, two = (desk.ask(f"x-request-id: {number}\r\n")[0][0] for _ in range(2))
        assert one == two


def test_credentials_do_not_go_with_the_copy():
    secrets = ["Authorization: Bearer x", "Cookie: a=b", "X-Api-Key: k", "Proxy-Authorization: Basic y"]
    told = {name: data for name, data in Desk().ask("".join(f"{line}\r\n" for line in secrets)) if name != "client"}
    for line in secrets:
        assert line.encode() in told["champion"]
        assert line.split(":")[0].encode() not in told["challenger"]
    assert b"x-titleshot-shadow: 1\r\n" in told["challenger"]
    assert b"x-titleshot-shadow" not in told["champion"]


def test_credentials_go_with_the_copy_where_the_settings_say_so():
    written = Desk(mirror_credentials=True).ask("Authorization: Bearer x\r\n")
    told = {name: data for name, data in written if name != "client"}
    assert b"Authorization: Bearer x\r\n" in told["challenger"]


def test_a_shed_copy_is_told_by_the_champions_row():
    desk = Desk(Limits(mirror_body_bytes=10))
    desk.ask(body=b"x" * 11)
    desk.ask(body=b"x" * 10)
    flags = [(row[ROLE], row[FLAGS], bool(row[BOTH])) for row in desk.rows()]
    assert flags[0] == (codes.CHAMPION, SHED, False)
    assert sorted(flags[1:]) == [(codes.CHAMPION, 0, True), (codes.CHALLENGER, 0, True)]


def test_a_copy_that_was_shed_was_not_first():
    desk = Desk(Limits(mirror_slots=0), mirror_random_order=True)
    for _ in range(16):
        desk.ask()
    assert {row[FLAGS] for row in desk.rows()} == {SHED}


def test_a_large_body_that_is_whole_before_there_is_a_connection_leaves_the_client_readable():
    """Else its next request would never be read."""
    desk = Desk(Limits(upstream_connections=1), mode=codes.MODE_NONE, mirror=0)
    endpoint, server = desk.target.champion.endpoint, desk.servers["champion"]
    endpoint._idle.clear()  # the one connection is in use
    body = b"x" * 70_000
    desk.client.data_received(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 70000\r\n\r\n" + body[:60_000])
    desk.client.data_received(body[60_000:])
    endpoint.release(server, float("inf"))
    server.data_received(ANSWER)
    assert desk.client.transport.reading
    assert desk.journal[-1][1].startswith(b"HTTP/1.1 200 OK")


class Link:
    """Control, there or away."""

    def __init__(self):
        self.away = False
        self.taken = []
        self.requests = []

    def send(self, message) -> bool:
        if not self.away:
            self.taken.append((len(message.requests), message.dropped))
            self.requests += message.requests
        return not self.away


def test_requests_for_a_recording_that_are_too_long_are_counted():
    desk, link = Desk(Limits(mirror_body_bytes=8), mode=codes.MODE_NONE, mirror=0, sample=100), Link()
    desk.ask(body=b"{}")
    chunked = b"POST /invocations HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n"
    desk.client.data_received(chunked % (9, b"123456789"))
    desk.client.data_received(b"0\r\n\r\n")
    desk.plane.sampler.flush(link)
    desk.plane.sampler.flush(link)
    assert link.taken == [(1, 1)]


def test_a_request_did_not_come_over_grpc_because_its_client_says_so():
    desk, link = Desk(mode=codes.MODE_NONE, mirror=0, sample=100), Link()
    desk.ask("Content-Type: application/grpc\r\n")
    desk.plane.sampler.flush(link)
    (sampled,) = link.requests
    assert (sampled.content_type, sampled.over_grpc) == (GRPC_CONTENT, False)
    called = of_call(1.5, (1, 2), "/inference.GRPCInferenceService/ModelInfer", b"\x0a\x01m")
    assert called.over_grpc
    message = Sampled("m", [sampled, called])
    assert read_up(frame(message)[4:]) == message


def test_a_proxy_that_does_not_say_yet_what_came_over_grpc_is_understood():
    told = [1.5, 1, 2, b"POST", b"/invocations", GRPC_CONTENT, b"", b"", b"{}"]
    message = read_up(msgspec.msgpack.encode({"t": "sampled", "model": "m", "requests": [told]}))
    assert message == Sampled("m", [SampledRequest(*told)])
    assert not message.requests[0].over_grpc


def test_what_control_was_not_there_for_is_told_later():
    desk, link = Desk(mode=codes.MODE_NONE, mirror=0, sample=100), Link()
    link.away = True
    desk.ask()
    desk.plane.sampler.flush(link)
    desk.plane.sampler.flush(link)
    link.away = False
    desk.ask()
    desk.plane.sampler.flush(link)
    assert link.taken == [(1, 1)]
    assert desk.plane.sampler.dropped == 1
