"""Samples of requests over gRPC: what control gets of them, and what of those that are too long."""

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

from grpc_wire import SERVICE, model, refused, request, stream
from proxy_wire import until

from router.link.messages import Limits, Sampled
from router.link.sampling import in_sample
from router.protocols.open_inference_grpc import table


def sampled(world, count):
    def found():
        return [each for message in world.control.of(Sampled) for each in message.requests]

    until(lambda: len(found()) >= count, f"{count} samples")
    assert len(found()) == count
    return found()


@pytest.mark.parametrize("raw", [True, False])
def test_a_sampled_call_reaches_control_as_it_came(grpc_world, raw):
    champion = grpc_world.infer_server()
    grpc_world.serve(model(champion, sample=100))
    sent = request(raw=raw, model_version="1")
    grpc_world.call(sent)
    (row,) = grpc_world.control.wait_rows(1)
    (each,) = sampled(grpc_world, 1)
    assert (each.request_hi, each.request_lo) == (row["hi"], row["lo"])
    assert 0 <= row["at"] - each.at < 10
    assert (each.method, each.path.decode(), each.over_grpc) == (b"POST", f"{SERVICE}ModelInfer", True)
    assert each.body == sent.SerializeToString()
    assert table(each.body).rows == 1


def test_the_sample_is_by_the_ids_and_of_predictions_only(grpc_world):
    champion = grpc_world.infer_server()
    grpc_world.serve(model(champion, sample=50))
    for _ in range(40):
        grpc_world.call(request())
    list(stream(grpc_world, iter([request()])))
    rows = grpc_world.control.wait_rows(41)
    wanted = {row["lo"] for row in rows[:40] if in_sample(row["hi"], row["lo"], 50)}
    assert {each.request_lo for each in sampled(grpc_world, len(wanted))} == wanted


def test_one_that_is_too_long_is_counted_and_answered_and_one_that_is_none_is_refused(grpc_world):
    grpc_world.limits = Limits(mirror_body_bytes=64)
    champion = grpc_world.infer_server()
    grpc_world.serve(model(champion, sample=100))
    assert grpc_world.call(request(raw=True, values=range(40)))
    assert refused(lambda: grpc_world.call(request("other"))).code().name == "NOT_FOUND"
    until(lambda: sum(message.dropped for message in grpc_world.control.of(Sampled)) == 1, "what was dropped")
    assert not sampled(grpc_world, 0)
