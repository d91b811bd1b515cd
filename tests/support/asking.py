"""What the tests of real servers ask: the same rows, as tensors or as records, by the clients that users have."""

import json
import shutil
import subprocess

import numpy as np
import tritonclient.http as triton
from mlflow_server import absent

ROWS = [{"truth": 1, "noise": 0.5}, {"truth": 0, "noise": 0.2}, {"truth": 1, "noise": 0.05}]
LABELS = {1: [1, 1, 0], 2: [1, 0, 0]}
"""By version: what they come to."""

_COLUMNS = ("truth", "noise")


def version_of(labels: list[int]) -> int:
    """Which of the versions says so."""
    return next(version for version, said in LABELS.items() if said == labels)


def inputs(rows) -> list[dict]:
    """As JSON."""
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": "FP64", "data": [row[name] for row in rows]}
        for name in _COLUMNS
    ]


def tensors(rows, *, binary: bool) -> list[triton.InferInput]:
    """As tritonclient[http] sends them."""
    made = [triton.InferInput(name, [len(rows), 1], "FP64") for name in _COLUMNS]
    return [tensor.set_data_from_numpy(_values(rows, tensor.name()), binary_data=binary) for tensor in made]


def grpc_tensors(rows) -> list:
    """As tritonclient[grpc] sends them."""
    import tritonclient.grpc

    made = [tritonclient.grpc.InferInput(name, [len(rows), 1], "FP64") for name in _COLUMNS]
    return [tensor.set_data_from_numpy(_values(rows, tensor.name())) for tensor in made]


def _values(rows, name: str) -> np.ndarray:
    return np.array([[row[name]] for row in rows], np.float64)


def curl(url: str, body: object, *options: str) -> dict:
    """A body in JSON, answered in JSON."""
    return json.loads(curled(url, json.dumps(body), "-H", "content-type: application/json", *options))


def curled(url: str, body: str, *options: str) -> str:
    """What curl prints; without it the test skips, or fails in CI."""
    if shutil.which("curl") is None:
        absent("needs curl: apt-get install curl")
    command = ["curl", "-sS", "--noproxy", "*", *options, "--data-binary", body, url]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
