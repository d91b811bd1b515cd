"""One model, no rollout: what passes through, unchanged, and what does not."""

import socket
import threading

import msgspec
from proxy_wire import ANSWER, UUID7, Client, answer, model, post, until

from comparator.events import Mode, Outcome, Role, request_key
from router.link.messages import BODY_DEFLATE, BODY_GZIP, BODY_UNREAD, BODY_WHOLE, Limits


def test_a_prediction_passes_and_is_recorded(world):
    server = world.server()
    world.start(model(server))
    got = world.client().ask(b"\x00\xff bytes", "Content-Type: application/json\r\nX-Custom: Kept\r\n")
    assert (got.status, got.body) == (200, ANSWER)
    assert UUID7.fullmatch(got["x-titleshot-id"])
    (asked,) = server.requests
    assert asked.first == "POST /invocations HTTP/1.1"
    assert asked.body == b"\x00\xff bytes"
    assert asked["x-custom"] == "Kept"
    assert asked["host"] == f"127.0.0.1:{server.port}"
    assert asked["x-forwarded-for"] == "127.0.0.1"
    assert asked["x-forwarded-proto"] == "http"
    assert asked["x-forwarded-host"] == "models.example"
    assert asked["x-request-id"] == asked["x-titleshot-id"] == got["x-titleshot-id"]
    (row,) = world.control.wait_rows(1)
    assert row["hi"] << 64 | row["lo"] == request_key(got["x-titleshot-id"])
    assert (row["role"], row["mode"], row["outcome"]) == (Role.CHAMPION, Mode.NONE, Outcome.OK)
    assert (row["version"], row["status"], row["both"]) == (1, 200, 0)
    assert (row["body_state"], row["body"]) == (BODY_WHOLE, ANSWER)
    assert 0 <= row["first_byte"] <= row["latency"] < 10


def test_hop_by_hop_fields_are_removed_both_ways(world):
    server = world.server(
        lambda wire, _: wire.raw.sendall(
            answer(fields="Connection: x-inner\r\nX-Inner: 1\r\nKeep-Alive: 5\r\nSet-Cookie: a=b\r\nX-Outer: 1\r\n")
        )
    )
    world.start(model(server))
    got = world.client().ask(
        fields="Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\n"
        "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: r1\r\nTraceparent: 00-t\r\n"
        "X-Titleshot-Shadow: 1\r\nX-Titleshot-Id: faked\r\nCookie: c=d\r\n"
    )
    assert "x-inner" not in got
    assert "keep-alive" not in got
    assert (got["set-cookie"], got["x-outer"]) == ("a=b", "1")
    (asked,) = server.requests
    for name in ("connection", "x-secret", "keep-alive", "te", "trailer", "x-titleshot-shadow"):
        assert name not in asked
    assert asked["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert asked.all("x-forwarded-proto") == ["https"]
    assert asked.all("x-request-id") == ["r1"]
    assert (asked["traceparent"], asked["cookie"]) == ("00-t", "c=d")
    assert asked.all("x-titleshot-id") == [got["x-titleshot-id"]] != ["faked"]


def test_connections_are_kept_on_both_sides(world):
    server = world.server()
    world.start(model(server))
    client = world.client()
    for _ in range(20):
        assert client.ask().status == 200
    assert server.connections == 1
    assert len({row["lo"] for row in world.control.wait_rows(20)}) == 20


def test_pipelined_requests_are_answered_in_order(world):
    server = world.server(lambda wire, request: wire.raw.sendall(answer(request.body)))
    world.start(model(server))
    bodies = [b"%d" % number for number in range(50)]
    client = world.client().send(b"".join(map(post, bodies)))
    assert [client.message().body for _ in bodies] == bodies


def test_pipelined_refusals_keep_their_place(world):
    world.start(model(world.server()), model(world.server(), name="other"))
    # without bodies: one whose body has yet to come when it is refused ends its connection
    unknown = b"GET /models/none/x HTTP/1.1\r\nHost: a\r\n\r\n"
    client = world.client().send(
        post(path="/models/m/invocations") + unknown * 3000 + post(path="/models/other/invocations")
    )
    assert [client.message().status for _ in range(3002)] == [200, *[404] * 3000, 200]


def test_a_request_in_single_bytes(world):
    server = world.server()
    world.start(model(server))
    client = world.client()
    client.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(b"slow", "X-A: b\r\n"):
        client.send(bytes([byte]))
    assert client.message().status == 200
    assert server.requests[0].body == b"slow"
    assert server.requests[0]["x-a"] == "b"


def test_chunked_both_ways_and_trailers_dropped(world):
    server = world.server(
        lambda wire, _: wire.raw.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n"
            b'8\r\n{"predic\r\nc\r\ntions": [1]}\r\n0\r\nX-T: smuggled\r\n\r\n'
        )
    )
    world.start(model(server))
    client = world.client().send(
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nAuthorization: smuggled\r\n\r\n"
    )
    got = client.message()
    assert got.body == ANSWER
    assert "x-t" not in got
    assert "trailer" not in got
    assert server.requests[0].body == b"abcde"
    assert "authorization" not in server.requests[0]
    assert client.ask().status == 200
    assert world.control.wait_rows(2)[0]["body"] == ANSWER


