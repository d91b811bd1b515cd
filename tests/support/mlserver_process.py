"""Real MLServers with a gRPC port, in an environment of their own."""

import json
import os
import subprocess
from pathlib import Path

import grpc
from model_servers import environment
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from world import free_port, wait_for

_RUNTIME = Path(__file__).parent / "served"
_STOP_SECONDS = 20


class MlServer:
    """One version's server.

    Args:
        folder: for its settings and its log.
        model: the name that its clients say.
        right_above: below this noise its answers are wrong.
    """

    def __init__(self, folder: Path, model: str, right_above: float) -> None:
        commands = environment("mlserver", "TITLESHOT_TEST_MLSERVER")
        folder.mkdir()
        self.port = free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        settings = {
            "host": "127.0.0.1",
            "http_port": free_port(),
            "grpc_port": self.port,
            "metrics_port": free_port(),
            "parallel_workers": 0,
            "debug": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps({"name": model, "implementation": "late_runtime.Late"}))
        self._log = folder / "mlserver.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [commands / "mlserver", "start", "."],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(_RUNTIME), "TITLESHOT_TEST_RIGHT_ABOVE": str(right_above)},
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Until it is ready."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            wait_for(lambda: self._ready(service), "MLServer to be ready", 120)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ready(self, service) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return service.ServerReady(pb.ServerReadyRequest(), timeout=2).ready
        except grpc.RpcError:
            return False
