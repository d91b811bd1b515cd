"""A whole titleshot for tests: a real registry, model servers on real sockets, the real processes, real traffic."""

import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
from mlflow import MlflowClient
from stub_model import StubModel

MODEL = "late-arrival"

# Of latencies nothing is to be concluded where stubs answer within a millisecond and the machine may be busy.
QUICK_POLICY = """
    gate: "off"
    alpha: 0.05
    guardrails:
      precision:   {margin: 10 points, offline_tolerance: 15 points}
      p90_latency: {margin: 1000%}
      error_rate:  {margin: 15 points}
    judge:
      bucket: 200ms
      bucket_min_answers: 3
      min_buckets: 5
      min_answers: 40
      min_labelled_positives: 30
      tau_window: 60s
      tau_lag: 200ms
"""

QUICK_ROLLOUT = """
    rollout:
      - shadow: 100
        for: 1s
      - canary: 30
        for: 1s
      - promote: {}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], object], what: str, within_seconds: float = 60.0):
    """Poll until the condition gives something true; what it gave. Exceptions of a connection count as "not yet"."""
    deadline = time.monotonic() + within_seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (httpx.HTTPError, ConnectionError, KeyError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.05)  # polling, bounded above; no condition variable crosses processes
    raise AssertionError(f"not within {within_seconds:.0f} s: {what}; last seen: {last!r}")


class World:
    """Versions 1, 2, ... of one model, each with its stub server; titleshot in front of them."""

    protocol = "mlflow"

    def __init__(
        self, folder: Path, registry_template: Path, versions: dict[int, Callable[[dict], float]], server=StubModel
    ) -> None:
        self.folder = folder
        self.registry_file = folder / "mlflow.db"
        shutil.copy(registry_template, self.registry_file)
        self.client = MlflowClient(f"sqlite:///{self.registry_file}", f"sqlite:///{self.registry_file}")
        self.stubs = {version: server(predict) for version, predict in versions.items()}
        self.port, self.admin_port = free_port(), free_port()
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.settings_path = folder / "titleshot.yaml"
        self.process: subprocess.Popen | None = None
        self.traffic: Traffic | None = None
        self.workers = 1
        self.more = ""  # more lines of the settings
        self.headers: dict[str, str] = {}  # of requests to the admin port
        self.write_settings(QUICK_POLICY + QUICK_ROLLOUT)

    # ---- registry

    def alias(self, name: str) -> int | None:
        found = self.client.get_registered_model(MODEL).aliases.get(name)
        return int(found) if found is not None else None

    def set_alias(self, name: str, version: int) -> None:
        self.client.set_registered_model_alias(MODEL, name, str(version))

    # ---- titleshot

    def write_settings(self, policy: str) -> None:
        endpoints = ", ".join(f"{version}: {stub.url!r}" for version, stub in self.stubs.items())
        fresh = self.settings_path.with_suffix(".fresh")
        fresh.write_text(
            f"registry: sqlite:///{self.registry_file}\n"
            f"listen: 127.0.0.1:{self.port}\n"
            f"admin: 127.0.0.1:{self.admin_port}\n"
            f"ledger: sqlite:///{self.folder / 'titleshot.db'}\n"
            f"workers: {self.workers}\n"
            f"poll: 200ms\n{self.more}"
            f"models:\n  {MODEL}:\n    protocol: {self.protocol}\n    endpoints: {{{endpoints}}}\n{policy}"
        )
        fresh.replace(self.settings_path)

    def start(self) -> None:
        command = [str(Path(sys.executable).parent / "titleshot"), "serve", str(self.settings_path)]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def serving(self, version: int) -> None:
        """Wait until clients are answered and the registry has been read."""
        wait_for(lambda: self.status()["champion"] == version, f"version {version} serves")
        wait_for(lambda: self.ask().status_code == 200, "the data port answers")

    def status(self) -> dict:
        return self._read("").json()

    def history(self) -> list[dict]:
        return self._read("/history").json()["decisions"][::-1]  # in the order in which they were made

    def _read(self, path: str) -> httpx.Response:
        url = f"{self.admin}/models/{MODEL}{path}"
        return httpx.get(url, headers=self.headers, timeout=5, trust_env=False).raise_for_status()

    def command(self, verb: str, token: str = "", **body: object) -> httpx.Response:
        url = f"{self.admin}/models/{MODEL}/{verb}"
        headers = {"authorization": f"Bearer {token}"} if token else self.headers
        return httpx.post(url, json={"reason": "test", **body}, headers=headers, timeout=10, trust_env=False)

    def ask(self, row: dict | None = None) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}/invocations"
        return httpx.post(url, json={"inputs": [row or {"truth": 0, "noise": 1.0}]}, timeout=10, trust_env=False)

    def phase(self) -> str | None:
        rollout = self.status()["rollout"]
        return rollout and rollout["phase"]

    def children(self) -> dict[str, int]:
        """The processes under the supervisor: name -> pid."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if self.process is not None and parent == self.process.pid and "router.compose" in words:
                kind = words[words.index("router.compose") + 1]
                found[kind if kind == "control" else f"proxy {words[words.index('proxy') + 2]}"] = int(entry.name)
        return found

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def close(self) -> None:
        if self.traffic is not None:
            self.traffic.stop()
        orphans = self.children()
        self.stop()
        for pid in orphans.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for stub in self.stubs.values():
            stub.close()


class Traffic:
    """Clients in threads: each row carries its truth, so that the label is known; labels follow in small batches."""

    def __init__(
        self,
        world: World,
        threads: int = 4,
        pause_seconds: float = 0.004,
        seed: int = 7,
        label: Callable[[dict], object] = lambda row: row["truth"],
    ) -> None:
        self.world = world
        self._label_of = label
        self.outcomes: Counter = Counter()
        self.labels_refused = 0
        self.rejected: list[dict] = []
        self.send_labels = True
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._seeds = itertools.count(seed)
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _client(self) -> None:
        chance = random.Random(next(self._seeds))
        connection = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=15)
        labels: list[dict] = []
        while not self._stop.is_set():
            row = {"truth": int(chance.random() < 0.4), "noise": chance.random()}
            try:
                connection.request(
                    "POST", "/invocations", json.dumps({"inputs": [row]}), {"content-type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                self.outcomes[answer.status] += 1
                if answer.status == 200:
                    labels.append({"request_id": answer.headers["x-titleshot-id"], "label": self._label_of(row)})
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                connection.close()
                self._stop.wait(0.05)
            if len(labels) >= 25:
                if self.send_labels:
                    self._label(labels)
                labels = []
            self._stop.wait(self._pause_seconds)
        connection.close()

    def _label(self, labels: list[dict]) -> None:
        try:
            answer = httpx.post(
                f"{self.world.admin}/labels", json=labels, headers=self.world.headers, timeout=10, trust_env=False
            )
        except httpx.HTTPError:
            self.labels_refused += 1
            return
        if answer.status_code == 200:
            self.rejected += answer.json()["rejected"]
        else:
            self.labels_refused += 1


def good(row: dict) -> float:
    """Right nine times in ten."""
    noise = row.get("noise", 1.0)
    return float(row["truth"] if noise > 0.1 else 1 - row["truth"])


def fair(row: dict) -> float:
    """Right seven times in ten."""
    noise = row.get("noise", 1.0)
    return float(row["truth"] if noise > 0.3 else 1 - row["truth"])


def bad(row: dict) -> float:
    """Says positive to everything."""
    return 1.0
