"""A real titleshot whose challenger dies, at 10 requests/s: how soon its traffic is cut, and it is rolled back.

    python bench/dead_challenger.py [--runs 3]

Default settings (one worker; the breaker waits 15 s), a stub model server for each version, a real registry. Times are
from the first failed answer, in seconds; the cut is timed from the tenth failed answer to the last request before the
probes that reached the challenger.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from mlflow import MlflowClient  # noqa: E402 - found by the line above
from world import MODEL, World, good, wait_for  # noqa: E402

RATE = 10.0
HEALTHY_SECONDS = 5.0
POLICY = """
    gate: "off"
    rollout:
      - {step}
        for: 1h
      - promote: {{}}
"""
STEPS = {"shadow": "shadow: 100", "canary 10 %": "canary: 10"}


class Clients:
    """Asks at a steady rate, whatever becomes of the answers."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/invocations"
        self._stop = threading.Event()
        self.failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += 1 / RATE
            body = json.dumps({"inputs": [{"truth": 1}]}).encode()
            request = urllib.request.Request(self._url, body, {"content-type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=10).read()
            except urllib.error.HTTPError as error:
                error.read()  # a client that goes away before the end says nothing about the version
                self.failed += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)


def registry(folder: Path) -> Path:
    """A registry with two versions, the first of them @champion."""
    path = folder / "template.db"
    client = MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}")
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, source=str(folder))
    client.set_registered_model_alias(MODEL, "champion", "1")
    return path


def die(step: str) -> tuple[float, float, str]:
    """Seconds from the tenth failure to the last request before probes; from the first to the rollback; its cause."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked: list[float] = []
        world = World(folder, registry(folder), {1: good, 2: lambda row: asked.append(time.monotonic()) or good(row)})
        try:
            world.write_settings(POLICY.format(step=step))
            world.start()
            world.serving(1)
            world.set_alias("challenger", 2)
            wait_for(lambda: world.phase() in ("shadow", "canary"), "the rollout")
            clients = Clients(world.port)
            wait_for(lambda: len(asked) >= HEALTHY_SECONDS, "the challenger answers")
            world.stubs[2].status = 500
            died = len(asked)
            wait_for(lambda: world.phase() in ("rolling_back", "rolled_back"), "it is rolled back", 300)
            rolled_back = time.monotonic()
            clients.stop()
            (decision,) = [each for each in world.history() if each["kind"] == "roll_back"]
        finally:
            world.close()
        failures = asked[died:]
        cut = [at for at in failures if at < failures[9] + 10.0]
        return cut[-1] - failures[9], rolled_back - failures[0], decision["trigger"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    for name, step in STEPS.items():
        runs = [die(step) for _ in range(asked.runs)]
        cut, out = (median(run[index] for run in runs) for index in (0, 1))
        print(
            f"{name}: last ordinary request {cut:.2f} s after the tenth failure, "
            f"rolled back {out:.1f} s after the first"
        )


if __name__ == "__main__":
    main()
