"""MLServer behind titleshot, by the Open Inference Protocol, in every mode."""

import json

import httpx
import pytest
import tritonclient.grpc as grpc_triton
import tritonclient.http as triton
from asking import ROWS, curl, grpc_tensors, inputs, tensors, version_of
from matrix import MLSERVER, cells
from model_servers import SERVED_AS, mlserver
from rest_world import both_versions, rest_world
from tritonclient.utils import InferenceServerException

HELLO = f"/v2/models/{SERVED_AS}/ready"
INFER = f"/v2/models/{SERVED_AS}/infer"
OUTPUTS = ("predict", "predict_proba")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(mlserver, tmp_path_factory.mktemp("mlserver")) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    more = f"    served_as: {SERVED_AS}\n"
    folder = tmp_path_factory.mktemp("titleshot")
    with rest_world(folder, registry_template, servers, "open_inference", HELLO, more) as found:
        yield found


def by_tritonclient(world, count):
    with triton.InferenceServerClient(world.address) as client:
        for number in range(count):
            coding = (None, "gzip")[number % 2]
            found = client.infer(
                SERVED_AS,
                tensors(ROWS, binary=False),
                outputs=[triton.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS],
                request_id=f"request {number}",
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            version = version_of(found.as_numpy("predict").ravel().tolist())
            assert found.get_response()["id"] == f"request {number}"
            assert found.get_response()["model_version"] == f"v{version}"
            assert found.as_numpy("predict_proba").shape == (3, 2)
            yield version


def by_httpx(world, count):
    with httpx.Client(trust_env=False) as client:
        for _ in range(count):
            found = client.post(f"{world.url}{INFER}", json={"inputs": inputs(ROWS)}).raise_for_status().json()
            yield version_of(found["outputs"][0]["data"])


def by_curl(world, count):
    for _ in range(count):
        found = curl(f"{world.url}{INFER}", {"id": "c", "inputs": inputs(ROWS)}, "--compressed")
        assert found["id"] == "c"
        yield version_of(found["outputs"][0]["data"])


def by_grpc(world, count):
    with grpc_triton.InferenceServerClient(world.grpc_address) as client:
        for number in range(count):
            found = client.infer(SERVED_AS, grpc_tensors(ROWS), request_id=f"call {number}")
            assert found.get_response().id == f"call {number}"
            yield version_of(found.as_numpy("predict").ravel().tolist())


ASK = {"tritonclient": by_tritonclient, "httpx": by_httpx, "curl": by_curl, "grpc": by_grpc}


@pytest.mark.parametrize(("client", "mode"), cells(MLSERVER))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client])


def test_tritonclient_sees_the_server(world, servers):
    direct, client = (triton.InferenceServerClient(url) for url in (servers[1].url[7:], world.address))
    with client, direct:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(SERVED_AS)
        assert client.get_model_metadata(SERVED_AS) == direct.get_model_metadata(SERVED_AS)
        assert client.get_server_metadata() == direct.get_server_metadata()


def test_what_a_client_asks_of_one_version_is_answered_by_that_version_alone_or_not_at_all(world):
    world.enter("canary")
    pinned = f"{world.url}/v2/models/{SERVED_AS}/versions"
    for _ in range(8):
        assert httpx.post(f"{pinned}/v1/infer", json={"inputs": inputs(ROWS)}, trust_env=False).status_code == 200
    assert httpx.post(f"{pinned}/v2/infer", json={"inputs": inputs(ROWS)}, trust_env=False).status_code == 404


def test_the_gate_asks_in_tensors(world):
    report = json.loads(world.gate(2).stdout)
    assert {check["verdict"] for check in report["checks"]} == {"PASS"}


def test_errors_of_the_server_are_the_clients(world, servers):
    for body in (b"", b"{}", b"no JSON", json.dumps({"inputs": inputs(ROWS)[:1]}).encode()):
        ours, theirs = (
            httpx.post(f"{url}/v2/models/{SERVED_AS}/versions/v1/infer", content=body, trust_env=False)
            for url in (world.url, servers[1].url)
        )
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        assert httpx.post(f"{world.url}{INFER}", content=body, trust_env=False).status_code in (400, 422)
    unknown = httpx.post(f"{world.url}/v2/models/other/infer", json={"inputs": inputs(ROWS)}, trust_env=False)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_model")
    with triton.InferenceServerClient(world.address) as client, pytest.raises(InferenceServerException):
        client.infer(SERVED_AS, tensors(ROWS, binary=True))  # MLServer reads no binary tensors over HTTP
