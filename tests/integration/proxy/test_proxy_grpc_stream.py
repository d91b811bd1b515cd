"""Streams over gRPC: each message as it comes, assigned once, recorded once."""

import threading

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
import numpy as np
import tritonclient.grpc as triton
from grpc_wire import model, read, refused, request, stream
from infer_server import answer
from proxy_wire import UUID7
from tritonclient.grpc import service_pb2 as pb

from comparator.events import Mode, Outcome, Role
from router.link.messages import BODY_PROTO, BODY_UNREAD, SHED

SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}
CANARY = {"mode": int(Mode.CANARY), "share": 100, "rollout_id": 77}


def test_each_message_of_a_stream_passes_as_it_comes(grpc_world):
    server = grpc_world.infer_server()
    grpc_world.serve(model(server))
    turn = threading.Semaphore(0)

    def requests():
        for number in range(5):
            yield request(id=str(number))
            assert turn.acquire(timeout=10)  # the next one is sent only when the answer to this one is here

    call = stream(grpc_world, requests(), [("x-user", "u")])
    seen = []
    for message in call:
        seen.append(message.infer_response.id)
        turn.release()
    assert seen == ["0", "1", "2", "3", "4"]
    assert call.code() is grpc.StatusCode.OK
    assert UUID7.fullmatch(dict(call.initial_metadata())["x-titleshot-id"])
    assert UUID7.fullmatch(dict(call.trailing_metadata())["x-titleshot-id"])
    assert server.calls[0]["x-user"] == "u"
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["body_state"], row["status"]) == (Outcome.OK, BODY_UNREAD, 200)
    assert row["latency"] == row["first_byte"]


def test_a_stream_of_one_answer_is_read_and_tritons_client_streams(grpc_world):
    grpc_world.serve(model(grpc_world.infer_server(lambda request, context: answer(request, [1.0]))))
    client = triton.InferenceServerClient(grpc_world.listen.address)
    came = threading.Event()
    results = []
    client.start_stream(lambda result, error: (results.append((result, error)), came.set()))
    tensor = triton.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1.0, 2.0]], np.float32))
    client.async_stream_infer("m", [tensor])
    assert came.wait(10)
    client.stop_stream()
    ((result, error),) = results
    assert error is None
    assert result.as_numpy("prediction").tolist() == [[1.0]]
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["body_state"]) == (Outcome.OK, BODY_PROTO)
    assert read(row) == [1.0]
    client.close()


def test_a_stream_that_tells_of_an_error_is_the_servers(grpc_world):
    server = grpc_world.infer_server()
    server.behave_stream = lambda requests, context: (pb.ModelStreamInferResponse(error_message="no") for _ in requests)
    grpc_world.serve(model(server))
    (message,) = stream(grpc_world, iter([request()]))
    assert message.error_message == "no"
    (row,) = grpc_world.control.wait_rows(1)
    assert row["outcome"] == Outcome.SERVER_ERROR


def test_a_stream_is_for_one_model(grpc_world):
    server = grpc_world.infer_server()
    grpc_world.serve(model(server), model(server, name="other"))
    error = refused(lambda: list(stream(grpc_world, iter([request(), request("other")]))))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "first message" in error.details()
    (row,) = grpc_world.control.wait_rows(1)
    assert row["outcome"] == Outcome.CANCELLED
    error = refused(lambda: list(stream(grpc_world, iter([request("third")]))))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert list(stream(grpc_world, iter([]))) == []


def test_a_stream_that_the_server_breaks_off_or_the_client_leaves(grpc_world):
    server = grpc_world.infer_server()

    def behave(requests, context):
        yield pb.ModelStreamInferResponse(infer_response=answer(next(requests)))
        context.abort(grpc.StatusCode.INTERNAL, "broke")

    server.behave_stream = behave
    grpc_world.serve(model(server))
    call = stream(grpc_world, iter([request()]))
    assert next(call).infer_response.model_name == "m"
    error = refused(lambda: next(call))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "broke")
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["outcome"], row["status"]) == (Outcome.SERVER_ERROR, 500)

    def endless(requests, context):
        yield pb.ModelStreamInferResponse(infer_response=answer(next(requests)))
        server.release.wait(20)

    server.behave_stream = endless
    server.cancelled.clear()
    call = stream(grpc_world, iter([request()]))
    next(call)
    call.cancel()
    assert server.cancelled.wait(10)
    row = grpc_world.control.wait_rows(2)[1]
    assert row["outcome"] == Outcome.CANCELLED


def test_a_stream_in_shadow_is_not_copied_and_counts_as_shed(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, **SHADOW))
    assert len(list(stream(grpc_world, iter([request()])))) == 1
    (row,) = grpc_world.control.wait_rows(1)
    assert row["flags"] == SHED
    assert not challenger.calls
    grpc_world.wait_counters(lambda counters: counters.shadow_dropped["m"]["stream"] == 1)


def test_a_streams_canary_is_assigned_once(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, **CANARY))
    assert len(list(stream(grpc_world, iter([request() for _ in range(4)])))) == 4
    assert (len(champion.calls), len(challenger.calls)) == (0, 1)
    (row,) = grpc_world.control.wait_rows(1)
    assert (row["role"], row["version"]) == (Role.CHALLENGER, 2)
