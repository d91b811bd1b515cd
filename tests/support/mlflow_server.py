"""A real `mlflow server`: full MLflow, which is in an environment of its own."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from world import free_port, wait_for

STOP_SECONDS = 30


def executable() -> str:
    """TITLESHOT_TEST_MLFLOW names it where it is in another environment; without one the test skips, or fails in CI."""
    found = os.environ.get("TITLESHOT_TEST_MLFLOW")
    if found is None and importlib.util.find_spec("flask") is not None:
        found = str(Path(sys.executable).with_name("mlflow"))
    if found is None:
        absent("needs full MLflow: pip install it into a venv of its own, TITLESHOT_TEST_MLFLOW=.../bin/mlflow")
    return str(found)


def absent(text: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@contextlib.contextmanager
def mlflow_server(command: str, folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """Its URL; stopped afterwards.

    Args:
        command: the executable.
        folder: for database, artifacts and log.
        options: more of the command line.
        environment: more variables.
    """
    port = free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}",
        **environment,
    }
    arguments = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port), *options]
    arguments += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    arguments += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([command, "server", *arguments], env=variables, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: httpx.get(f"{url}/health", trust_env=False).status_code == 200, "mlflow server is up", 180)
        yield url
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)
