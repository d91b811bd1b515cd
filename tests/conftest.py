"""Fixtures that several folders of tests share."""

import gc
import logging
import os
import sys
from pathlib import Path

# Containers often forbid compiled files. Then every worker, and every process that a test starts, compiles all that it
# imports again: 9 of 60 seconds. Before Hypothesis, a plugin of pytest, which is compiled with the tests' own asserts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

pytest_plugins = ["matrix_report"]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the demo trains: on busy cores threads spin for each other's sake

settings.register_profile("quick", max_examples=16, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

gc.disable()  # what is imported stays: looking through it again and again takes seconds,


def pytest_collection_finish():
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # and so does looking too often
    gc.enable()


def _signed(folder: Path) -> None:
    """The MLmodel file of a model over two columns, as MLflow writes it, and its input example."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    folder.mkdir()
    signature = ModelSignature(Schema([ColSpec("double", "truth"), ColSpec("double", "noise")]))
    example = {"artifact_path": "input_example.json", "serving_input_path": "serving_input_example.json"}
    Model(signature=signature, saved_input_example_info=example).save(str(folder / "MLmodel"))
    (folder / example["serving_input_path"]).write_text(
        '{"dataframe_split": {"columns": ["truth", "noise"], "data": [[1.0, 0.5]]}}'
    )


@pytest.fixture(scope="session")
def registry_template(tmp_path_factory) -> Path:
    """An MLflow registry on sqlite with versions 1, 2, 3 of one model; made once, copied by each test."""
    from mlflow import MlflowClient
    from world import MODEL

    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("training", artifact_location=(folder / "artifacts").as_uri())
    client.create_registered_model(MODEL)
    for version, precision in ((1, 0.60), (2, 0.85), (3, 1.0)):
        run = client.create_run(experiment, tags={"mlflow.source.git.commit": f"{version:040x}"})
        client.log_metric(run.info.run_id, "precision", precision)
        client.set_terminated(run.info.run_id)
        client.create_model_version(
            MODEL, f"{folder.as_uri()}/v{version}", run.info.run_id, tags={"data_hash": f"sha256:{version:064x}"}
        )
        _signed(folder / f"v{version}")
    client.set_registered_model_alias(MODEL, "champion", "1")
    return folder / "mlflow.db"
