"""Several models behind one address: the body names which."""

import gc
import json
import weakref

import msgspec
import pytest
from memory_transport import MemoryTransport

from router.link.messages import Backend, Limits, ModelRoutes, Routes
from router.proxy.held import MOST_PIECES
from router.proxy.plane import DataPlane
from router.proxy.server import ClientConnection
from router.proxy.upstream import UpstreamConnection

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
SCAN = 4096


class Rig:
    """A client's connection and one kept connection to each model's server, in memory."""

    def __init__(self, names=("one", "two"), *, by_body=True, **limits):
        self.plane = DataPlane(lambda _change: None)
        models = tuple(
            ModelRoutes(name, "openai", Backend(1, f"http://{name}:1"), served_as="org/two" if name == "two" else "")
            for name in names
        )
        self.plane.apply(Routes(1, "g", models, Limits(scan_bytes=SCAN, **limits), by_body=by_body))
        self.servers = {}
        for target in self.plane.table.targets():
            connection = UpstreamConnection(target.champion.endpoint)
            transport = MemoryTransport()
            connection.connection_made(transport)
            target.champion.endpoint.release(connection, float("inf"))
            self.servers[target.name] = (connection, transport)
        self.client = ClientConnection(self.plane)
        self.transport = MemoryTransport()
        self.client.connection_made(self.transport)

    def send(self, data):
        self.client.data_received(data)

    def asked(self):
        return [name for name, (_, transport) in self.servers.items() if transport.written]

    def answer(self, name):
        connection, transport = self.servers[name]
        connection.data_received(ANSWER)
        transport.journal.clear()
        connection.idle_since = float("inf")

    def refused(self):
        return json.loads(self.transport.written.rpartition(b"\r\n\r\n")[2])["error"]["code"]


def request(body, path="/v1/chat/completions", more=""):
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def unchunked(data):
    whole = b""
    while not data.startswith(b"0\r\n"):
        size, _, rest = data.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return whole


def chat(model, words=3):
    body = {"messages": [{"role": "user", "content": 'the "model": "none" ' * words}], "stream": True, "model": model}
    return json.dumps(body).encode()


def test_a_body_in_one_read_goes_where_it_says_as_it_is():
    rig = Rig()
    body = chat("org/two")
    rig.send(request(body))
    assert rig.asked() == ["two"]
    assert rig.servers["two"][1].written.endswith(b"\r\n\r\n" + body)
    rig.answer("two")
    rig.send(request(chat("one")))
    assert rig.asked() == ["one"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_body_in_pieces_is_held_until_it_is_there(size):
    rig = Rig()
    body = chat("one")
    whole = request(body)
    for start in range(0, len(whole), size):
        assert rig.asked() == []
        rig.send(whole[start : start + size])
    assert rig.asked() == ["one"]
    assert rig.servers["one"][1].written.endswith(b"\r\n\r\n" + body)
    rig.answer("one")
    assert rig.transport.written.endswith(b"\r\n\r\n{}")


def test_no_more_is_held_than_is_looked_through():
    rig = Rig()
    body = b'{"model": "one", "pad": "' + b"x" * 3 * SCAN + b'"}'
    whole = request(body)
    rig.send(whole[:SCAN])
    assert rig.asked() == []
    rig.send(whole[SCAN : SCAN + 500])
    assert rig.asked() == ["one"]
    rig.send(whole[SCAN + 500 :])
    assert rig.servers["one"][1].written.endswith(b"\r\n\r\n" + body)


def test_chunked_bodies_and_expectations():
    rig = Rig()
    body = chat("one")
    head = b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    rig.send(head)
    assert rig.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    rig.send(b"%x\r\n%b\r\n" % (len(body[:20]), body[:20]))
    assert rig.asked() == []
    rig.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body[20:]), body[20:]))
    assert rig.asked() == ["one"]
    assert rig.transport.written.count(b"100 Continue") == 1
    rig.answer("one")
    assert rig.transport.written.endswith(b"\r\n\r\n{}")


def test_a_body_that_comes_byte_by_byte_is_not_kept_byte_by_byte():
    rig = Rig()
    body = chat("one", words=150)
    rig.send(b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in body:
        rig.send(b"1\r\n%c\r\n" % byte)
        assert rig.asked() == []
        assert len(rig.client._exchange._request.chunks) <= MOST_PIECES
    rig.send(b"0\r\n\r\n")
    assert rig.asked() == ["one"]
    sent = rig.servers["one"][1].written.partition(b"\r\n\r\n")[2]
    assert unchunked(sent) == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "unnamed_model"),
        (b'{"pad": "' + b"x" * SCAN + b'", "model": "one"}', "unnamed_model"),
        (chat("three"), "unknown_model"),
        (chat("two"), "unknown_model"),  # it is called org/two
    ],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_refusals(body, code, pieces):
    rig = Rig()
    whole = request(body)
    half = len(whole) // pieces
    rig.send(whole[:half])
    if pieces == 2:
        assert rig.asked() == []
        rig.send(whole[half:])
    assert rig.refused() == code
    assert rig.asked() == []
    assert not rig.transport.ended  # the next request may follow
    rig.send(request(chat("one")))
    assert rig.asked() == ["one"]


