"""Both parsers against grown and broken messages: however they are cut, they mean the same, and nothing is smuggled.

A head that comes whole may be read line by line (heads.py), one that comes in pieces is read by llhttp: cutting a
message differently compares the two readings. HYPOTHESIS_PROFILE=thorough for longer runs.
"""

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st
from memory_transport import MemoryTransport

from router.link.messages import Limits
from router.proxy.parsing import RequestQueue
from router.proxy.plane import DataPlane
from router.proxy.pool import Endpoint
from router.proxy.request import CHUNKED_LINE, Request
from router.proxy.server import ClientConnection
from router.proxy.upstream import UpstreamConnection
from router.proxy.writing import LAST_CHUNK, chunk

BUDGET = settings(max_examples=9 * settings().max_examples)
"""Per law: 144 messages in CI, 9,000 with the thorough profile."""

# ---- messages: mostly right, sometimes wrong in one place


def either(right: list[bytes], wrong: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.sampled_from(right), st.sampled_from(right), st.sampled_from(right), st.sampled_from(wrong))


NAMES = either(
    [b"X-User-Id", b"accept", b"Content-Type", b"traceparent", b"X-Request-Id", b"Cookie", b"Keep-Alive", b"TE"],
    [b"X User", b"X\x00", b"", b"X\t", b"x-titleshot-id", b"x-forwarded-for", b"\x80", b"Proxy-Connection", b"X:Y"],
)
VALUES = either(
    [b" a", b" application/json", b"b", b"  c d  ", b"\te\t", b"", b" \xe9", b" 00-ab-cd-01"],
    [b" a\x00b", b" a\rb", b" a\nb", b" \x7f", b" a\r\n folded", b" \x1f", b" a\r\n\tfolded"],
)
FRAMING = either(
    [b"Content-Length: %d\r\n", b"content-length:%d\r\n", b"Transfer-Encoding: chunked\r\n", b""],
    [
        b"Content-Length: +%d\r\n",
        b"Content-Length: 0x%d\r\n",
        b"Content-Length: %d, %d\r\n",
        b"Content-Length: %d\r\nContent-Length: %d\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: -%d\r\n",
        b"Content-Length: %d \r\n",
        b"Content-Length : %d\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
    ],
)
OTHERS = either(
    [b"", b"Connection: keep-alive\r\n", b"Connection: Keep-Alive\r\n"],
    [
        b"Connection: close\r\n",
        b"Connection: content-length, x-user-id\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b"Expect: something\r\n",
        b"no colon\r\n",
        b": no name\r\n",
        b" leading: space\r\n",
        b"bare: lf\n",
        b"bare: cr\r",
    ],
)
HOSTS = either(
    [b"Host: models:8080\r\n"], [b"", b"Host: a\r\nHost: b\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host:\r\n"]
)
REQUEST_LINES = either(
    [b"POST /invocations HTTP/1.1\r\n", b"GET /ping HTTP/1.1\r\n", b"POST /models/m/invocations?q=1 HTTP/1.1\r\n"],
    [
        b"POST /invocations HTTP/1.0\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"POST http://other/invocations HTTP/1.1\r\n",
        b"POST /a b HTTP/1.1\r\n",
        b"POST  /a HTTP/1.1\r\n",
        b"POST /\x00 HTTP/1.1\r\n",
        b"POST /\x80 HTTP/1.1\r\n",
        b"POST /a#b HTTP/1.1\r\n",
        b'POST /a"<>\\^`{|} HTTP/1.1\r\n',
        b"post /a HTTP/1.1\r\n",
        b"POST /a HTTP/1.2\r\n",
        b"POST /a HTTP/2.0\r\n",
        b"POST /a http/1.1\r\n",
        b"POST /a\r\n",
        b"POST /a HTTP/1.1\n",
        b"\r\nPOST /a HTTP/1.1\r\n",
        b"\rPOST /a HTTP/1.1\r\n",
        b"\nPOST /a HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
STATUS_LINES = either(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 500 Oh\r\n",
        b"HTTP/1.1 404 \r\n",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 302 Found\r\n",
    ],
    [
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 999 What\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/2 200\r\n",
        b"ICY 200 OK\r\n",
        b"HTTP/1.1 200 O\x00K\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 200 OK\n",
    ],
)
BODIES = st.binary(max_size=24)


@st.composite
def chunked_bodies(draw) -> bytes:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=8), max_size=3))
    wrong = [
        b"g\r\n",
        b"-1\r\n",
        b"1\n",
        b" 1\r\na\r\n",
        b"ffffffffffffffffff\r\n",
        b"1;x=\x00y\r\na\r\n",
        b"2\r\nab",
        b"1\r\nab\r\n",
    ]
    pieces = [chunk(piece) for piece in pieces]
    if draw(st.integers(0, 4)) == 0:
        pieces.insert(draw(st.integers(0, len(pieces))), draw(st.sampled_from(wrong)))
    end = draw(
        either(
            [b"0\r\n\r\n"],
            [b"0\r\nauthorization: x\r\n\r\n", b"0\r\ncontent-length: 5\r\n\r\n", b"0;ext\r\n\r\n", b"0\r\n", b""],
        )
    )
    return b"".join(pieces) + end


