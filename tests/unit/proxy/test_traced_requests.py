"""What model servers get of traced requests and of others, byte by byte, and which spans tell of it."""

import math
import re
import subprocess
import sys

import pytest
from memory_transport import MemoryTransport

from router.link.messages import Backend, Limits, ModelRoutes, Routes, Rule, Spans, read_up
from router.link.messages import frame as framed
from router.proxy import codes
from router.proxy.exchange import ServedExchange
from router.proxy.plane import DataPlane
from router.proxy.server import ClientConnection
from router.proxy.spans import LONGEST, SpanQueue
from router.proxy.traced import TracedExchange
from router.proxy.upstream import UpstreamConnection

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"predictions": [1]}'
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"Traceparent: 00-{TRACE}-{PARENT}-01\r\n"
NOT_SAMPLED = f"Traceparent: 00-{TRACE}-{PARENT}-00\r\n"
OWN_ID = re.compile(rb"(x-titleshot-id|x-request-id): [^\r]+")


class Kept:
    """The link's end."""

    def __init__(self, *, ready=True):
        self.ready = ready
        self.messages = []

    def send(self, message):
        self.messages.append(message)
        return True


class Wires:
    """A data plane with one client and a kept connection to each model server, all in memory."""

    def __init__(self, traced=None, limits=None, *, champion=True, **routes):
        self.journal = []
        self.plane = DataPlane(lambda _change: None)
        model = ModelRoutes(
            "m",
            "mlflow",
            Backend(1, "http://champion:8001/base") if champion else None,
            Backend(2, "unix:///run/challenger.sock"),
            **({"mode": codes.MODE_SHADOW, "mirror": 100, "rollout_id": 7} | routes),
        )
        self.plane.apply(Routes(1, "g", (model,), limits or Limits(), traced))
        target = self.plane.table.target("m")
        served = {"champion": target.champion, "challenger": target.other}
        self.servers = {name: self._connected(name, each.endpoint) for name, each in served.items() if each is not None}
        self.client = ClientConnection(self.plane)
        self.client.connection_made(MemoryTransport(self.journal, "client"))

    def _connected(self, name, endpoint):
        connection = UpstreamConnection(endpoint)
        connection.connection_made(MemoryTransport(self.journal, name))
        endpoint.release(connection, float("inf"))  # taken as alive
        return connection

    def send(self, fields="", target="/invocations", body=b"{}"):
        """A request; what each side was written."""
        before = len(self.journal)
        head = f"POST {target} HTTP/1.1\r\nHost: m\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self.client.data_received(head.encode() + body)
        written = {}
        for name, data in self.journal[before:]:
            written[name] = written.get(name, b"") + data
        return written

    def ask(self, fields="", target="/invocations", answers=ANSWER):
        written = self.send(fields, target)
        for name in written:
            if name in self.servers:
                self.servers[name].data_received(answers)
                self.servers[name].idle_since = float("inf")
        return written

    def spans(self):
        link = Kept()
        self.plane.spans.flush(link)
        return [span for message in link.messages for span in message.spans]


def without_ids(written):
    return {name: OWN_ID.sub(rb"\1: ID", data) for name, data in written.items()}


def parent_of(data):
    (found,) = re.findall(rb"\r\n(?i:traceparent): ([^\r]+)", data)
    return found.decode()


@pytest.mark.parametrize(
    ("traced", "fields"),
    [
        (0, ""),
        (0, "tracestate: a=b\r\n"),
        (0, "Traceparent: nonsense\r\nTraceState: a=b\r\n"),
        (0, SAMPLED + SAMPLED),
        (100, NOT_SAMPLED + "TraceState: a=b\r\nbaggage: user=7\r\n"),
        (100, NOT_SAMPLED + "Cookie: secret\r\nAuthorization: Bearer t\r\n"),
    ],
)
def test_what_is_not_traced_passes_byte_for_byte(traced, fields):
    on, off = Wires(traced), Wires()
    assert without_ids(on.ask(fields)) == without_ids(off.ask(fields))
    assert on.spans() == []


def test_where_tracing_is_off_a_request_is_a_plain_one_and_passes_as_it_came():
    wires = Wires()
    written = wires.send(SAMPLED)
    assert type(wires.client._exchange) is ServedExchange
    assert parent_of(written["champion"]) == parent_of(written["challenger"]) == f"00-{TRACE}-{PARENT}-01"
    assert wires.spans() == []


