"""MLflow's own scoring server behind titleshot, in every mode and every shape of its requests."""

import json
import logging
import warnings

import httpx
import pandas as pd
import pytest
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


def test_every_shape_in_every_mode(tmp_path, registry_template, servers):
    with (
        rest_world(tmp_path, registry_template, servers, "mlflow", "/ping") as world,
        httpx.Client(trust_env=False) as client,
    ):
        mlflows, direct = (mlflows_client(port) for port in (world.port, servers[1].url.rpartition(":")[2]))
        mlflows.ping()
        assert mlflows.get_version() == direct.get_version()
        for path in ("/ping", "/health", "/version"):
            ours, theirs = (client.get(url + path) for url in (world.url, servers[1].url))
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        for mode, versions in (("none", [1]), ("shadow", [1]), ("canary", [1, 2])):
            if mode != "none":
                world.on_trial(mode)
            seen = []
            for body, kind in QUESTIONS * 5:
                answer = client.post(f"{world.url}/invocations", content=body, headers={"content-type": kind})
                assert answer.status_code == 200, answer.text
                seen.append(json.loads(answer.content)["predictions"])
            assert all(found[2] is None or found[2] != found[2] for found in seen)
            assert all(found[:2] in [LABELS[version] for version in versions] for found in seen)
            assert {tuple(found[:2]) for found in seen} == {tuple(LABELS[version]) for version in versions}
            for _ in range(5):
                seen.append(json.loads(mlflows.invoke(FRAME).to_json())["predictions"])
                assert seen[-1][:2] in [LABELS[version] for version in versions]
            world.wait_answers(mode, len(seen))
        for body in (b"", b"{}", b"no JSON", b'{"inputs": [{"truth": 1}]}'):
            refused = client.post(
                f"{world.url}/invocations", content=body, headers={"content-type": "application/json"}
            )
            assert 400 <= refused.status_code < 500
            assert "error_code" in refused.json()
