"""Spans of calls through a real proxy process, as they come over the link, and what model servers are told of them."""

import itertools
import math
import socket
import threading

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from grpc_wire import SERVICE, model, refused, request, stream
from infer_server import answer
from proxy_wire import can_connect, until
from tritonclient.grpc import service_pb2 as pb

from comparator.events import Mode, Outcome, Role
from router.link.messages import Backend, Lane, Limits, Routes, Spans

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "a=b"), ("baggage", "c=d")]
NOT_SAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-00"), ("tracestate", "a=b")]
SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 7}
INFER = f"{SERVICE}ModelInfer"[1:]


@pytest.fixture
def traced(grpc_world):
    """Starts a proxy that traces these percent."""
    revisions = itertools.count(1000)

    def start(percent, *models):
        grpc_world.serve(*models)
        grpc_world.control.set_routes(Routes(next(revisions), "g", models, grpc_world.limits, percent))

    return start


def spans(world, count):
    def found():
        return [span for message in world.control.of(Spans) for span in message.spans]

    until(lambda: len(found()) >= count, f"{count} spans")
    assert len(found()) == count
    return {(span.exchange, span.role, span.mode): span for span in found()}


def test_each_exchange_is_a_span_below_the_calls_own_and_servers_are_told_of_theirs(grpc_world, traced):
    champion, challenger, beside = (grpc_world.infer_server() for _ in range(3))
    lane = Lane("m@challenger-b", Backend(3, "", grpc=beside.url), 88, 100)
    traced(0, model(champion, challenger, lanes=(lane,), **SHADOW))
    _, call = grpc_world.call(request(), [*SAMPLED, ("authorization", "s3cret")])
    until(lambda: len([span for message in grpc_world.control.of(Spans) for span in message.spans]) == 4)
    found = [span for message in grpc_world.control.of(Spans) for span in message.spans]
    (own,) = [span for span in found if not span.exchange]
    exchanges = {span.version: span for span in found if span.exchange}
    assert {span.trace_id for span in found} == {TRACE}
    assert (own.parent_id, {span.parent_id for span in exchanges.values()}) == (PARENT, {own.span_id})
    for version, server in ((1, champion), (2, challenger), (3, beside)):
        span, (asked,) = exchanges[version], server.calls
        assert asked["traceparent"] == f"00-{TRACE}-{span.span_id}-01"
        assert (asked["tracestate"], asked["baggage"]) == ("a=b", "c=d")
        assert (span.address, span.port) == ("127.0.0.1", server.port)
        assert 0 <= span.sent <= span.first_byte <= span.seconds
        assert span.recorded
    assert [exchanges[version].role for version in (1, 2, 3)] == [Role.CHAMPION, Role.CHALLENGER, Role.CHALLENGER]
    assert [exchanges[version].rollout_id for version in (1, 2, 3)] == [7, 7, 88]
    for span in found:
        assert (span.method, span.path, span.rpc, span.status, span.outcome) == (INFER, "", "OK", 200, Outcome.OK)
        assert span.request_id == dict(call.trailing_metadata())["x-titleshot-id"]
        assert "s3cret" not in repr(span)
    assert (own.version, own.address, own.recorded, own.mode) == (1, "", False, Mode.SHADOW)


def test_what_is_not_traced_passes_as_it_came_and_a_trace_can_begin_here(grpc_world, traced):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    traced(0, model(champion, challenger, **SHADOW))
    grpc_world.call(request(), NOT_SAMPLED)
    grpc_world.call(request(), [("tracestate", "a=b")])
    grpc_world.control.wait_rows(4)
    for server in (champion, challenger):
        first, second = server.calls
        assert (first["traceparent"], first["tracestate"]) == (NOT_SAMPLED[0][1], "a=b")
        assert "traceparent" not in second
        assert second["tracestate"] == "a=b"
    assert not grpc_world.control.of(Spans)
    models = (model(champion),)
    grpc_world.control.set_routes(Routes(5000, "g", models, grpc_world.limits, 100))
    grpc_world.call(request(), [("tracestate", "a=b")])
    found = spans(grpc_world, 2)
    own, exchange = found[False, 0, 0], found[True, 0, 0]
    assert own.parent_id == ""
    assert champion.calls[-1]["traceparent"] == f"00-{own.trace_id}-{exchange.span_id}-01"
    assert "tracestate" not in champion.calls[-1]  # it belonged to no trace
    grpc_world.control.set_routes(Routes(5001, "g", models, grpc_world.limits, None))
    grpc_world.call(request(), SAMPLED)
    assert champion.calls[-1]["traceparent"] == SAMPLED[0][1]  # tracing is off


