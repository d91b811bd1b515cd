"""KServe's server behind titleshot, by both versions of its protocol, in every mode."""

import json

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from model_servers import SERVED_AS, kserve
from rest_world import both_versions, rest_world
from test_mlserver import HELLO, INFER, LABELS, ROWS, curl, inputs, tensors

MORE = f"    served_as: {SERVED_AS}\n"
V1 = f"/v1/models/{SERVED_AS}"
MODES = (("none", [1]), ("shadow", [1]), ("canary", [1, 2]))
"""And which versions answer clients."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(kserve, tmp_path_factory.mktemp("kserve")) as found:
        yield found


def test_version_1(tmp_path, registry_template, servers):
    with (
        rest_world(tmp_path, registry_template, servers, "kserve_v1", V1, MORE) as world,
        httpx.Client(trust_env=False) as client,
    ):
        for path in ("/", V1, "/v1/models", "/v2/health/ready"):
            ours, theirs = (client.get(url + path) for url in (world.url, servers[1].url))
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        for mode, versions in MODES:
            if mode != "none":
                world.on_trial(mode)
            seen = []
            for _ in range(24):
                found = client.post(f"{world.url}{V1}:predict", json={"instances": ROWS}).raise_for_status().json()
                seen.append([row["prediction"] for row in found["predictions"]])
            assert all(LABELS[version] in seen for version in versions)
            assert all(labels in [LABELS[version] for version in versions] for labels in seen)
            world.wait_answers(mode, 24)
        assert len(curl(f"{world.url}{V1}:predict", {"instances": ROWS})["predictions"]) == 3
        assert json.loads(world.gate(2).stdout)["verdict"] == "PASS"
        for body in (b"", b"no JSON", b'{"instances": [{}]}'):
            refused = client.post(f"{world.url}{V1}:predict", content=body)
            assert refused.status_code == 400
            assert "error" in refused.json()


def test_version_2_in_binary_and_in_json(tmp_path, registry_template, servers):
    with (
        rest_world(tmp_path, registry_template, servers, "open_inference", HELLO, MORE) as world,
        triton.InferenceServerClient(world.address) as client,
    ):
        assert client.is_model_ready(SERVED_AS)
        for mode, versions in MODES:
            if mode != "none":
                world.on_trial(mode)
            seen = []
            for count in range(20):
                found = client.infer(SERVED_AS, tensors(ROWS, binary=True), request_id=f"request {count}")
                assert found.get_response()["id"] == f"request {count}"
                assert found.get_response()["outputs"][0]["parameters"]["binary_data_size"] == 24
                assert np.allclose(found.as_numpy("score").sum(axis=1), 1.0)
                seen.append(found.as_numpy("label").tolist())
            for _ in range(4):
                asked = {"id": "j", "inputs": inputs(ROWS)}
                answer = httpx.post(f"{world.url}{INFER}", json=asked, trust_env=False).raise_for_status().json()
                assert answer["id"] == "j"
                seen.append(answer["outputs"][0]["data"])
            assert all(LABELS[version] in seen for version in versions)
            assert all(labels in [LABELS[version] for version in versions] for labels in seen)
            world.wait_answers(mode, 24)


@pytest.mark.long
def test_the_gate_asks_in_tensors(tmp_path, registry_template, servers):
    with rest_world(tmp_path, registry_template, servers, "open_inference", HELLO, MORE) as world:
        assert json.loads(world.gate(2).stdout)["verdict"] == "PASS"
