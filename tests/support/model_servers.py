"""Real model servers of other projects, each in an environment of its own: MLServer and KServe's Python server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import httpx
from mlflow_server import absent
from world import free_port, wait_for

SERVED_AS = "late"
"""The model's name in paths; titleshot has another one."""

CUTS = {1: 0.3, 2: 0.1}
"""By version: below this noise it is wrong."""

_HERE = Path(__file__).parent / "served"
_STOP_SECONDS = 20


def environment(name: str, variable: str) -> Path:
    """The executables of an environment; without it the test skips, or fails in CI."""
    found = os.environ.get(variable)
    if found is None or not (Path(found) / "python").exists():
        absent(
            f"needs {name}: `pip install -r tests/support/served/{name}.txt` into a venv of its own, {variable}=.../bin"
        )
    return Path(found)


class Served:
    """A server in a process of its own."""

    def __init__(self, command: list[str], folder: Path, port: int, ready: str, **variables: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / f"{port}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**kept, "PYTHONPATH": str(_HERE), "OMP_NUM_THREADS": "1", **variables},
                stdout=log,
                stderr=log,
                start_new_session=True,  # some start processes of their own
            )
        self._ready = f"{self.url}{ready}"

    def wait(self) -> None:
        wait_for(self._answers, f"{self._ready} answers", 120)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return httpx.get(self._ready, trust_env=False, timeout=5).status_code == 200

    def end(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):  # the second for what it may have left
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, how)
                self._process.wait(_STOP_SECONDS)

    def close(self) -> None:
        """It outlives one world: `end` ends it."""


def mlserver(folder: Path, version: int) -> Served:
    """MLServer, which coding answers with gzip where clients take it."""
    executables = environment("mlserver", "TITLESHOT_TEST_MLSERVER")
    home = folder / f"mlserver-{version}"
    home.mkdir()
    port = free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    model = {"name": SERVED_AS, "implementation": "late_mlserver.Late", "parameters": {"version": f"v{version}"}}
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
    command = [str(executables / "mlserver"), "start", "."]
    return Served(command, home, port, f"/v2/models/{SERVED_AS}/ready", TITLESHOT_TEST_CUT=str(CUTS[version]))


def kserve(folder: Path, version: int) -> Served:
    """KServe's server of both versions of the protocol."""
    executables = environment("kserve", "TITLESHOT_TEST_KSERVE")
    port = free_port()
    command = [str(executables / "python"), str(_HERE / "late_kserve.py"), SERVED_AS, str(port)]
    return Served(command, folder, port, f"/v1/models/{SERVED_AS}", TITLESHOT_TEST_CUT=str(CUTS[version]))


def litserve(folder: Path, version: int) -> Served:
    """LitServe, one row a request."""
    executables = environment("litserve", "TITLESHOT_TEST_LITSERVE")
    port = free_port()
    command = [str(executables / "python"), str(_HERE / "late_litserve.py"), str(port)]
    return Served(command, folder, port, "/health", TITLESHOT_TEST_CUT=str(CUTS[version]))


def scoring(folder: Path, version: int) -> Served:
    """MLflow's own scoring server, as `mlflow models serve` starts it."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    saved = folder / f"model-{version}"
    signature = ModelSignature(
        Schema([ColSpec("long", "truth"), ColSpec("double", "noise")]), Schema([ColSpec("double")])
    )
    with warnings.catch_warnings(action="ignore"):  # about type hints of `predict`
        mlflow.pyfunc.save_model(
            saved, python_model=str(_HERE / "late_pyfunc.py"), signature=signature, pip_requirements=["mlflow-skinny"]
        )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    return Served(
        [*command, "mlflow.pyfunc.scoring_server.app:app"],
        folder,
        port,
        "/ping",
        TITLESHOT_TEST_CUT=str(CUTS[version]),
        __pyfunc_model_path__=str(saved),
    )
