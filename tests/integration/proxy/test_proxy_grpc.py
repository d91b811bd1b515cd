"""gRPC through a real proxy process: Triton's own client, and bare calls, to model servers of the published service."""

import threading
from pathlib import Path

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
import numpy as np
import tritonclient.grpc as triton
from grpc_wire import SERVICE, model, read, refused, request
from infer_server import answer
from proxy_wire import UUID7, can_connect, until
from tritonclient.grpc import service_pb2 as pb

from comparator.events import Outcome, Role, request_key
from router.link.messages import BODY_NONE, BODY_PROTO, BODY_UNREAD, Backend, Limits, ModelRoutes
from router.protocols.wire import text_field


def test_a_prediction_goes_through_as_bytes_with_its_metadata(grpc_world):
    def behave(request, context):
        context.send_initial_metadata([("x-early", "1"), ("x-titleshot-id", "not ours")])
        context.set_trailing_metadata([("x-late", "2"), ("x-raw-bin", b"\xff\x00")])
        return answer(request, [0.25, 0.5])

    server = grpc_world.infer_server(behave)
    grpc_world.serve(model(server))
    sent = request(id="theirs")
    metadata = [("authorization", "Bearer a"), ("x-user", "u"), ("x-blob-bin", b"\x00\xff")]
    got, call = grpc_world.call(sent, [*metadata, ("x-titleshot-shadow", "1")], timeout=7.0)
    assert [*got.outputs[0].contents.fp32_contents] == [0.25, 0.5]
    assert got.id == "theirs"
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-early"] == "1"
    assert (trailing["x-late"], trailing["x-raw-bin"]) == ("2", b"\xff\x00")
    assert UUID7.fullmatch(initial["x-titleshot-id"])
    assert trailing["x-titleshot-id"] == initial["x-titleshot-id"]
    (asked,) = server.calls
    assert asked.message == sent.SerializeToString()
    assert asked["authorization"] == "Bearer a"
    assert (asked["x-user"], asked["x-blob-bin"]) == ("u", b"\x00\xff")
    assert asked["x-titleshot-id"] == asked["x-request-id"] == initial["x-titleshot-id"]
    assert asked["x-forwarded-for"] == "127.0.0.1"
    assert "x-titleshot-shadow" not in asked
    assert 5.0 < asked.seconds_left < 7.5  # gRPC rounds up
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["version"], row["role"], row["outcome"], row["status"]) == (1, Role.CHAMPION, Outcome.OK, 200)
    assert row["body_state"] == BODY_PROTO
    assert row["body"] == got.SerializeToString()
    assert read(row) == [0.25, 0.5]
    assert f"{row['hi']:016x}{row['lo']:016x}" == initial["x-titleshot-id"].replace("-", "")
    assert 0 < row["first_byte"] <= row["latency"] < 7


def test_tritons_client_with_raw_and_typed_tensors_and_all_it_asks(grpc_world):
    server = grpc_world.infer_server()
    grpc_world.serve(model(server))
    client = triton.InferenceServerClient(grpc_world.listen.address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.get_server_metadata().name == "titleshot"
    assert client.get_model_metadata("m").platform == "tests"
    tensor = triton.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1.0, 2.0]], np.float32))
    result = client.infer("m", [tensor], headers={"x-request-id": "abc"})
    assert result.as_numpy("prediction").tolist() == [[1.0]]
    (row,) = grpc_world.control.wait_rows(1)  # what was asked besides is no prediction
    assert read(row) == [1.0]
    client.close()
    server.is_ready = False
    assert not triton.InferenceServerClient(grpc_world.listen.address).is_server_ready()


def test_what_is_no_prediction_is_answered_with_the_servers_metadata_too(grpc_world):
    server = grpc_world.infer_server()
    grpc_world.serve(model(server))
    ready = grpc_world.channel.unary_unary(
        f"{SERVICE}ModelReady", pb.ModelReadyRequest.SerializeToString, pb.ModelReadyResponse.FromString
    )
    _, call = ready.with_call(pb.ModelReadyRequest(name="m"), timeout=10)
    (asked,) = server.calls
    assert dict(call.trailing_metadata())["x-titleshot-id"] == asked["x-titleshot-id"]