def test_failures_are_told_by_their_status(grpc_world, traced):
    def behave(request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    gone, wrong = grpc_world.infer_server(), grpc_world.infer_server(behave)
    gone.close()
    traced(100, model(gone, name="gone"), model(wrong, name="wrong"))
    refused(lambda: grpc_world.call(request("gone")))
    found = spans(grpc_world, 2)
    assert {(span.rpc, span.status, span.outcome) for span in found.values()} == {("UNAVAILABLE", 503, Outcome.CONNECT)}
    refused(lambda: grpc_world.call(request("wrong")))
    refused(lambda: grpc_world.call(request("other")))
    until(lambda: len([span for message in grpc_world.control.of(Spans) for span in message.spans]) == 5)
    found = [span for message in grpc_world.control.of(Spans) for span in message.spans][2:]
    told = [(span.exchange, span.model, span.rpc, span.error, span.outcome) for span in found]
    assert told == [
        (True, "wrong", "INVALID_ARGUMENT", "", Outcome.CLIENT_ERROR),
        (False, "wrong", "INVALID_ARGUMENT", "", Outcome.CLIENT_ERROR),
        (False, "", "NOT_FOUND", "unknown_model", -1),
    ]
    with grpc.insecure_channel(grpc_world.listen.address) as channel:
        refused(lambda: channel.unary_unary(f"/{INFER}")(b"\xff", timeout=10))  # malformed: it has none
    assert len(spans(grpc_world, 5)) <= 5


def test_a_message_that_is_too_large_has_a_span_without_a_model(grpc_world, traced):
    traced(0, model(grpc_world.infer_server()))  # gRPC itself refuses what is above the limit at the start
    grpc_world.control.set_routes(Routes(5000, "g", (), Limits(max_body_bytes=8), 0))
    assert refused(lambda: grpc_world.call(request(), SAMPLED)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    (own,) = spans(grpc_world, 1).values()
    assert (own.exchange, own.trace_id, own.parent_id, own.model) == (False, TRACE, PARENT, "")
    assert (own.method, own.rpc, own.error) == (INFER, "RESOURCE_EXHAUSTED", "body_too_large")


def test_of_two_contexts_grpc_itself_keeps_the_last(grpc_world, traced):
    server = grpc_world.infer_server()
    traced(0, model(server))
    first = ("traceparent", f"00-{'1' * 32}-{PARENT}-01")
    with socket.create_connection(("127.0.0.1", grpc_world.listen.port)) as raw:
        raw.sendall(http2_call(f"/{INFER}", [first, *SAMPLED], request().SerializeToString()))
        found = spans(grpc_world, 2)
    assert {span.trace_id for span in found.values()} == {TRACE}
    (asked,) = server.calls
    assert [value.split("-")[1] for key, value in asked.metadata if key == "traceparent"] == [TRACE]


def http2_call(method, metadata, message):
    """A call as bytes: gRPC's own client would take one of two values out itself."""

    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    head = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "m"), ("te", "trailers")]
    head += [("content-type", "application/grpc"), *metadata]
    fields = b"".join(b"\0" + b"".join(bytes((len(text),)) + text.encode() for text in field) for field in head)
    settings, headers = frame(4, 0, 0, b""), frame(1, 4, 1, fields)
    data = frame(0, 1, 1, b"\0" + len(message).to_bytes(4, "big") + message)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers + data


# ---- the process ends


def hanging(world):
    """A model server that answers nothing, and an event: it has been asked."""
    asked = threading.Event()
    server = world.infer_server()
    server.behave = lambda request, context: asked.set() or (server.release.wait(30) and answer(request))
    return server, asked


