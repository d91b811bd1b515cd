"""BentoML behind titleshot, by its own client and others, read by JSON pointers, in every mode."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest
from asking import ROWS, curl, version_of
from matrix import BENTOML, cells
from model_servers import bentoml, environment
from rest_world import both_versions, rest_world

MORE = """\
    answer: {rows: /result/items, prediction: /label, score: /probabilities/1}
    predict_path: /predict
    ready_path: /readyz
    request: {rows: /rows}
"""
CLIENT = Path(__file__).parents[2] / "support" / "served" / "ask_bentoml.py"
ASKED = {"rows": ROWS}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(bentoml, tmp_path_factory.mktemp("bentoml")) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    with rest_world(tmp_path_factory.mktemp("titleshot"), registry_template, servers, "json", "/readyz", MORE) as found:
        yield found


def version(answer):
    assert all(len(item["probabilities"]) == 2 for item in answer["result"]["items"])
    return version_of([item["label"] for item in answer["result"]["items"]])


def by_bentoml(world, count):
    """Its client is made from the service's /schema.json, and only in BentoML's environment."""
    python = environment("bentoml", "TITLESHOT_TEST_BENTOML") / "python"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, CLIENT, world.url, str(count), json.dumps(ROWS)],
        env={**kept, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(world.folder), "HOME": str(world.folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = json.loads(done.stdout)
    assert "".join(said["parts"]) == "part 0\npart 1\n"  # a stream, which is no prediction
    return [version(answer) for answer in said["answers"]]


def by_httpx(world, count):
    with httpx.Client(trust_env=False) as client:
        for _ in range(count):
            yield version(client.post(f"{world.url}/predict", json=ASKED).raise_for_status().json())


def by_curl(world, count):
    for _ in range(count):
        yield version(curl(f"{world.url}/predict", ASKED))


ASK = {"bentoml": by_bentoml, "httpx": by_httpx, "curl": by_curl}


@pytest.mark.parametrize(("client", "mode"), cells(BENTOML))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client])


def test_all_else_passes(world, servers):
    with httpx.Client(trust_env=False) as client:
        for path in ("/readyz", "/livez", "/schema.json", "/docs.json", "/nowhere"):
            ours, theirs = (client.get(url + path) for url in (world.url, servers[1].url))
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        for count in (0, 3):  # said to be events, and plain text
            ours, theirs = (client.post(f"{url}/parts", json={"count": count}) for url in (world.url, servers[1].url))
            assert ours.content == theirs.content
            assert ours.headers["content-type"] == theirs.headers["content-type"]


def test_errors_are_bentomls_own(world, servers):
    told = []
    for rows in ([{"truth": 1}], [{"truth": 1, "noise": 2.0}], [{"truth": 1, "noise": -1.0}]):
        ours, theirs = (
            httpx.post(f"{url}/predict", json={"rows": rows}, trust_env=False) for url in (world.url, servers[1].url)
        )
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        told.append(ours.status_code)
    assert told == [400, 400, 500]


def test_the_gate_asks_in_records(world):
    assert json.loads(world.gate(2).stdout)["verdict"] == "PASS"
