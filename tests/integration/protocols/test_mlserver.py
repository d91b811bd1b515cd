"""MLServer behind titleshot: tritonclient, curl and httpx by the Open Inference Protocol, in every mode."""

import json
import subprocess

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from model_servers import SERVED_AS, mlserver
from rest_world import both_versions, rest_world
from tritonclient.utils import InferenceServerException

ROWS = [{"truth": 1, "noise": 0.5}, {"truth": 0, "noise": 0.2}, {"truth": 1, "noise": 0.05}]
LABELS = {1: [1, 1, 0], 2: [1, 0, 0]}
"""By version."""

HELLO = f"/v2/models/{SERVED_AS}/ready"
INFER = f"/v2/models/{SERVED_AS}/infer"
OUTPUTS = ("predict", "predict_proba")


def inputs(rows) -> list[dict]:
    names = (("truth", "INT64"), ("noise", "FP64"))
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in names
    ]


def tensors(rows, *, binary: bool) -> list[triton.InferInput]:
    found = []
    for name, kind, dtype in (("truth", "INT64", np.int64), ("noise", "FP64", np.float64)):
        tensor = triton.InferInput(name, [len(rows), 1], kind)
        found.append(tensor.set_data_from_numpy(np.array([[row[name]] for row in rows], dtype), binary_data=binary))
    return found


def curl(url: str, body: object, *options: str) -> dict:
    command = ["curl", "-s", "--noproxy", "*", "-H", "content-type: application/json", *options]
    found = subprocess.run([*command, "-d", json.dumps(body), url], check=True, capture_output=True, timeout=60)
    return json.loads(found.stdout)


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


def infer(client, count, coding) -> int:
    """One request; the version that answered it."""
    found = client.infer(
        SERVED_AS,
        tensors(ROWS, binary=False),
        outputs=[triton.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS],
        request_id=f"request {count}",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    version = int(found.get_response()["model_version"][1:])
    assert found.get_response()["id"] == f"request {count}"
    assert found.as_numpy("predict").ravel().tolist() == LABELS[version]
    assert found.as_numpy("predict_proba").shape == (3, 2)
    return version


def test_tritonclient_sees_the_server_in_every_mode_and_all_answers_are_read(world, servers):
    direct, client = (triton.InferenceServerClient(url) for url in (servers[1].url[7:], world.address))
    with client, direct:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(SERVED_AS)
        assert client.get_model_metadata(SERVED_AS) == direct.get_model_metadata(SERVED_AS)
        assert client.get_server_metadata() == direct.get_server_metadata()
        for mode, versions in (("none", {1}), ("shadow", {1}), ("canary", {1, 2})):
            if mode != "none":
                world.on_trial(mode)
            assert {infer(client, count, (None, "gzip")[count % 2]) for count in range(24)} == versions
            world.wait_answers(mode, 24)
    assert curl(f"{world.url}{INFER}", {"id": "c", "inputs": inputs(ROWS)}, "--compressed")["id"] == "c"
    world.wait_answers("canary", 25)

    # What a client asks of one version is answered by that version alone, or not at all.
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
