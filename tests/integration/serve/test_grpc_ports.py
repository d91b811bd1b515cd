"""The gRPC port of the whole titleshot: workers share it, a taken one is said, a killed worker is replaced."""

import os
import signal
import socket

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from grpc_serving import GrpcServing
from infer_server import InferServer
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from world import MODEL, wait_for


@pytest.fixture
def serving(tmp_path, registry_template):
    server = InferServer()
    made = GrpcServing(tmp_path, registry_template, {1: server})
    yield made
    made.close()
    server.close()
    for line in made.log().splitlines():
        print(line)  # noqa: T201 - shown when the test fails


def answered(world) -> bool:
    """Over a connection of its own: the kernel chooses the worker."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(world.address, options) as channel:
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return service.ModelInfer(pb.ModelInferRequest(model_name=MODEL), timeout=5).model_name == MODEL


def test_workers_share_the_port_and_a_killed_one_is_replaced(serving):
    serving.workers = 2
    serving.write_settings('    gate: "off"\n')
    serving.start()
    serving.served()
    wait_for(lambda: len(serving.listening()) == 2, "both workers to listen")
    for _ in range(20):
        assert answered(serving)
    killed = serving.children()["proxy 0"]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len({*serving.listening()} - {killed}) == 2, "another worker to listen")
    for _ in range(20):
        assert answered(serving)
    serving.stop()
    assert serving.process.returncode == 0
    assert "Traceback" not in serving.log()


def test_a_port_that_is_taken_is_said_at_once(serving):
    with socket.create_server(("127.0.0.1", serving.grpc_port)):
        serving.start()
        assert serving.process.wait(30) == 1
    assert f"grpc: cannot listen on 127.0.0.1:{serving.grpc_port}: Address already in use" in serving.log()
