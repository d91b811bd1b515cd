"""gRPC end to end: Triton's client, `titleshot serve`, real MLServers that have nothing but their gRPC port."""

import random
import threading
from collections import Counter

import httpx
import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
import numpy as np
import tritonclient.grpc as triton
from grpc_serving import GrpcServing
from mlserver_process import MlServer
from tritonclient.grpc import service_pb2 as pb
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, wait_for

RIGHT_ABOVE = {1: 0.3, 2: 0.1, 3: 0.9}  # fair, good, bad


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlserver")
    made = {version: MlServer(folder / str(version), MODEL, above) for version, above in RIGHT_ABOVE.items()}
    try:
        for server in made.values():
            server.wait()
        yield made
    finally:
        for server in made.values():
            server.close()


@pytest.fixture
def grpc_serve(tmp_path, registry_template, servers):
    made = GrpcServing(tmp_path, registry_template, servers)
    yield made
    made.close()
    for line in (tmp_path / "serve.log").read_text().splitlines():
        print(line)  # noqa: T201 - shown when the test fails


def tensor(rows) -> triton.InferInput:
    values = np.array(rows, np.float32)
    made = triton.InferInput("rows", list(values.shape), "FP32")
    made.set_data_from_numpy(values)
    return made


class GrpcTraffic:
    """Clients in threads; each row carries its truth, and labels follow by the clients' own ids."""

    def __init__(self, world: GrpcServing, threads: int = 2) -> None:
        self.outcomes: Counter = Counter()
        self._world = world
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(seed,), daemon=True) for seed in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _client(self, seed: int) -> None:
        chance = random.Random(seed)
        client = triton.InferenceServerClient(self._world.address)
        labels: list[dict] = []
        number = 0
        while not self._stop.is_set():
            truth, number = int(chance.random() < 0.4), number + 1
            order = f"order {seed}.{number}"
            try:
                result = client.infer(
                    MODEL, [tensor([[truth, chance.random()]])], headers={"x-order": order}, client_timeout=10
                )
                assert result.as_numpy("predict").shape == (1, 1)
                self.outcomes["ok"] += 1
                labels.append({"request_id": order, "label": truth})
            except triton.InferenceServerException as error:
                self.outcomes[str(error.status())] += 1
            if len(labels) >= 25:
                httpx.post(f"{self._world.admin}/labels", json=labels, timeout=10, trust_env=False).raise_for_status()
                labels = []
            self._stop.wait(0.004)
        client.close()


def test_a_good_challenger_is_promoted_and_a_bad_one_rolled_back_over_grpc(grpc_serve):
    world = grpc_serve
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT)
    world.set_alias("champion", 1)
    world.start()
    world.served()
    traffic = GrpcTraffic(world)
    try:
        world.set_alias("challenger", 2)
        wait_for(lambda: world.alias("champion") == 2, "the good challenger to be promoted", 120)
        world.set_alias("challenger", 3)
        wait_for(
            lambda: any(decision["kind"] == "roll_back" for decision in world.history()),
            "the bad challenger to be rolled back",
            120,
        )
    finally:
        traffic.stop()
    assert world.alias("champion") == 2
    assert set(traffic.outcomes) == {"ok"}
    status = world.status()
    assert status["champion"] == 2
    assert status["roles"]["champion"]["precision"]["value"] > 0.8
    assert httpx.get(f"http://127.0.0.1:{world.port}/ping", timeout=5, trust_env=False).status_code == 503


def test_mlserver_gives_the_same_through_titleshot_as_directly(grpc_serve, servers):
    world = grpc_serve
    world.set_alias("champion", 1)
    world.start()
    through, direct = (
        triton.InferenceServerClient(address) for address in (world.address, f"127.0.0.1:{servers[1].port}")
    )
    world.served()
    assert through.is_server_live()
    assert through.is_server_ready()
    assert through.get_model_metadata(MODEL) == direct.get_model_metadata(MODEL)
    rows = [[1, 0.9], [0, 0.9], [1, 0.1]]
    for call in (through, direct):  # raw tensors, as Triton's client sends them
        result = call.infer(MODEL, [tensor(rows)], request_id="theirs")
        assert result.as_numpy("predict").ravel().tolist() == [1, 0, 0]
        assert result.get_response().id == "theirs"
        with pytest.raises(triton.InferenceServerException, match="rows of truth and noise") as caught:
            call.infer(MODEL, [tensor([[1.0]])])
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"

    request = pb.ModelInferRequest(model_name=MODEL)
    typed = request.inputs.add(name="rows", datatype="FP64", shape=[2, 2])
    typed.contents.fp64_contents.extend([1, 0.9, 0, 0.9])
    with grpc.insecure_channel(world.address) as channel:
        method = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelInferResponse.FromString,
        )
        answer, call = method.with_call(request, metadata=[("x-user", "ann")], timeout=10)
        assert [*answer.outputs[0].contents.int64_contents] == [1, 0]
        assert dict(call.trailing_metadata())["x-seen-user"] == "ann"
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelInferResponse.FromString,  # MLServer's own: it does not wrap its answers as Triton does
        )
        answers = list(stream(iter([request, request]), timeout=10))
        assert [len(each.outputs) for each in answers] == [2, 2]
    wait_for(lambda: world.status()["roles"]["champion"]["answers"] >= 3, "what was asked to be counted")
    for client in (through, direct):
        client.close()