def test_an_answer_until_close_and_http_1_0(world):
    def behave(wire, _):
        wire.raw.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        wire.raw.shutdown(socket.SHUT_RDWR)

    server = world.server(behave)
    world.start(model(server))
    got = world.client().ask()
    assert (got.body, got["transfer-encoding"]) == (b"until the end", "chunked")
    old = world.client().send(b"POST /invocations HTTP/1.0\r\nContent-Length: 1\r\n\r\na").message()
    assert (old.body, old["connection"]) == (b"until the end", "close")
    assert "transfer-encoding" not in old


def test_http_1_0_keep_alive(world):
    world.start(model(world.server()))
    client = world.client()
    for _ in range(2):
        client.send(b"POST /invocations HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na")
        assert client.message()["connection"] == "keep-alive"
    client.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\na")
    assert client.message()["connection"] == "close"
    assert client.ended()


def test_expect_100_continue(world):
    server = world.server()
    world.start(model(server))
    client = world.client().send(
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    assert client.head().status == 100
    assert client.send(b"abc").message().status == 200
    assert "expect" not in server.requests[0]
    client.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 3\r\n\r\n")
    assert client.message().status == 417


def test_informational_answers_pass_and_the_final_one_follows(world):
    server = world.server(
        lambda wire, _: wire.raw.sendall(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer()
        )
    )
    world.start(model(server))
    client = world.client().send(post())
    early = client.head()
    assert (early.status, early["link"]) == (103, "</a>")
    assert client.message().body == ANSWER


def test_head_204_and_304_have_no_body(world):
    lengths = {"/head": b"200 OK\r\nContent-Length: 999", "/none": b"204 No Content", "/same": b"304 Not Modified"}
    server = world.server(
        lambda wire, request: wire.raw.sendall(b"HTTP/1.1 %b\r\n\r\n" % lengths[request.first.split()[1]])
    )
    world.start(model(server))
    client = world.client()
    for _ in range(2):
        got = client.send(b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").message(bodiless=True)
        assert (got.status, got["content-length"]) == (200, "999")
        for path, status in (("/none", 204), ("/same", 304)):
            got = client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode()).message()
            assert got.status == status
    assert server.connections == 1
    assert len(server.requests) == 6


def test_an_upgrade_that_we_do_not_speak_is_served_whole(world):
    server = world.server()
    world.start(model(server))
    client = world.client()
    fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    assert client.ask(b"whole body", fields).status == 200
    assert client.ask(b"next").status == 200
    client.send(
        f"POST /invocations HTTP/1.1\r\nHost: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode()
    )
    client.send(b"2\r\nde\r\n0\r\n\r\n")
    got = client.message()
    assert (got.status, got["connection"]) == (200, "close")  # chunks and an upgrade: the last of its connection
    assert client.ended()
    client = world.client()
    pipelined = f"GET /ping HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode() + post(b"next too")
    client.send(pipelined)
    assert [client.message().status for _ in range(2)] == [200, 200]
    assert [request.body for request in server.requests] == [b"whole body", b"next", b"abcde", b"", b"next too"]
    assert "upgrade" not in server.requests[0]
    assert "http2-settings" not in server.requests[0]


def test_an_early_answer_reaches_the_client_and_ends_the_connection(world):
    server = world.server()
    server.on_connect = lambda wire: (
        wire.head(),
        wire.raw.sendall(answer(b"no", "403 Forbidden")),
        server.release.wait(),
    )
    world.start(model(server))
    client = world.client().send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome")
    got = client.message()
    assert (got.status, got.body, got["connection"]) == (403, b"no", "close")
    assert client.ended()
    (row,) = world.control.wait_rows(1)
    assert row["outcome"] == Outcome.CLIENT_ERROR


def test_a_large_body_streams_both_ways_with_back_pressure(world):
    size = 24 * 1024 * 1024
    begun = threading.Event()

    def behave(wire, request):
        begun.set()
        wire.raw.sendall(answer(request.body))

    server = world.server(behave)
    world.start(model(server))
    client = world.client()
    body = bytes(range(256)) * (size // 256)
    sender = threading.Thread(target=client.send, args=(post(body),))
    sender.start()
    assert begun.wait(20)
    sender.join()
    resident = _resident_bytes(world.proxy.process.pid)  # the client reads nothing yet
    assert resident < 80 * 1024 * 1024
    assert client.message().body == body
    (row,) = world.control.wait_rows(1)
    assert (row["body_state"], row["body"]) == (BODY_UNREAD, b"")


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - not a file of ours
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_each_piece_of_a_streamed_answer_is_forwarded_when_it_comes(world):
    server = world.server()

    def behave(wire, _):
        wire.raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            piece = b"data: %d\n\n" % number
            wire.raw.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            server.release.wait(10)
            server.release.clear()
        wire.raw.sendall(b"0\r\n\r\n")

    server.behave = behave
    world.start(model(server))
    client = world.client().send(post())
    client.head()
    for number in range(5):
        assert client.chunk() == b"data: %d\n\n" % number  # the next one is not even sent yet
        server.release.set()
    assert client.chunk() == b""


def test_models_are_found_by_prefix_and_the_prefix_is_stripped(world):
    one, two = world.server(), world.server()
    world.start(model(one, name="one"), model(two, name="two words"))
    client = world.client()
    assert client.ask(path="/models/one/invocations?a=b").status == 200
    assert client.ask(path="/models/two%20words/invocations").status == 200
    assert one.requests[0].first == "POST /invocations?a=b HTTP/1.1"
    assert two.requests[0].first == "POST /invocations HTTP/1.1"
    for path in ("/models/three/invocations", "/invocations", "/models/", "/ping"):
        got = client.ask(path=path)
        assert got.status == 404
        assert b"unknown_model" in got.body
        assert b"one" not in got.body.replace(b"unknown", b"")
        assert b"two" not in got.body
        assert UUID7.fullmatch(got["x-titleshot-id"])
    world.wait_counters(lambda counters: counters.refused.get("unknown_model") == 4)
    assert {row["model"] for row in world.control.wait_rows(2)} == {"one", "two words"}


def test_an_endpoint_with_a_base_path_and_an_absolute_target(world):
    server = world.server()
    routes = model(server)
    world.start(
        type(routes)("m", "mlflow", type(routes.champion)(1, server.url() + "/base/")),
    )
    assert (
        world.client()
        .send(b"POST http://models.example/invocations?q HTTP/1.1\r\nHost: models.example\r\nContent-Length: 0\r\n\r\n")
        .message()
        .status
        == 200
    )
    assert server.requests[0].first == "POST /base/invocations?q HTTP/1.1"


def test_other_paths_pass_to_the_champion_unrecorded(world):
    server = world.server()
    world.start(model(server))
    client = world.client()
    for path in (b"/ping", b"/health", b"/version", b"/anything?x=1"):
        assert client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path).message().status == 200
    client.ask()
    assert len(world.control.wait_rows(1)) == 1


def test_the_clients_own_id_is_the_key(world):
    server = world.server()
    world.start(model(server, request_id="header:X-Order"))
    client = world.client()
    for own in ("order 17", "0190163d-8694-739b-aea5-966c26f8ad91", "0190163D8694739BAEA5966C26F8AD91"):
        got = client.ask(fields=f"X-Order: {own}\r\n")
        assert got["x-titleshot-id"] == own
        until(lambda own=own: _key_of_last(world) == request_key(own))
    assert UUID7.fullmatch(client.ask()["x-titleshot-id"])


def _key_of_last(world):
    rows = world.control.rows()
    return rows[-1]["hi"] << 64 | rows[-1]["lo"] if rows else None


def test_no_champion_is_503_and_no_routes_too(world):
    world.start(control=True)
    got = world.client().ask()
    assert got.status == 503
    assert b"no_routes" in got.body
    world.control.set_routes(world.routes(model(None)))
    got = world.client().ask()
    assert got.status == 503
    assert b"no champion" in got.body


def test_a_coded_answer_is_recorded_as_it_is(world):
    codings = ["gzip", "X-GZIP", "deflate", "identity", "br", "gzip, gzip", "deflate\r\nContent-Encoding: gzip"]
    server = world.server()
    world.limits = Limits(extract_bytes=10)
    world.start(model(server))
    client = world.client()
    for coding in codings:
        told = answer(b"\x1f\x8b", fields=f"Content-Encoding: {coding}\r\n")
        server.behave = lambda wire, _, told=told: wire.raw.sendall(told)
        got = client.ask()
        assert got.all("content-encoding") == coding.split("\r\nContent-Encoding: ")
        assert got.body == b"\x1f\x8b"
    server.behave = lambda wire, _: wire.raw.sendall(answer(b"x" * 11, fields="Content-Encoding: gzip\r\n"))
    client.ask()
    kept = [(row["body_state"], row["body"]) for row in world.control.wait_rows(8)]
    read = [(state, b"\x1f\x8b") for state in (BODY_GZIP, BODY_GZIP, BODY_DEFLATE, BODY_WHOLE)]
    assert kept == read + [(BODY_UNREAD, b"")] * 4


def test_a_version_that_the_client_names_is_the_champions(world):
    champion, other = world.server(), world.server()
    routes = model(champion, other, name="late", mode=Mode.SHADOW, mirror=100, rollout_id=7)
    world.start(msgspec.structs.replace(routes, protocol="open_inference", served_as="served"))
    client = world.client()
    for path in ("/v2/models/served/infer", "/v2/models/served/versions/3/infer", "/v2/models/served/ready"):
        client.send(post(path=path))
        assert client.message().status == 200
    rows = world.control.wait_rows(3)
    assert sorted((row["role"], row["mode"], row["both"]) for row in rows) == [
        (Role.CHAMPION, Mode.NONE, 0),
        (Role.CHAMPION, Mode.SHADOW, 1),
        (Role.CHALLENGER, Mode.SHADOW, 1),
    ]
    assert [asked.first.split()[1] for asked in champion.requests] == [
        "/v2/models/served/infer",
        "/v2/models/served/versions/3/infer",
        "/v2/models/served/ready",
    ]
    assert len(other.requests) == 1
    client.send(post(path="/v2/models/late/infer"))
    assert client.message().status == 404


def test_many_clients_at_once(world):
    server = world.server()
    world.start(model(server))
    clients = [Client(world.proxy.port) for _ in range(64)]
    for client in clients:
        client.send(post())
    assert [client.message().status for client in clients] == [200] * 64
    world.wait_counters(lambda counters: counters.client_connections == 64)
    for client in clients:
        client.close()
    world.wait_counters(lambda counters: counters.client_connections == 0)