@pytest.mark.parametrize(
    "data",
    [b"GET /v1/files HTTP/1.1\r\nHost: t\r\n\r\n", request(b"", more="X-Nothing: 1\r\n").replace(b"POST", b"PUT")],
)
def test_only_what_is_posted_names_a_model_in_its_body(data):
    rig = Rig()
    rig.send(data)
    assert rig.refused() == "unknown_model"


def test_a_path_that_names_the_model_needs_no_body():
    rig = Rig()
    rig.send(request(b"no JSON", "/models/two/v1/chat/completions")[:-2])
    assert rig.asked() == ["two"]


def test_the_only_model_and_routing_by_path_hold_nothing():
    for rig in (Rig(("one",)), Rig(("one",), by_body=False)):
        rig.send(request(chat("anything"))[:-2])
        assert rig.asked() == ["one"]
    rig = Rig(by_body=False)
    rig.send(request(chat("one")))
    assert rig.refused() == "unknown_model"


def test_clients_that_are_slow_or_leave_or_are_malformed():
    rig = Rig(client_body_seconds=30.0)
    rig.send(request(chat("one"))[:-2])
    rig.client.sweep(rig.client._exchange._started + 29)
    assert not rig.transport.written
    rig.client.sweep(rig.client._exchange._started + 31)
    assert rig.refused() == "slow_request"

    rig = Rig()
    rig.send(request(chat("one"))[:-2])
    rig.client.connection_lost(None)
    assert rig.asked() == []

    rig = Rig()
    rig.send(b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    rig.send(b"nonsense\r\n")
    assert rig.refused() == "malformed"


def test_requests_behind_a_held_one_wait_for_it():
    rig = Rig()
    first, second = request(chat("one")), request(chat("org/two"))
    rig.send(first[:-5])
    rig.send(first[-5:] + second)
    assert rig.asked() == ["one"]
    rig.answer("one")
    assert rig.asked() == ["two"]


def get(path, method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode()


def test_who_asks_which_models_there_are_is_told_by_us():
    rig = Rig()
    rig.send(get("/v1/models?x=1"))
    head, _, body = rig.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body))
    assert b"connection: close" not in head
    told = json.loads(body)
    assert told["object"] == "list"
    assert [(each["id"], each["object"]) for each in told["data"]] == [("one", "model"), ("org/two", "model")]
    assert rig.asked() == []
    assert rig.plane.counters().refused == {}
    rig.transport.journal.clear()
    rig.send(get("/v1/models", "HEAD"))
    assert rig.transport.written.endswith(b"\r\n\r\n")
    assert rig.transport.written.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1/models/one", "one"), ("/v1/models/org/two", "two"), ("/v1/models/org%2Ftwo", "two")],
)
def test_a_model_that_is_asked_about_is_its_champions(path, asked):
    rig = Rig()
    rig.send(get(path))
    assert rig.asked() == [asked]


@pytest.mark.parametrize("path", ["/v1/models/three", "/v1/modelsone", "/v1/models/"])
def test_a_model_that_is_not_there_is_not_asked_about(path):
    rig = Rig()
    rig.send(get(path))
    assert rig.refused() == "unknown_model"


def test_a_model_without_a_champion_is_not_listed():
    rig = Rig()
    one, two = rig.plane.table.models
    routes = Routes(2, "g", (one, msgspec.structs.replace(two, champion=None)), Limits(), by_body=True)
    rig.plane.apply(routes)
    rig.send(get("/v1/models"))
    assert [each["id"] for each in json.loads(rig.transport.written.rpartition(b"\r\n\r\n")[2])["data"]] == ["one"]


def test_without_names_in_bodies_the_list_is_the_model_servers():
    rig = Rig(("one",))
    rig.send(get("/v1/models"))
    assert rig.asked() == ["one"]
    rig = Rig(by_body=False)
    rig.send(get("/v1/models"))
    assert rig.refused() == "unknown_model"


@pytest.mark.parametrize(
    "data",
    [
        get("/v1/models"),
        get("/nothing"),
        request(b"[]"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"no HTTP\r\n\r\n",
        request(chat("one")) + b"no HTTP\r\n\r\n",  # in its turn, which never comes
    ],
)
def test_an_answer_of_our_own_keeps_nothing_of_whom_it_answered(data):
    clients = []
    rigs = [Rig() for _ in range(3)]
    for rig in rigs:
        client, transport = ClientConnection(rig.plane), MemoryTransport()
        client.connection_made(transport)
        client.data_received(data)
        client.connection_lost(None)
        clients.append(weakref.ref(transport))
    del client, transport
    gc.collect()
    assert [each() for each in clients] == [None] * 3
