"""A rollback by hand under load: how long the version that it goes from still answers, and whether a request fails.

    python bench/rollback.py [--runs 5] [--rate 1000] [--connections 16] [--workers 2]

A real titleshot with two proxy workers, a real registry, a stub model server for each version, 1,000 requests/s over
kept connections (several to each worker). Two rollbacks: of a challenger in a canary of 50 %,
and of a champion to @previous. Seconds from the moment that the command `titleshot rollback` is started, and from the
moment that its request reaches the admin port (the difference is Python's start), to the last answer of that version on
any connection.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests" / "support")]

from dead_challenger import registry  # noqa: E402 - found by the line above
from results import table  # noqa: E402
from world import MODEL, World, wait_for  # noqa: E402

CANARY = """
    gate: "off"
    rollout:
      - canary: 50
        for: 1h
"""
SETTLE_SECONDS = 3.0
AFTER_SECONDS = 3.0


@dataclass
class Client:
    """One kept connection; asks at a steady rate, if it is answered in time."""

    port: int
    pause_seconds: float
    answers: list[tuple[float, int]] = field(default_factory=list)  # (when, version), of good answers
    failed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body = json.dumps({"inputs": [{"truth": 1}]})
        due = time.monotonic()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            due += self.pause_seconds
            try:
                connection.request("POST", "/invocations", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    self.answers.append((time.monotonic(), int(json.loads(text)["predictions"][0])))
                else:
                    self.failed += 1
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()


@dataclass(frozen=True)
class Run:
    """One rollback; seconds."""

    since_command: float
    since_request: float
    per_second: float
    failed: int


def in_canary(world: World) -> None:
    """Version 2 answers half of the clients."""
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "canary", "the canary")


def as_champion(world: World) -> None:
    """Version 2 has the title, version 1 is @previous."""
    world.set_alias("champion", 2)
    world.set_alias("previous", 1)
    world.start()
    world.serving(2)
    wait_for(lambda: set(world.status()["ready"]) == {1, 2}, "both are ready")


def rolled_back(prepare: Callable[[World], None], rate: float, connections: int, workers: int) -> Run:
    """One rollback of version 2 under load."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(folder, registry(folder), {1: lambda _row: 1, 2: lambda _row: 2})
        world.workers = workers
        clients = [Client(world.port, connections / rate) for _ in range(connections)]
        threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
        try:
            world.write_settings(CANARY)
            prepare(world)
            for thread in threads:
                thread.start()
            time.sleep(SETTLE_SECONDS)
            command = [str(Path(sys.executable).parent / "titleshot"), "rollback", MODEL, "--admin", world.admin]
            began = time.monotonic()
            subprocess.run(
                [*command, "--reason", "a rollback under load"],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            time.sleep(AFTER_SECONDS)
            decided = next(each for each in world.history()[::-1] if each["kind"] == "roll_back")["at"]
        finally:
            for client in clients:
                client.stop.set()
            for thread in threads:
                thread.join(15)
            world.close()
        offset = time.time() - time.monotonic()
        last = max(at for client in clients for at, version in client.answers if version == 2)
        answers = sum(len(client.answers) for client in clients)
        whole = SETTLE_SECONDS + AFTER_SECONDS
        return Run(last - began, last - (decided - offset), answers / whole, sum(client.failed for client in clients))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests/s")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    lines = []
    for name, prepare in (("a challenger in a canary of 50 %", in_canary), ("a champion, to @previous", as_champion)):
        runs = [rolled_back(prepare, asked.rate, asked.connections, asked.workers) for _ in range(asked.runs)]
        since_command, since_request = (
            [getattr(run, each) for run in runs] for each in ("since_command", "since_request")
        )
        lines.append(
            [
                name,
                f"{median(since_command):.3f} (at most {max(since_command):.3f})",
                f"{median(since_request):.3f} (at most {max(since_request):.3f})",
                f"{median(run.per_second for run in runs):.0f}",
                str(sum(run.failed for run in runs)),
            ]
        )
    heads = [
        "rolled back",
        "s from the command to its last answer",
        "s from the request",
        "requests/s",
        "failed requests",
    ]
    print("\n".join(table(heads, lines)))


if __name__ == "__main__":
    main()
