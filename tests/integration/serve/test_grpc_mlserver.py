"""gRPC end to end: Triton's client, `titleshot serve`, real MLServers that have nothing but their gRPC port."""

import random
import secrets
import threading
from collections import Counter

import httpx
import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
import numpy as np
import tritonclient.grpc as triton
from collector import Collector, values
from grpc_serving import GrpcServing
from mlserver_process import MlServer
from training_profiles import give_profile
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


def columns(truth, noise, *, raw) -> pb.ModelInferRequest:
    """A tensor for each column, as clients send them that know their features by name."""
    request = pb.ModelInferRequest(model_name=MODEL)
    for name, datatype, contents, given in (
        ("truth", "INT64", "int64_contents", truth),
        ("noise", "FP64", "fp64_contents", noise),
    ):
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(given), 1])
        if raw:
            request.raw_input_contents.append(np.array(given, "<i8" if datatype == "INT64" else "<f8").tobytes())
        else:
            getattr(tensor.contents, contents).extend(given)
    return request


SHADOW = QUICK_POLICY + QUICK_ROLLOUT.replace("for: 1s", "for: 10m")


@pytest.fixture
def in_shadow(grpc_serve):
    """Version 2 on trial beside 1; it was trained on the same, in another unit. `settings` are the model's, besides."""

    def start(settings="", more=""):
        world = grpc_serve
        give_profile(world, 1, lambda draw: draw.gauss(0, 1))
        give_profile(world, 2, lambda draw: draw.gauss(0, 1000))
        world.more = more
        world.write_settings(SHADOW + settings)
        world.set_alias("champion", 1)
        world.start()
        world.served()
        world.set_alias("challenger", 2)
        wait_for(lambda: world.phase() == "shadow", "version 2 is in shadow")
        return world

    return start


def infer_on(channel):
    return channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        pb.ModelInferRequest.SerializeToString,
        pb.ModelInferResponse.FromString,
    )


def test_what_drifts_and_what_breaks_the_signature_is_named_over_grpc(in_shadow):
    world = in_shadow("    skew: {share: 100, window: 5m, min_rows: 300}\n")

    def skew():
        return world.status()["skew"]

    wait_for(
        lambda: [each["no_profile"] for each in skew()["roles"].values()] == ["", ""], "both profiles are read", 30
    )
    draw = random.Random(2)
    with grpc.insecure_channel(world.address) as channel:
        infer = infer_on(channel)
        for number in range(30):
            truth = [int(draw.random() < 0.4) for _ in range(20)]
            noise = [draw.gauss(0, 1) for _ in range(20)]
            answer = infer(columns(truth, noise, raw=number % 2), timeout=10)
            assert list(answer.outputs[0].shape) == [20, 1]
        other = columns([1], [0.9], raw=True)
        other.inputs[1].name = "volume"  # MLServer does not mind
        infer(other, timeout=10)
        with pytest.raises(grpc.RpcError):
            infer(pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[b"x"]), timeout=10)
    wait_for(lambda: skew()["roles"]["challenger"]["skewed"] == 1, "the challenger's feature is named", 30)
    wait_for(lambda: skew()["roles"]["champion"]["extra"] == ["volume"], "the latest request is looked at", 30)
    found = skew()
    champion, challenger = found["roles"]["champion"], found["roles"]["challenger"]
    assert (champion["skewed"], champion["compared"]) == (0, 2)
    assert {each["name"]: each["skewed"] for each in challenger["features"]} == {"noise": True, "truth": False}
    broken = {(each["column"], each["break"]): each["requests"] for each in champion["contract"] if each["requests"]}
    assert broken == {("noise", "missing"): 1, ("(not in the signature)", "extra"): 1}
    assert (found["requests"]["checked"], found["requests"]["unreadable"], found["requests"]["dropped"]) == (31, 1, 0)
    assert found["answers"] == []  # as many rows as asked, of both


def test_a_traced_call_is_one_trace_through_client_titleshot_and_both_versions(in_shadow, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector = Collector()
    try:
        world = in_shadow(more=f"tracing: {{endpoint: {collector.url!r}, share: 0}}\n")
        trace, client = secrets.token_hex(16), secrets.token_hex(8)
        metadata = [("traceparent", f"00-{trace}-{client}-01"), ("x-order", "order 7"), ("authorization", "s3cret")]
        with grpc.insecure_channel(world.address) as channel:
            infer_on(channel)(columns([1], [0.9], raw=True), metadata=metadata, timeout=10)
        wait_for(lambda: len(collector.of_trace(trace)) == 3, "three spans of the trace")
    finally:
        collector.close()
    method = "inference.GRPCInferenceService/ModelInfer"
    spans = {span.name: span for span in collector.of_trace(trace)}
    own, champion, challenger = (spans[name] for name in (method, f"{method} champion", f"{method} challenger"))
    assert own.parent_span_id.hex() == client
    assert champion.parent_span_id == challenger.parent_span_id == own.span_id
    assert (own.kind, champion.kind, challenger.kind) == (2, 3, 3)  # server and client, of opentelemetry-proto
    assert values(own.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": "OK",
        "titleshot.model": MODEL,
        "titleshot.version": 1,
        "titleshot.role": "champion",
        "titleshot.mode": "shadow",
        "titleshot.request_id": "order 7",
        "titleshot.outcome": "ok",
        "titleshot.rollout_id": world.status()["rollout"]["id"],
    }
    said = values(challenger.attributes)
    assert (said["titleshot.version"], said["server.port"]) == (2, world.servers[2].port)
    assert "s3cret" not in str(collector.spans)
