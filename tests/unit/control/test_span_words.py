"""What is said of a span: by the conventions where they have a word, and nothing that a client could fill it with."""

import math

import grpc
import msgspec
import pytest

from comparator.events import Mode, Outcome, Role
from router.control.spans import attributes, error, events, failed, name
from router.link.messages import Span
from router.proxy.grpc_codes import HTTP_STATUS, outcome_of

OWN = Span(
    trace_id="a" * 32,
    span_id="b" * 16,
    parent_id="",
    flags=1,
    exchange=False,
    began=100.0,
    seconds=2.0,
    first_byte=1.5,
    method="POST",
    path="/invocations",
    scheme="https",
    status=200,
    model="late",
    request_id="id",
    version=3,
    role=int(Role.CHAMPION),
    mode=int(Mode.SHADOW),
    rollout_id=2**63,
    outcome=int(Outcome.OK),
)
EXCHANGE = msgspec.structs.replace(
    OWN, exchange=True, scheme="", address="models", port=8001, sent=0.25, role=int(Role.CHALLENGER)
)


METHOD = "inference.GRPCInferenceService/ModelInfer"
CALL = msgspec.structs.replace(OWN, method=METHOD, path="", scheme="", rpc="OK")
CALLED = msgspec.structs.replace(EXCHANGE, method=METHOD, path="", rpc="OK")


def of(span, **changes):
    return msgspec.structs.replace(span, **changes)


def test_names_have_no_path_and_no_word_of_the_clients():
    assert (name(OWN), name(EXCHANGE)) == ("POST /models/late", "POST challenger")
    assert name(of(OWN, method="PROPFIND")) == "HTTP /models/late"
    assert name(of(OWN, model="")) == "POST"


def test_attributes():
    assert attributes(EXCHANGE) == {
        "http.request.method": "POST",
        "url.path": "/invocations",
        "server.address": "models",
        "server.port": 8001,
        "http.response.status_code": 200,
        "titleshot.model": "late",
        "titleshot.version": 3,
        "titleshot.role": "challenger",
        "titleshot.mode": "shadow",
        "titleshot.request_id": "id",
        "titleshot.outcome": "ok",
        "titleshot.rollout_id": "9223372036854775808",
    }
    other = attributes(of(OWN, method="PROPFIND", shed="full"))
    assert (other["http.request.method"], other["http.request.method_original"]) == ("_OTHER", "PROPFIND")
    assert (other["titleshot.shed"], other["url.scheme"], other["http.route"]) == ("full", "https", "/models/late")


def test_what_a_newer_proxy_may_say_is_left_out():
    said = attributes(of(OWN, role=9, mode=9, outcome=99))
    assert not said.keys() & {"titleshot.role", "titleshot.mode", "titleshot.outcome"}


def test_events_are_those_that_came_to_be():
    assert events(EXCHANGE) == [("titleshot.sent", 100.25), ("titleshot.first_byte", 101.5)]
    assert events(of(EXCHANGE, sent=math.nan, first_byte=math.nan)) == []


@pytest.mark.parametrize(
    ("changes", "of_exchange", "of_request"),
    [
        ({"outcome": Outcome.OK, "status": 204}, ("", False), ("", False)),
        ({"outcome": Outcome.CLIENT_ERROR, "status": 422}, ("422", True), ("", False)),
        ({"outcome": Outcome.SERVER_ERROR, "status": 503}, ("503", True), ("503", True)),
        ({"outcome": Outcome.CANCELLED, "status": 0}, ("", False), ("", False)),
        ({"outcome": Outcome.BROKEN, "status": 200}, ("broken", True), ("broken", True)),
        ({"outcome": Outcome.BROKEN, "status": 404}, ("404", True), ("", False)),
    ],
)
def test_what_counts_as_an_error(changes, of_exchange, of_request):
    exchange, own = of(EXCHANGE, **changes), of(OWN, **changes)
    assert (error(exchange), failed(exchange)) == of_exchange
    assert (error(own), failed(own)) == of_request


@pytest.mark.parametrize(
    ("outcome", "status", "code", "is_failed"),
    [
        (Outcome.TIMEOUT, 504, "upstream_timeout", True),
        (-1, 503, "no_champion", True),
        (-1, 404, "unknown_model", False),
        (Outcome.CANCELLED, 408, "slow_request", False),
    ],
)
def test_what_we_answered_ourselves_has_its_code(outcome, status, code, is_failed):
    own = of(OWN, outcome=int(outcome), status=status, error=code)
    assert (error(own), failed(own)) == (code, is_failed)


# ---- over gRPC


def test_a_call_has_the_words_of_grpc_and_none_of_http():
    semconv = pytest.importorskip("opentelemetry.semconv._incubating.attributes.rpc_attributes")
    assert (name(CALL), name(CALLED)) == (METHOD, f"{METHOD} challenger")
    said = attributes(CALLED)
    assert said[semconv.RPC_SYSTEM_NAME] == semconv.RpcSystemNameValues.GRPC.value
    assert (said[semconv.RPC_METHOD], said[semconv.RPC_RESPONSE_STATUS_CODE]) == (METHOD, "OK")
    assert (said["server.address"], said["server.port"], said["titleshot.outcome"]) == ("models", 8001, "ok")
    assert not [key for key in (*said, *attributes(CALL)) if key.startswith(("http", "url"))]


SERVERS_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Of a call, by OpenTelemetry's conventions for gRPC; of an exchange all but OK are errors."""


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_what_counts_as_an_error_of_a_call(code):
    outcome = int(outcome_of(code, connected=True))
    changes = {"rpc": code.name, "status": HTTP_STATUS[code], "outcome": outcome}
    exchange, own = of(CALLED, **changes), of(CALL, **changes)
    assert (error(exchange), failed(exchange)) == (("", False) if code.name == "OK" else (code.name, True))
    assert (error(own), failed(own)) == ((code.name, True) if code.name in SERVERS_ERRORS else ("", False))


def test_a_stream_that_tells_of_an_error_is_one_and_a_client_that_left_none():
    told = {"rpc": "OK", "status": 200, "outcome": int(Outcome.SERVER_ERROR)}
    assert error(of(CALLED, **told)) == error(of(CALL, **told)) == "server_error"
    left = {"rpc": "CANCELLED", "status": 499, "outcome": int(Outcome.CANCELLED)}
    assert error(of(CALLED, **left)) == error(of(CALL, **left)) == ""


def test_a_call_that_we_refused_has_the_reason():
    refused = of(CALL, rpc="UNAVAILABLE", status=503, outcome=-1, error="no_champion")
    assert (error(refused), failed(refused)) == ("no_champion", True)
    cut_off = of(CALL, rpc="UNAVAILABLE", status=503, outcome=int(Outcome.CANCELLED), error="stopping")
    assert (error(cut_off), failed(cut_off)) == ("stopping", True)
