"""When an answer began: with its body, since a stream's head is sent before there is anything to say."""

import numpy as np
import pytest
from memory_transport import MemoryTransport

from router.control.extract import EXCHANGE
from router.link.messages import Backend, ModelRoutes, Routes
from router.proxy import codes, exchange, mirror
from router.proxy.plane import DataPlane
from router.proxy.server import ClientConnection
from router.proxy.upstream import UpstreamConnection

BODY = b'{"messages": []}'
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Link:
    ready = True

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    for module in (exchange, mirror):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("reads", "first", "latency"),
    [
        ([HEAD, b"4\r\nlate\r\n", b"0\r\n\r\n"], 2.0, 3.0),
        ([HEAD + b"4\r\nlate\r\n", b"1\r\n!\r\n", b"0\r\n\r\n"], 1.0, 3.0),
        ([HEAD, b"0\r\n\r\n"], 2.0, 2.0),  # there is no body: its end
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"], 1.0, 1.0),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"{", b"}"], 2.0, 3.0),
    ],
)
def test_the_first_byte_is_that_of_the_body(clock, reads, first, latency):
    plane = DataPlane(lambda _change: None)
    backends = Backend(1, "http://a:1"), Backend(2, "http://b:1")
    model = ModelRoutes("m", "openai", *backends, mode=codes.MODE_SHADOW, mirror=100, rollout_id=5)
    plane.apply(Routes(1, "g", (model,)))
    target = plane.table.target("m")
    servers = []
    for served in (target.champion, target.other):
        connection = UpstreamConnection(served.endpoint)
        connection.connection_made(MemoryTransport())
        served.endpoint.release(connection, float("inf"))
        servers.append(connection)
    client = ClientConnection(plane)
    client.connection_made(MemoryTransport())
    client.data_received(REQUEST)
    for read in reads:
        clock[0] += 1.0
        for server in servers:
            server.data_received(read)
    link = Link()
    plane.recorder.flush(link)
    rows = np.frombuffer(link.sent[0].rows, EXCHANGE)
    assert rows["role"].tolist() == [codes.CHAMPION, codes.CHALLENGER]
    assert rows["latency"].tolist() == [latency, latency]
    assert rows["first_byte"].tolist() == [first, first]
