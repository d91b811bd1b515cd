"""MLflow's own scoring server behind titleshot, in every mode and every shape of its requests."""

import json
import logging
import warnings

import httpx
import pandas as pd
import pytest
from asking import curled
from matrix import MLFLOW, cells
from model_servers import scoring
from rest_world import both_versions, rest_world

ROWS = [{"truth": 1, "noise": 0.5}, {"truth": 0, "noise": 0.2}, {"truth": 1, "noise": -1.0}]
LABELS = {1: [1.0, 1.0], 2: [1.0, 0.0]}
"""By version; the third row has none."""

COLUMNS = {"columns": ["truth", "noise"], "data": [[row["truth"], row["noise"]] for row in ROWS]}
BY_COLUMN = {name: [row[name] for row in ROWS] for name in ("truth", "noise")}
CSV = "truth,noise\n" + "".join(f"{row['truth']},{row['noise']}\n" for row in ROWS)
FRAME = pd.DataFrame(ROWS)
QUESTIONS = [
    (json.dumps({"dataframe_split": COLUMNS}), "application/json"),
    (json.dumps({"dataframe_records": ROWS}), "application/json"),
    (json.dumps({"instances": ROWS}), "application/json; charset=utf-8"),
    (json.dumps({"inputs": BY_COLUMN}), "application/json"),
    (CSV, "text/csv"),
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with both_versions(scoring, tmp_path_factory.mktemp("scoring")) as found:
        yield found


def mlflows_client(port):
    """Which sends by requests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own type hints, when it is imported
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    return ScoringServerClient("127.0.0.1", port)


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    with rest_world(tmp_path_factory.mktemp("titleshot"), registry_template, servers, "mlflow", "/ping") as found:
        yield found


def version_of(predictions):
    assert predictions[2] is None or predictions[2] != predictions[2]
    return next(version for version, labels in LABELS.items() if labels == predictions[:2])


def by_every_shape(world, count):
    with httpx.Client(trust_env=False) as client:
        for number in range(count):
            body, kind = QUESTIONS[number % len(QUESTIONS)]
            answer = client.post(f"{world.url}/invocations", content=body, headers={"content-type": kind})
            assert answer.status_code == 200, answer.text
            yield version_of(json.loads(answer.content)["predictions"])


def by_mlflow(world, count):
    client = mlflows_client(world.port)
    for _ in range(count):
        yield version_of(json.loads(client.invoke(FRAME).to_json())["predictions"])


def by_curl(world, count):
    for _ in range(count):
        found = curled(f"{world.url}/invocations", CSV, "-H", "content-type: text/csv")
        yield version_of(json.loads(found)["predictions"])


ASK = {"shapes": by_every_shape, "mlflow": by_mlflow, "curl": by_curl}


@pytest.mark.parametrize(("client", "mode"), cells(MLFLOW))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client], 25)


def test_all_else_passes(world, servers):
    mlflows, direct = (mlflows_client(port) for port in (world.port, servers[1].url.rpartition(":")[2]))
    mlflows.ping()
    assert mlflows.get_version() == direct.get_version()
    with httpx.Client(trust_env=False) as client:
        for path in ("/ping", "/health", "/version"):
            ours, theirs = (client.get(url + path) for url in (world.url, servers[1].url))
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        for body in (b"", b"{}", b"no JSON", b'{"inputs": [{"truth": 1}]}'):
            refused = client.post(
                f"{world.url}/invocations", content=body, headers={"content-type": "application/json"}
            )
            assert 400 <= refused.status_code < 500
            assert "error_code" in refused.json()
