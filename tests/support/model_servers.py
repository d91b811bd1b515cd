"""Real model servers of other projects, each in an environment of its own; .ci/servers makes them."""

import contextlib
import json
import os
import shutil
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
        absent(f'needs {name} in an environment of its own: eval "$(.ci/servers {name})" makes it, and sets {variable}')
    return Path(found)


class Served:
    """A server in a process of its own."""

    grpc_url = ""

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

    @property
    def pid(self) -> int:
        return self._process.pid

    def with_grpc(self, port: int) -> "Served":
        """It has a gRPC port, too."""
        self.grpc_url = f"grpc://127.0.0.1:{port}"
        return self

    def wait(self, within_seconds: float = 120) -> None:
        wait_for(self._answers, f"{self._ready} answers", within_seconds)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return httpx.get(self._ready, trust_env=False, timeout=5).status_code == 200

    def hang_up(self) -> None:
        """Have it end, without waiting for it: some take seconds."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)

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
    port, grpc_port = free_port(), free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    model = {"name": SERVED_AS, "implementation": "late_mlserver.Late", "parameters": {"version": f"v{version}"}}
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
    command = [str(executables / "mlserver"), "start", "."]
    ready = f"/v2/models/{SERVED_AS}/ready"
    return Served(command, home, port, ready, TITLESHOT_TEST_CUT=str(CUTS[version])).with_grpc(grpc_port)


def kserve(folder: Path, version: int) -> Served:
    """KServe's server of both versions of the protocol."""
    executables = environment("kserve", "TITLESHOT_TEST_KSERVE")
    port = free_port()
    command = [str(executables / "python"), str(_HERE / "late_kserve.py"), SERVED_AS, str(port)]
    return Served(command, folder, port, f"/v1/models/{SERVED_AS}", TITLESHOT_TEST_CUT=str(CUTS[version]))


_TRITONS_MODEL = f"""\
name: "{SERVED_AS}"
backend: "python"
input [
  {{ name: "truth", data_type: TYPE_FP64, dims: [ -1, 1 ] }},
  {{ name: "noise", data_type: TYPE_FP64, dims: [ -1, 1 ] }}
]
output [
  {{ name: "label", data_type: TYPE_INT64, dims: [ -1 ] }},
  {{ name: "probabilities", data_type: TYPE_FP32, dims: [ -1, 2 ] }}
]
instance_group [ {{ count: 1, kind: KIND_CPU }} ]
"""


def triton(folder: Path, version: int) -> Served:
    """Triton with a model in Python, over HTTP and gRPC: the server inside of pytriton's wheel, started by itself."""
    executables = environment("triton", "TITLESHOT_TEST_TRITON")
    asked = "import sys, sysconfig; print(*sys.version_info[:2], sep='.'); print(sysconfig.get_config_var('LIBDIR'))"
    said = subprocess.run([executables / "python", "-c", asked], capture_output=True, text=True, check=True)
    python, libraries = said.stdout.split()
    inside = executables.parent / f"lib/python{python}/site-packages/pytriton/tritonserver"
    home = folder / f"triton-{version}"
    backend, model = home / "backends" / "python", home / "repository" / SERVED_AS
    backend.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (backend / name).symlink_to(inside / "backends" / "python" / name)
    stub = inside / "python_backend_stubs" / python / "triton_python_backend_stub"  # of this Python, not of another
    (backend / stub.name).symlink_to(stub)
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(_TRITONS_MODEL)
    shutil.copy(_HERE / "late_triton.py", model / "1" / "model.py")
    shutil.copy(_HERE / "late_model.py", model / "1")  # its backend has a PYTHONPATH of its own
    port, grpc_port = free_port(), free_port()
    options = {
        "model-repository": model.parent,
        "backend-directory": backend.parent,
        "http-address": "127.0.0.1",
        "http-port": port,
        "grpc-address": "127.0.0.1",
        "grpc-port": grpc_port,
        "allow-metrics": "false",
        "pinned-memory-pool-byte-size": 0,
    }
    command = [str(inside / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
    return Served(
        command,
        home,
        port,
        f"/v2/models/{SERVED_AS}/ready",
        PATH=f"{executables}{os.pathsep}{os.environ['PATH']}",
        LD_LIBRARY_PATH=libraries,
        TITLESHOT_TEST_CUT=str(CUTS[version]),
    ).with_grpc(grpc_port)


def bentoml(folder: Path, version: int) -> Served:
    """BentoML, several rows a request."""
    executables = environment("bentoml", "TITLESHOT_TEST_BENTOML")
    home = folder / f"bentoml-{version}"
    home.mkdir()
    port = free_port()
    command = [str(executables / "bentoml"), "serve", "late_bentoml:Late", "--working-dir", str(_HERE)]
    return Served(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        home,
        port,
        "/readyz",
        TITLESHOT_TEST_CUT=str(CUTS[version]),
        BENTOML_DO_NOT_TRACK="True",
        BENTOML_HOME=str(home),
        HOME=str(home),
        NO_COLOR="1",
    )


def vllm(folder: Path, version: int) -> Served:
    """vLLM on CPUs, with a tiny model of random weights, other ones for each version. It starts in minutes."""
    executables = environment("vllm", "TITLESHOT_TEST_VLLM")
    home = folder / f"vllm-{version}"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    alone = {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    make = [executables / "python", _HERE / "make_llama.py", home / "model", str(version)]
    subprocess.run(make, check=True, capture_output=True, env={**kept, **alone, "OMP_NUM_THREADS": "1"})
    port = free_port()
    options = {
        "model": home / "model",
        "served-model-name": SERVED_AS,
        "host": "127.0.0.1",
        "port": port,
        "max-model-len": 256,
        "dtype": "float32",
        "kv-cache-memory-bytes": 32 * 1024 * 1024,
    }
    command = [str(executables / "python"), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    return Served(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        home,
        port,
        "/health",
        **alone,
        VLLM_NO_USAGE_STATS="1",
        VLLM_CACHE_ROOT=str(home / "cache"),
        VLLM_CONFIG_ROOT=str(home / "config"),
        VLLM_CPU_OMP_THREADS_BIND="nobind",  # else each takes all cores for itself
        TORCHDYNAMO_DISABLE="1",  # it would compile for minutes
        NO_COLOR="1",
    )


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
