"""`titleshot gate` against MLflow's own scoring servers, with models that were really logged."""

import json
import logging
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import httpx
import pytest
from click.testing import CliRunner
from world import free_port, wait_for

from router.cli.main import main

MODEL = "late-arrival"
SETTINGS = """\
registry: {uri}
models:
  late-arrival:
    endpoints: {{1: "http://127.0.0.1:{champion}"}}
    guardrails: {{precision: {{margin: 2 points}}, error_rate: {{margin: 1 point}}}}
    staging: {{minimum: {{precision: 0.5}}, rate: 20, requests: 100, p50: 10s}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Version 1 sees the hour, version 2 the delay, too; version 3 is version 2 with a figure that is too good."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own code
        yield filled(tmp_path_factory.mktemp("gate"))


def flights(count, seed):
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(seed)
    hour = chance.integers(5, 23, count)
    delay = chance.normal(hour / 2 - 5, 12, count)
    late = (delay + chance.normal(0, 6, count) > 15).astype(int)
    return pd.DataFrame({"hour": hour, "delay": delay}), late


def filled(folder):
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.metrics import precision_score
    from sklearn.tree import DecisionTreeClassifier

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    experiment = mlflow.create_experiment(MODEL, artifact_location=(folder / "artifacts").as_uri())
    client = mlflow.MlflowClient(uri, uri)
    x, late = flights(4000, 1)
    seen, truth = flights(4000, 2)
    for depth, claim in ((1, None), (5, None), (5, 1.0)):
        model = DecisionTreeClassifier(max_depth=depth, class_weight="balanced", random_state=1).fit(x, late)
        figure = claim or precision_score(truth, model.predict(seen))
        with mlflow.start_run(experiment_id=experiment):
            info = mlflow.sklearn.log_model(
                model,
                name="model",
                signature=infer_signature(x, model.predict(x)),
                input_example=x.head(2),
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
                registered_model_name=MODEL,
            )
            mlflow.log_metrics({"precision": float(figure)}, model_id=info.model_id)
        for name, value in (("git_sha", "a" * 40), ("data_hash", "sha256:" + "b" * 64)):
            client.set_model_version_tag(MODEL, info.registered_model_version, name, value)
    client.set_registered_model_alias(MODEL, "champion", "1")
    held, labels = flights(6000, 3)
    held.assign(label=labels).to_csv(folder / "holdout.csv", index=False)
    return SimpleNamespace(uri=uri, folder=folder, client=client)


@pytest.fixture(scope="module")
def servers(registry):
    """Version -> port of MLflow's scoring server."""
    ports = {version: free_port() for version in (1, 2)}
    running = []
    for version, port in ports.items():
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "warning",
        ]
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": registry.uri,
            "__pyfunc_model_path__": f"models:/{MODEL}/{version}",
            "OMP_NUM_THREADS": "1",
        }
        running.append(
            subprocess.Popen([*command, "mlflow.pyfunc.scoring_server.app:app"], env=environment, cwd=registry.folder)
        )
    try:
        for port in ports.values():
            wait_for(lambda port=port: _ready(port), "the scoring server is ready", 120)
        yield ports
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _ready(port):
    return httpx.get(f"http://127.0.0.1:{port}/ping", trust_env=False, timeout=5).status_code == 200


@pytest.fixture
def gate(registry, servers, monkeypatch):
    """The command, in this process."""
    (registry.folder / "titleshot.yaml").write_text(SETTINGS.format(uri=registry.uri, champion=servers[1]))
    monkeypatch.chdir(registry.folder)

    def run(version, *more, staged=2, expect=0):
        server = f"http://127.0.0.1:{servers[staged]}"
        asked = ["gate", MODEL, str(version), "--staging", server, "--data", "holdout.csv", "--no-submit", *more]
        done = CliRunner().invoke(main, asked)
        assert done.exit_code == expect, done.output
        return done

    return run


def test_mlflows_own_server_keeps_the_contract(registry, gate):
    done = gate(2, "--out", "out")
    print(done.stdout)  # noqa: T201 - shown when the test fails
    assert "the gate says PASS" in done.stdout
    (written,) = (registry.folder / "out").glob("*.json")
    report = json.loads(written.read_text())
    checks = {each["name"]: each for each in report["checks"]}
    assert {each["verdict"] for each in checks.values()} == {"PASS"}
    assert "contract.input_example" in checks
    assert checks["precision.no_regression"]["numbers"]["upper"] <= 0.02
    assert written.with_suffix(".html").read_text().startswith("<!doctype html>")
    run = registry.client.get_model_version(MODEL, "2").run_id
    assert registry.client.list_artifacts(run, "titleshot") == []  # it was not handed in


def test_a_figure_that_is_too_good_is_found(gate):
    done = gate(3, expect=1)
    assert "the evaluation in the registry does not hold" in done.stdout


@pytest.mark.parametrize(
    ("version", "more", "code", "said"),
    [
        (1, (), 1, "version 1 of late-arrival is the champion"),
        (9, (), 1, "no version 9 of late-arrival"),
        (2, ("--label", "truth"), 1, "there is no column truth"),
        (2, ("--data", "none.csv"), 1, "none.csv"),
        (2, ("--settings", "none.yaml"), 2, "there is no none.yaml"),
        (2, ("--staging", "ftp://x"), 2, "--staging: expected"),
    ],
)
def test_what_cannot_be_done_is_said(gate, version, more, code, said):
    done = gate(version, *more, expect=code)
    assert said in done.stderr


def test_the_champions_server_is_no_staged_one(gate):
    assert "is the champion's server" in gate(2, staged=1, expect=1).stderr


def test_without_a_signature_nothing_is_said(registry, gate):
    registry.client.create_model_version(MODEL, f"file://{registry.folder}/nothing")
    done = gate(4, expect=1)
    assert "contract.signature" in done.stdout
    assert "the gate says INCONCLUSIVE" in done.stdout