def test_a_traced_request_differs_in_its_traceparent_and_in_nothing_else():
    fields = "X-A: 1\r\n" + SAMPLED + "TraceState: a=b\r\nBaggage: user=7\r\nCookie: secret\r\nX-B: 2\r\n"
    on, off = Wires(0).ask(fields), Wires().ask(fields)

    def rest(written):
        return {name: re.sub(rb"(?i)traceparent: [^\r]+\r\n", b"", data) for name, data in without_ids(written).items()}

    assert rest(on) == rest(off)
    assert b"secret" not in on["challenger"]
    assert len({parent_of(on["champion"]), parent_of(on["challenger"]), SAMPLED}) == 3


def test_each_exchange_is_a_span_below_the_requests_own():
    wires = Wires(0)
    written = wires.ask(SAMPLED, "/models/m/invocations?token=secret")
    spans = {(span.exchange, span.role): span for span in wires.spans()}
    own, champion, challenger = spans[False, 0], spans[True, 0], spans[True, 1]
    assert len(spans) == 3
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert own.parent_id == PARENT
    assert champion.parent_id == challenger.parent_id == own.span_id
    assert parent_of(written["champion"]) == f"00-{TRACE}-{champion.span_id}-01"
    assert parent_of(written["challenger"]) == f"00-{TRACE}-{challenger.span_id}-01"
    assert (own.path, champion.path, challenger.path) == (
        "/models/m/invocations",
        "/base/invocations",
        "/invocations",
    )
    assert (champion.address, champion.port) == ("champion", 8001)
    assert (challenger.address, challenger.port) == ("/run/challenger.sock", 0)
    for span in spans.values():
        assert (span.status, span.outcome, span.model, span.rollout_id) == (200, codes.OK, "m", 7)
        assert 0 <= span.first_byte <= span.seconds
        assert "secret" not in repr(span)
    assert (champion.version, challenger.version, own.version) == (1, 2, 1)
    assert champion.recorded
    assert challenger.recorded
    assert all(0 <= span.sent <= span.first_byte for span in (champion, challenger))
    assert own.request_id.encode() in written["champion"]


def test_the_copy_of_a_request_that_is_asked_twice_is_the_champions_span():
    wires = Wires(100, asked_twice=100)
    champion = wires.plane.table.target("m").champion.endpoint
    again = wires._connected("again", champion)  # a second connection to the champion
    written = wires.send()
    for connection in (wires.servers["champion"], again):
        connection.data_received(ANSWER)
    spans = sorted((span.exchange, span.role, span.mode, span.version) for span in wires.spans())
    assert written.keys() == {"champion", "again"}
    assert spans == [
        (False, codes.CHAMPION, codes.MODE_TWICE, 1),
        (True, codes.CHAMPION, codes.MODE_TWICE, 1),
        (True, codes.CHAMPION, codes.MODE_AGAIN, 1),
    ]


def test_a_forced_request_is_one_exchange_of_the_role_that_the_rule_names():
    wires = Wires(100, rules=(Rule("query:tester", codes.CHALLENGER),))
    assert wires.ask(target="/invocations?tester=1").keys() == {"challenger"}
    assert {(span.role, span.mode, span.version) for span in wires.spans()} == {
        (codes.CHALLENGER, codes.MODE_FORCED, 2),
    }


def test_without_a_context_a_trace_begins_here():
    wires = Wires(100, mirror=0)
    written = wires.ask("tracestate: a=b\r\nbaggage: c=d\r\n")
    spans = {span.exchange: span for span in wires.spans()}
    assert spans[False].parent_id == ""
    assert parent_of(written["champion"]) == f"00-{spans[False].trace_id}-{spans[True].span_id}-01"
    assert b"tracestate" not in written["champion"]  # it belonged to no trace
    assert b"baggage: c=d\r\n" in written["champion"]


def test_in_a_canary_the_challengers_exchange_is_the_requests():
    wires = Wires(100, mode=codes.MODE_CANARY, mirror=0, share=100)
    written = wires.ask()
    assert written.keys() == {"challenger"}
    own, exchange = sorted(wires.spans(), key=lambda span: span.exchange)
    assert (own.role, exchange.role, exchange.version) == (codes.CHALLENGER, codes.CHALLENGER, 2)