@st.composite
def messages(draw, first: st.SearchStrategy[bytes], hosts: st.SearchStrategy[bytes]) -> bytes:
    body = draw(BODIES)
    framing = draw(FRAMING)
    head = [draw(hosts), framing.replace(b"%d", b"%d" % len(body)), draw(OTHERS)]
    head += [b"%b:%b\r\n" % field for field in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))]
    lines = draw(st.permutations(head))
    if b"chunked" in framing:
        body = draw(chunked_bodies())
    elif not framing:
        body = b""
    return draw(first) + b"".join(lines) + b"\r\n" + body


REQUESTS = st.lists(messages(REQUEST_LINES, HOSTS), min_size=1, max_size=3).map(b"".join)
ANSWERS = messages(STATUS_LINES, st.just(b""))
CUTS = st.lists(st.integers(0, 400), max_size=6)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut for cut in cuts if 0 < cut < len(data)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# ---- requests


def queued(pieces: list[bytes]) -> list[Request]:
    """All requests of a client that sends these pieces; a refusal in the end, where it was refused."""
    connection = ClientConnection(DataPlane(lambda _change: None))
    seen: list[Request] = []
    queue: RequestQueue = connection
    connection.connection_made(MemoryTransport())
    for piece in pieces:
        queue.parse(piece)
        while queue._queue:
            seen.append(queue._queue.popleft())
    return seen


def told(request: Request) -> tuple:
    if request.refusal is not None:
        return ("refused", request.refusal.status)
    return (
        request.method,
        request.url,
        sorted(request.lines),
        request.host,
        request.chunked,
        request.length,
        request.keep_alive,
        request.complete,
        b"".join(request.chunks),
        request.forwarded_for,
        request.own_id,
        request.expects_continue,
    )


def reserialised(request: Request) -> bytes:
    """As a model server would get it."""
    host = b"host: m\r\n"
    framing = CHUNKED_LINE if request.chunked else b""
    head = b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (request.method, request.url, host, framing, b"".join(request.lines))
    return head + (b"".join(map(chunk, request.chunks)) + LAST_CHUNK if request.chunked else b"".join(request.chunks))


@BUDGET
@given(REQUESTS, CUTS)
@example(b"GET /a HTTP/1.1\r\nHost: m\r\nExpect: something\r\nX User: a\r\n\r\n", [53])
@example(b"POST /a HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\nab", [5])
def test_however_requests_are_cut_they_mean_the_same_and_nothing_is_served_after_a_refusal(data, cuts):
    requests = queued(pieces_of(data, cuts))
    assert all(request.refusal is None for request in requests[:-1])
    whole = [told(request) for request in queued([data])]
    assert [told(request) for request in requests] == whole
    assert [told(request) for request in queued([data[at : at + 1] for at in range(len(data))])] == whole