def test_a_model_is_found_by_its_name_and_what_is_not_there_is_said(grpc_world):
    one, two = grpc_world.infer_server(), grpc_world.infer_server()
    http = ModelRoutes("http", "mlflow", Backend(1, "http://127.0.0.1:9"))
    grpc_world.serve(
        model(one, name="one"), model(two, name="second", served_as="two"), model(None, other=one, name="none"), http
    )
    grpc_world.call(request("two"))  # as its servers know it
    assert grpc_world.control.wait_rows(1)[0]["model"] == "second"
    assert (len(one.calls), len(two.calls)) == (0, 1)
    for name in ("second", "", "http"):
        error = refused(lambda name=name: grpc_world.call(request(name)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    error = refused(lambda: grpc_world.call(request("none")))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "no champion" in error.details()
    broken = grpc_world.channel.unary_unary(f"{SERVICE}ModelInfer")
    assert refused(lambda: broken(b"\x0a\xff")).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(lambda: broken(text_field(1, "one") * 10_001)).code() is grpc.StatusCode.INVALID_ARGUMENT
    other = grpc_world.channel.unary_unary(f"{SERVICE}RepositoryModelUnload")
    assert refused(lambda: other(b"\x12\x03one")).code() is grpc.StatusCode.UNIMPLEMENTED
    grpc_world.wait_counters(
        lambda counters: counters.refused == {"unknown_model": 3, "no_champion": 1, "malformed": 2}
    )


@pytest.mark.parametrize(
    ("code", "outcome", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Outcome.CLIENT_ERROR, 400),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Outcome.CLIENT_ERROR, 429),
        (grpc.StatusCode.INTERNAL, Outcome.SERVER_ERROR, 500),
        (grpc.StatusCode.UNAVAILABLE, Outcome.SERVER_ERROR, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Outcome.TIMEOUT, 504),
        (grpc.StatusCode.CANCELLED, Outcome.BROKEN, 499),
    ],
)
def test_a_status_passes_with_its_details_and_is_recorded_as_what_it_says_of_the_version(
    grpc_world, code, outcome, status
):
    def behave(request, context):
        context.set_trailing_metadata([("x-late", "2"), ("grpc-status-details-bin", b"\x08\x03")])
        context.abort(code, "why not")

    grpc_world.serve(model(grpc_world.infer_server(behave)))
    error = refused(lambda: grpc_world.call(request()))
    assert (error.code(), error.details()) == (code, "why not")
    trailing = dict(error.trailing_metadata())
    assert (trailing["x-late"], trailing["grpc-status-details-bin"]) == ("2", b"\x08\x03")
    assert UUID7.fullmatch(trailing["x-titleshot-id"])
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["status"], row["body"]) == (outcome, status, b"")
    assert row["body_state"] == BODY_UNREAD


def test_a_server_that_is_away_is_no_secret_but_where_it_would_be(grpc_world):
    server = grpc_world.infer_server()
    grpc_world.serve(model(server))
    server.close()
    error = refused(lambda: grpc_world.call(request()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "The model server could not be reached."
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["status"], row["body_state"]) == (Outcome.CONNECT, 0, BODY_NONE)


def test_a_deadline_is_the_servers_too_and_the_versions_time_out(grpc_world):
    server = grpc_world.infer_server()
    server.behave = lambda request, context: server.release.wait(20) and answer(request)
    grpc_world.serve(model(server))
    error = refused(lambda: grpc_world.call(request(), timeout=0.3))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    (row,) = grpc_world.control.wait_rows(1)
    assert row["outcome"] == Outcome.TIMEOUT
    assert server.cancelled.wait(10)


def test_our_own_deadline_holds_where_the_client_has_none(grpc_world):
    grpc_world.limits = Limits(first_byte_seconds=0.2)
    server = grpc_world.infer_server()
    server.behave = lambda request, context: server.release.wait(20) and answer(request)
    grpc_world.serve(model(server))
    error = refused(lambda: grpc_world.call(request(), timeout=None))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    (row,) = grpc_world.control.wait_rows(1)
    assert row["outcome"] == Outcome.TIMEOUT


def test_a_client_that_hangs_up_cancels_the_servers_work_and_says_nothing_of_the_version(grpc_world):
    asked = threading.Event()
    server = grpc_world.infer_server()
    server.behave = lambda request, context: asked.set() or (server.release.wait(20) and answer(request))
    grpc_world.serve(model(server))
    method = grpc_world.channel.unary_unary(f"{SERVICE}ModelInfer")
    under_way = method.future(request().SerializeToString(), timeout=30)
    assert asked.wait(10)
    under_way.cancel()
    assert server.cancelled.wait(10)
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["status"]) == (Outcome.CANCELLED, 0)