def test_assignment_by_the_trace_itself_is_as_without_tracing():
    def answered(traced):
        wires = Wires(traced, mode=codes.MODE_CANARY, mirror=0, share=50, assign_by="header:traceparent")
        asked = (f"traceparent: 00-{TRACE}-{number:016x}-01\r\n" for number in range(1, 33))
        return ["champion" in wires.ask(fields) for fields in asked]

    assert answered(0) == answered(None)
    assert set(answered(0)) == {True, False}


@pytest.mark.parametrize(
    ("wires", "target", "error", "status"),
    [
        (lambda: Wires(100, champion=False), "/invocations", "no_champion", 503),
        (lambda: Wires(100), "/models/unknown/invocations", "unknown_model", 404),
        (lambda: Wires(100), "http://user:secret@m/models/unknown/x", "unknown_model", 404),
    ],
)
def test_a_request_that_we_answer_ourselves_is_one_span(wires, target, error, status):
    made = wires()
    made.send("", target)
    (span,) = made.spans()
    assert (span.exchange, span.error, span.status, span.outcome, span.role) == (False, error, status, -1, -1)
    assert "secret" not in repr(span)


def test_a_broken_exchange_and_the_answer_that_the_client_got():
    wires = Wires(100, mirror=0)
    wires.send()
    wires.servers["champion"].connection_lost(None)
    exchange, own = wires.spans()
    assert (exchange.outcome, exchange.status) == (codes.BROKEN, 0)
    assert (own.status, own.error) == (502, "upstream_broken")
    assert math.isnan(exchange.first_byte)


def test_a_client_that_leaves_ends_its_spans_once():
    wires = Wires(100, mirror=0)
    wires.send()
    assert type(wires.client._exchange) is TracedExchange
    wires.client.connection_lost(None)
    exchange, own = wires.spans()
    assert (exchange.outcome, own.outcome, own.status) == (codes.CANCELLED, codes.CANCELLED, 0)


def test_a_copy_that_was_shed_is_said_and_has_no_span():
    wires = Wires(100, limits=Limits(mirror_slots=0))
    assert wires.ask().keys() == {"champion"}
    exchange, own = wires.spans()
    assert (exchange.exchange, own.exchange, own.shed) == (True, False, "full")


def test_malformed_requests_are_not_traced():
    wires = Wires(100)
    wires.send("Host: another\r\n")
    assert wires.spans() == []


def test_what_clients_choose_is_cut():
    wires = Wires(100, mirror=0, request_id="header:x-id")
    wires.ask(f"x-id: {'i' * 5000}\r\n", f"/{'p' * 5000}")
    assert {len(span.path) for span in wires.spans()} == {LONGEST}
    wires.ask(f"x-id: {'i' * 5000}\r\n")
    assert {len(span.request_id) for span in wires.spans()} == {LONGEST}


def test_spans_go_over_the_link_and_what_has_no_room_is_counted():
    wires = Wires(100, mirror=0)
    wires.ask()
    exchange, own = wires.spans()
    queue = SpanQueue(most=3)
    away, link = Kept(ready=False), Kept()
    for span in (exchange, own, exchange, own, own):
        queue.add(span)
    queue.flush(away)
    assert away.messages == []
    queue.flush_all(link)
    queue.flush_all(link)
    assert [(len(message.spans), message.dropped) for message in link.messages] == [(3, 2)]
    sent = link.messages[0]
    assert repr(read_up(framed(sent)[4:])) == repr(sent)  # no NaN equals another
    assert isinstance(sent, Spans)


def test_routes_turn_it_on_and_off():
    wires = Wires()
    model = ModelRoutes("m", "mlflow", Backend(1, "http://champion:8001/base"))
    for revision, traced in enumerate((100, None, 0), 2):
        wires.plane.apply(Routes(revision, "g", (model,), Limits(), traced))
        assert (wires.plane.tracing is None) == (traced is None)


def test_a_proxy_imports_nothing_of_opentelemetry():
    call = (
        "import sys, router.proxy.process as made; print(made.ProxyProcess and "
        "[name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
