"""Real LitServe in the OpenAI API's shape: it is in an environment of its own."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
from model_servers import environment
from world import free_port, wait_for

APP = Path(__file__).parent / "served" / "litserve_app.py"
STOP_SECONDS = 15


def interpreter() -> str:
    """The Python that has it; without one the test skips, or fails in CI."""
    return str(environment("litserve", "TITLESHOT_TEST_LITSERVE") / "python")


class LitServe:
    """One server, starting; `url` answers once `wait` has returned."""

    def __init__(self, python: str, folder: Path, late: str, wrong: int = 0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with (folder / f"litserve-{self.port}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [python, str(APP), str(self.port), late, str(wrong)],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it starts processes of its own
            )

    def wait(self) -> "LitServe":
        wait_for(lambda: httpx.get(f"{self.url}/health", trust_env=False).status_code == 200, "LitServe is up", 120)
        return self

    def close(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, how)
                self._process.wait(STOP_SECONDS)
