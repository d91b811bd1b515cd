import os
import sys

import pytest
from world import World, bad, fair, good


@pytest.fixture(autouse=True, scope="module")
def mlflows_addresses_go_back():
    """MLflow keeps them for the whole process and in its environment; the tests after these have not asked for them."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    yield
    if "mlflow" in sys.modules:
        import mlflow

        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def world(tmp_path, registry_template):
    """Version 1 fair, 2 good, 3 bad; not started yet."""
    made = World(tmp_path, registry_template, {1: fair, 2: good, 3: bad})
    yield made
    made.close()
    for line in (tmp_path / "serve.log").read_text().splitlines() if (tmp_path / "serve.log").exists() else []:
        print(line)  # noqa: T201 - shown when the test fails
