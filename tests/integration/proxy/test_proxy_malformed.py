"""What is not well-formed is refused with the right status, and the connection is closed."""

import pytest
from proxy_wire import UUID7, model, post

from router.link.messages import Limits

HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"

MALFORMED = {
    "length and coding": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "an empty length": HEAD + b"Content-Length:\r\n\r\nabc",
    "a huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "obs-fold": HEAD + b"X-A: a\r\n b\r\n\r\n",
    "a bare LF": HEAD + b"X-A: a\n\r\n",
    "a bare CR": HEAD + b"X-A: a\rX-B: b\r\n\r\n",
    "a control byte in a value": HEAD + b"X-A: a\x00b\r\n\r\n",
    "a control byte in a name": HEAD + b"X-\x01: a\r\n\r\n",
    "a space before the colon": HEAD + b"X-A : a\r\n\r\n",
    "two hosts": HEAD + b"Host: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a huge chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk without its CRLF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n",
    "another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2.0 with keep-alive": b"GET / HTTP/2.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "a control byte in the target": b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from proxy_wire import World

    world = World(tmp_path_factory.mktemp("proxy"))
    world.limits = Limits(
        max_header_bytes=4096, max_header_count=20, max_body_bytes=10_000, client_header_seconds=0.3, total_seconds=1.0
    )
    world.server_ = world.server()
    world.start(model(world.server_))
    yield world
    world.close()


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_is_400_and_closed(served, data):
    before = len(served.server_.requests)
    client = served.client().send(data)
    got = client.message()
    assert got.status == 400
    assert got["content-type"] == "application/json"
    assert got["connection"] == "close"
    assert UUID7.fullmatch(got["x-titleshot-id"])
    assert b'"malformed"' in got.body
    assert client.ended()
    assert len(served.server_.requests) == before


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b"X-A: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (HEAD + b"X-A: " + b"a" * 500_000, 431),
        (HEAD + b"a: b\r\n" * 40 + b"\r\n", 431),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (post(b"x" * 10_001), 413),
        (
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"1000\r\n"
            + b"x" * 4096
            + b"\r\n"
            + b"2000\r\n"
            + b"x" * 8192,
            413,
        ),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (HEAD + b"X-Slow: ", 408),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", 408),
    ],
    ids=["header", "endless", "count", "target", "length", "chunks", "connect", "websocket", "slow head", "slow body"],
)
def test_limits_have_their_status_and_close(served, data, status):
    client = served.client().send(data)
    got = client.message()
    assert got.status == status
    assert got["connection"] == "close"
    assert client.ended()


def test_a_good_request_before_a_bad_one_is_answered_first(served):
    client = served.client().send(post() + b"GARBAGE\r\n\r\n" + post())
    assert [client.message().status for _ in range(2)] == [200, 400]
    assert client.ended()


def test_what_follows_a_last_request_reaches_nobody(served):
    before = len(served.server_.requests)
    client = served.client().send(post(fields="Connection: close\r\n") + post())
    assert client.message().status == 200
    assert client.ended()
    assert len(served.server_.requests) == before + 1


def test_smuggling_by_a_nominated_length_is_not_possible(served):
    client = served.client().send(post(b"abc", "Connection: content-length, host\r\n") + post(b"second"))
    assert [client.message().status for _ in range(2)] == [200, 200]
    assert [request.body for request in served.server_.requests[-2:]] == [b"abc", b"second"]


def test_malformed_requests_are_counted_and_not_recorded(served):
    served.wait_counters(lambda counters: counters.refused.get("malformed", 0) >= len(MALFORMED))
    assert all(row["outcome"] in (0, 7) for row in served.control.rows())


def test_too_many_connections(world):
    world.limits = Limits(max_connections=2)
    world.start(model(world.server()))
    kept = [world.client() for _ in range(2)]
    assert [client.ask().status for client in kept] == [200, 200]
    third = world.client()
    assert third.message().status == 503
    assert third.ended()
    assert kept[0].ask().status == 200


def test_an_idle_client_is_let_go(world):
    world.limits = Limits(client_idle_seconds=0.2)
    world.start(model(world.server()))
    client = world.client()
    assert client.ask().status == 200
    assert client.ended()
