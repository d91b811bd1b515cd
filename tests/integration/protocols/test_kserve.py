"""KServe's server behind titleshot, by both versions of its protocol, in every mode."""

import json

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from asking import ROWS, curl, inputs, tensors, version_of
from matrix import KSERVE, cells
from model_servers import SERVED_AS, kserve
from rest_world import both_versions, rest_world

MORE = f"    served_as: {SERVED_AS}\n"
V1 = f"/v1/models/{SERVED_AS}"
READY = f"/v2/models/{SERVED_AS}/ready"
INFER = f"/v2/models/{SERVED_AS}/infer"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(kserve, tmp_path_factory.mktemp("kserve")) as found:
        yield found


@pytest.fixture(scope="module")
def version_1(tmp_path_factory, registry_template, servers):
    with rest_world(tmp_path_factory.mktemp("v1"), registry_template, servers, "kserve_v1", V1, MORE) as found:
        yield found


@pytest.fixture(scope="module")
def version_2(tmp_path_factory, registry_template, servers):
    with rest_world(tmp_path_factory.mktemp("v2"), registry_template, servers, "open_inference", READY, MORE) as found:
        yield found


def labels(answer):
    return [row["prediction"] for row in answer["predictions"]]


def v1_by_httpx(world, count):
    with httpx.Client(trust_env=False) as client:
        for _ in range(count):
            found = client.post(f"{world.url}{V1}:predict", json={"instances": ROWS}).raise_for_status()
            yield version_of(labels(found.json()))


def v1_by_curl(world, count):
    for _ in range(count):
        yield version_of(labels(curl(f"{world.url}{V1}:predict", {"instances": ROWS})))


def by_tritonclient(world, count):
    with triton.InferenceServerClient(world.address) as client:
        assert client.is_model_ready(SERVED_AS)
        for number in range(count):
            found = client.infer(SERVED_AS, tensors(ROWS, binary=True), request_id=f"request {number}")
            assert found.get_response()["id"] == f"request {number}"
            assert found.get_response()["outputs"][0]["parameters"]["binary_data_size"] == 24
            assert np.allclose(found.as_numpy("score").sum(axis=1), 1.0)
            yield version_of(found.as_numpy("label").tolist())


def by_httpx(world, count):
    asked = {"id": "j", "inputs": inputs(ROWS)}
    with httpx.Client(trust_env=False) as client:
        for _ in range(count):
            answer = client.post(f"{world.url}{INFER}", json=asked).raise_for_status().json()
            assert answer["id"] == "j"
            yield version_of(answer["outputs"][0]["data"])


ASK = {"v1-httpx": v1_by_httpx, "v1-curl": v1_by_curl, "tritonclient": by_tritonclient, "httpx": by_httpx}


@pytest.mark.parametrize(("client", "mode"), cells(KSERVE, "v1-httpx", "v1-curl"))
def test_cell_of_version_1(version_1, client, mode):
    version_1.cell(mode, ASK[client])


@pytest.mark.parametrize(("client", "mode"), cells(KSERVE, "tritonclient", "httpx"))
def test_cell_of_version_2(version_2, client, mode):
    version_2.cell(mode, ASK[client])


def test_all_else_passes(version_1, servers):
    with httpx.Client(trust_env=False) as client:
        for path in ("/", V1, "/v1/models", "/v2/health/ready"):
            ours, theirs = (client.get(url + path) for url in (version_1.url, servers[1].url))
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        for body in (b"", b"no JSON", b'{"instances": [{}]}'):
            refused = client.post(f"{version_1.url}{V1}:predict", content=body)
            assert refused.status_code == 400
            assert "error" in refused.json()


def test_the_gate_asks_in_instances(version_1):
    assert json.loads(version_1.gate(2).stdout)["verdict"] == "PASS"


@pytest.mark.long
def test_the_gate_asks_in_tensors(version_2):
    assert json.loads(version_2.gate(2).stdout)["verdict"] == "PASS"