def test_a_call_that_is_cut_off_when_the_process_ends_is_an_error_of_ours_and_says_nothing_of_the_version(
    grpc_world, traced
):
    grpc_world.limits = Limits(total_seconds=0.2)  # open calls have so long to end
    server, asked = hanging(grpc_world)
    traced(100, model(server))
    under_way = grpc_world.channel.unary_unary(f"/{INFER}").future(request().SerializeToString(), timeout=30)
    assert asked.wait(10)
    grpc_world.proxy.terminate()
    told = under_way.exception(20).code()
    found = spans(grpc_world, 2)
    exchange, own = found[True, 0, 0], found[False, 0, 0]
    assert (own.rpc, own.status, own.error, own.outcome) == (told.name, 503, "stopping", Outcome.CANCELLED)
    assert (exchange.rpc, exchange.error, exchange.outcome) == ("CANCELLED", "", Outcome.CANCELLED)
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["status"]) == (Outcome.CANCELLED, 0)


def test_a_client_that_leaves_while_the_process_ends_is_no_error(grpc_world, traced):
    server, asked = hanging(grpc_world)
    traced(100, model(server))
    under_way = grpc_world.channel.unary_unary(f"/{INFER}").future(request().SerializeToString(), timeout=30)
    assert asked.wait(10)
    grpc_world.proxy.terminate()
    until(lambda: not can_connect(grpc_world.listen.port), "the port to be closed")
    under_way.cancel()
    found = spans(grpc_world, 2)
    told = {(span.rpc, span.error, span.outcome) for span in found.values()}
    assert told == {("CANCELLED", "", Outcome.CANCELLED)}


def test_a_copy_that_hangs_is_cut_off_and_one_that_was_shed_is_said(grpc_world, traced):
    champion = grpc_world.infer_server()
    challenger = grpc_world.infer_server(lambda request, context: challenger.release.wait(10) and answer(request))
    grpc_world.limits = Limits(mirror_seconds=0.3, mirror_slots=1)
    traced(100, model(champion, challenger, **SHADOW))
    grpc_world.call(request())
    grpc_world.call(request())
    until(lambda: len([span for message in grpc_world.control.of(Spans) for span in message.spans]) == 5)
    found = [span for message in grpc_world.control.of(Spans) for span in message.spans]
    (copy,) = [span for span in found if span.role == Role.CHALLENGER]
    assert (copy.rpc, copy.status, copy.outcome) == ("DEADLINE_EXCEEDED", 504, Outcome.TIMEOUT)
    assert copy.seconds >= 0.3
    assert math.isnan(copy.first_byte)
    assert sorted(span.shed for span in found if not span.exchange) == ["", "full"]


def test_a_stream_is_one_exchange_and_what_else_is_asked_of_a_model_is_traced_too(grpc_world, traced):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    traced(0, model(champion, challenger, **SHADOW))
    assert len(list(stream(grpc_world, iter([request(), request()]), SAMPLED))) == 2
    found = spans(grpc_world, 2)
    own, exchange = found[False, 0, Mode.SHADOW], found[True, 0, Mode.SHADOW]
    assert (own.parent_id, exchange.parent_id, own.shed) == (PARENT, own.span_id, "stream")
    assert champion.calls[0]["traceparent"] == f"00-{TRACE}-{exchange.span_id}-01"
    assert {span.method for span in found.values()} == {f"{SERVICE}ModelStreamInfer"[1:]}
    assert not exchange.recorded
    refused(lambda: list(stream(grpc_world, iter([request(), request("other")]), SAMPLED)))
    until(lambda: len([span for message in grpc_world.control.of(Spans) for span in message.spans]) == 4)
    _, _, exchange, own = [span for message in grpc_world.control.of(Spans) for span in message.spans]
    assert (exchange.rpc, exchange.outcome) == ("CANCELLED", Outcome.CANCELLED)
    assert (own.rpc, own.error, own.outcome) == ("INVALID_ARGUMENT", "malformed", Outcome.CANCELLED)

    ready = grpc_world.channel.unary_unary(
        f"{SERVICE}ModelReady", pb.ModelReadyRequest.SerializeToString, pb.ModelReadyResponse.FromString
    )
    assert ready(pb.ModelReadyRequest(name="m"), metadata=SAMPLED, timeout=10).ready
    until(lambda: len([span for message in grpc_world.control.of(Spans) for span in message.spans]) == 6)
    exchange, own = [span for message in grpc_world.control.of(Spans) for span in message.spans][4:]
    assert (exchange.recorded, exchange.mode, own.parent_id) == (False, Mode.NONE, PARENT)
    assert champion.calls[-1]["traceparent"] == f"00-{TRACE}-{exchange.span_id}-01"
    assert len(grpc_world.control.wait_rows(2)) == 2
