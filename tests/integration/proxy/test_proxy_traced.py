"""Spans of a real proxy process, as they come over the link, of exchanges that go well, late or not at all."""

import itertools

import pytest
from proxy_wire import answer, model, post, until

from comparator.events import Mode, Outcome, Role
from router.link.messages import Limits, Routes, Spans

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CARRIED = f"traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=b\r\n"
SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 7}


@pytest.fixture
def traced(world):
    """Starts a proxy that traces these percent."""
    revisions = itertools.count(1000)

    def start(percent, *models):
        world.start(*models)
        world.control.set_routes(Routes(next(revisions), "g", models, world.limits, percent))
        return world.client()

    return start


def spans(world, count):
    def found():
        return [span for message in world.control.of(Spans) for span in message.spans]

    until(lambda: len(found()) >= count, f"{count} spans")
    assert len(found()) == count
    return {(span.exchange, span.role): span for span in found()}


def test_a_body_in_pieces_and_pipelined_requests_have_their_own_contexts(world, traced):
    champion = world.server()
    client = traced(0, model(champion))
    head = f"POST /invocations HTTP/1.1\r\nHost: m\r\n{CARRIED}Transfer-Encoding: chunked\r\n\r\n"
    client.send(head.encode() + b"3\r\nabc\r\n")
    until(lambda: world.counters().client_connections == 1, "the head has come")
    client.send(b"2\r\nde\r\n0\r\n\r\n" + post(fields=CARRIED) + post())
    assert [client.message().status for _ in range(3)] == [200, 200, 200]
    spans(world, 4)
    first, second, third = champion.requests
    assert first.body == b"abcde"
    assert "traceparent" not in third
    assert first["traceparent"] != second["traceparent"]
    told = {span.span_id for message in world.control.of(Spans) for span in message.spans if span.exchange}
    assert {request["traceparent"] for request in (first, second)} == {f"00-{TRACE}-{span}-01" for span in told}
    assert first["tracestate"] == "a=b"


def test_a_challenger_that_hangs_is_cut_off_and_its_span_says_so(world, traced):
    champion, challenger = world.server(), world.server(lambda wire, _: challenger.release.wait(10))
    world.limits = Limits(mirror_seconds=0.3)
    client = traced(0, model(champion, challenger, **SHADOW))
    assert client.ask(fields=CARRIED).status == 200
    found = spans(world, 3)
    copy, own = found[True, Role.CHALLENGER], found[False, Role.CHAMPION]
    assert (copy.outcome, copy.status, own.outcome, own.status) == (Outcome.TIMEOUT, 0, Outcome.OK, 200)
    assert copy.seconds >= 0.3
    assert challenger.requests[0]["traceparent"] == f"00-{TRACE}-{copy.span_id}-01"


def test_a_server_that_is_not_there_and_an_answer_that_breaks_off(world, traced):
    gone = world.server()
    gone.close()
    broken = world.server(lambda wire, _: (wire.raw.sendall(answer()[:-3]), wire.raw.close()))
    client = traced(100, model(gone, name="gone"), model(broken, name="broken"))
    assert client.ask(path="/models/gone/invocations").status == 502
    found = spans(world, 2)
    assert (found[True, 0].outcome, found[True, 0].status) == (Outcome.CONNECT, 0)
    assert (found[False, 0].error, found[False, 0].status) == ("connect_failed", 502)
    with pytest.raises((EOFError, ConnectionError)):
        client.ask(path="/models/broken/invocations")
    found = {key: span for key, span in spans(world, 4).items() if span.model == "broken"}
    assert (found[True, 0].outcome, found[True, 0].status) == (Outcome.BROKEN, 200)
    assert (found[False, 0].error, found[False, 0].status) == ("upstream_broken", 200)


def test_without_control_spans_wait_and_those_of_a_retiring_proxy_still_go(world, traced):
    champion = world.server()
    client = traced(100, model(champion))
    world.control.hang_up()
    assert client.ask().status == 200
    world.control.messages.clear()
    world.control.listen()
    spans(world, 2)
    assert client.ask().status == 200
    client.close()
    world.proxy.terminate()
    world.proxy.process.wait(10)
    until(lambda: len([span for message in world.control.of(Spans) for span in message.spans]) == 4, "the last spans")