def test_a_big_message_both_ways_and_one_that_is_too_big(grpc_world):
    grpc_world.limits = Limits(max_body_bytes=24 * 1024 * 1024)
    server = grpc_world.infer_server(lambda request, context: answer(request, np.zeros(2_000_000)))
    grpc_world.serve(model(server))
    big = pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(16 * 1024 * 1024)])
    got, _ = grpc_world.call(big, timeout=30)
    assert len(got.raw_output_contents[0]) == 8_000_000
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["body_state"]) == (Outcome.OK, BODY_UNREAD)
    assert len(server.calls[0].message) == len(big.SerializeToString())
    too_big = pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(25 * 1024 * 1024)])
    error = refused(lambda: grpc_world.call(too_big, timeout=30))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(server.calls) == 1


def test_the_clients_own_id_is_the_key(grpc_world):
    grpc_world.serve(model(grpc_world.infer_server(), request_id="header:X-Order"))
    _, call = grpc_world.call(request(), [("x-order", "order 7")])
    assert dict(call.initial_metadata())["x-titleshot-id"] == "order 7"
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["hi"], row["lo"]) == divmod(request_key("order 7"), 1 << 64)


# ---- the process


def test_new_routes_hold_for_new_calls_and_open_ones_end_where_they_are(grpc_world):
    old, new = grpc_world.infer_server(), grpc_world.infer_server(lambda request, context: answer(request, [2.0]))
    asked = threading.Event()
    old.behave = lambda request, context: asked.set() or (old.release.wait(20) and answer(request))
    grpc_world.serve(model(old))
    method = grpc_world.channel.unary_unary(f"{SERVICE}ModelInfer")
    under_way = method.future(request().SerializeToString(), timeout=30)
    assert asked.wait(10)
    grpc_world.control.set_routes(grpc_world.routes(model(new)))
    got, _ = grpc_world.call(request())
    assert [*got.outputs[0].contents.fp32_contents] == [2.0]
    old.release.set()
    assert [*pb.ModelInferResponse.FromString(under_way.result()).outputs[0].contents.fp32_contents] == [1.0]


def test_what_is_open_ends_before_the_process_does(grpc_world):
    server = grpc_world.infer_server()
    asked = threading.Event()
    server.behave = lambda request, context: asked.set() or (server.release.wait(20) and answer(request))
    grpc_world.serve(model(server))
    method = grpc_world.channel.unary_unary(f"{SERVICE}ModelInfer")
    under_way = method.future(request().SerializeToString(), timeout=30)
    assert asked.wait(10)
    grpc_world.proxy.terminate()
    until(lambda: not can_connect(grpc_world.listen.port), "the port to be closed")
    assert grpc_world.proxy.process.poll() is None
    server.release.set()
    assert under_way.result(10)
    assert grpc_world.proxy.process.wait(10) == 0
    (row,) = grpc_world.control.wait_rows(1)
    assert row["outcome"] == Outcome.OK


def test_a_proxy_imports_grpc_only_where_it_has_a_port_for_it(grpc_world):
    server = grpc_world.server()
    routes = ModelRoutes("m", "mlflow", Backend(1, server.url(), grpc="grpc://127.0.0.1:9"))
    grpc_world.start(routes)
    assert grpc_world.client().ask().status == 200
    assert "cygrpc" not in libraries(grpc_world)
    grpc_world.proxy.close()
    grpc_world.control.hang_up()
    grpc_world.serve(routes)
    assert grpc_world.client().ask().status == 200
    assert "cygrpc" in libraries(grpc_world)


def libraries(world) -> str:
    return Path(f"/proc/{world.proxy.process.pid}/maps").read_text()