@BUDGET
@given(REQUESTS)
def test_what_is_passed_on_is_one_request_to_a_strict_reader_too(data):
    for request in queued([data]):
        if request.refusal is not None or not request.complete or request.upgrade:
            continue
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(reserialised(request))
        head = reader.next_event()
        assert isinstance(head, h11.Request)
        assert (head.method, head.target) == (request.method, request.url)
        body = b""
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            body += event.data
        assert body == b"".join(request.chunks)
        assert reader.trailing_data[0] == b""


@BUDGET
@given(st.binary(max_size=300), CUTS)
def test_any_bytes_are_requests_or_refused(data, cuts):
    queued(pieces_of(data, cuts))


# ---- answers


class Told:
    """A taker that notes what it is told."""

    def __init__(self) -> None:
        self.head = None
        self.body = b""
        self.ends: list[str] = []

    def connected(self, connection) -> None:
        pass

    def unconnected(self, why) -> None:
        self.ends.append("unconnected")

    def received(self, connection) -> None:
        assert not self.ends, "told of more after the end"
        if connection.head is not None:
            self.head = connection.head
        self.body += b"".join(connection.pieces)
        connection.pieces = []
        if connection.complete:
            self.ends.append("complete")
            connection.done(0.0, reusable=True)

    def broken(self, connection) -> None:
        assert not self.ends
        self.ends.append("broken")

    def flow(self, *, paused) -> None:
        pass


def answered(pieces: list[bytes]) -> tuple[Told, UpstreamConnection, MemoryTransport]:
    """What a taker is told of an answer that comes in these pieces, after which the server hangs up."""
    endpoint = Endpoint("http://m:1", Limits())
    connection, transport = UpstreamConnection(endpoint), MemoryTransport()
    connection.connection_made(transport)
    taker = connection.taker = Told()
    for piece in pieces:
        if transport.ended:
            break
        connection.data_received(piece)
    connection.connection_lost(None)
    return taker, connection, transport


def meaning(taker: Told) -> tuple:
    if taker.ends == ["broken"]:
        return ("broken",)
    return (
        taker.ends,
        taker.head.status,
        sorted(taker.head.lines),
        taker.head.length,
        taker.head.body_state,
        taker.body,
    )


@BUDGET
@given(ANSWERS, CUTS)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", [20])
def test_however_an_answer_is_cut_it_means_the_same_and_its_head_is_clean(data, cuts):
    taker = answered([data])[0]
    if taker.head is not None:
        for line in taker.head.text.split(b"\r\n")[:-1]:
            assert not any(byte < 0x20 and byte != 0x09 for byte in line), line
    whole = meaning(taker)
    assert meaning(answered(pieces_of(data, cuts))[0]) == whole
    assert meaning(answered([data[at : at + 1] for at in range(len(data))])[0]) == whole


@BUDGET
@given(ANSWERS, CUTS, st.binary(min_size=1, max_size=20))
def test_stray_bytes_after_an_answer_reach_nobody(data, cuts, stray):
    taker, _, _ = answered(pieces_of(data, cuts))
    if taker.ends != ["complete"] or taker.head.until_close:
        return
    again, _, transport = answered([data + stray])
    assert again.ends in (["complete"], ["broken"])
    if again.ends == ["complete"]:
        assert again.body == taker.body
        assert transport.ended or not stray.strip(b"\r\n")  # never used again; llhttp swallows line ends


@BUDGET
@given(st.binary(max_size=300), CUTS)
def test_any_bytes_are_an_answer_or_broken(data, cuts):
    taker, _, _ = answered(pieces_of(data, cuts))
    assert len(taker.ends) == 1
