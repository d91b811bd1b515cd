"""titleshot in front of real model servers, in one of its modes, and what its metrics say of the traffic."""

import contextlib
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
from world import MODEL, QUICK_POLICY, World, free_port, wait_for

_POLICY = {
    "shadow": "    rollout: [{shadow: 100, for: 1h}, {promote: {}}]\n",
    "canary": "    split: {challenger: 50}\n",
}
_STAGING = "    staging: {minimum: {precision: 0.7}}\n"
_RELOADED = "titleshot_config_reload_timestamp_seconds"


class RestWorld(World):
    """Speaks any protocol. `hello` is a path that is answered with 200 and is no prediction.

    Where the servers have a gRPC port (`grpc_url`), so has it: `grpc_address`.
    """

    def __init__(self, folder: Path, registry_template: Path, servers: dict, protocol: str, more: str, hello: str):
        self.protocol = protocol
        self._more = more
        self._hello = hello
        self._mode = "pass"
        super().__init__(folder, registry_template, servers, server=lambda server: server)
        by_grpc = {version: server.grpc_url for version, server in servers.items() if getattr(server, "grpc_url", "")}
        if by_grpc:
            self.grpc_address = f"127.0.0.1:{free_port()}"
            self.more = f"grpc: {self.grpc_address}\n"
            endpoints = ", ".join(f"{version}: {url!r}" for version, url in by_grpc.items())
            self._more += f"    grpc_endpoints: {{{endpoints}}}\n"

    def ask(self, row: dict | None = None) -> httpx.Response:
        return httpx.get(self.url + self._hello, timeout=10, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start it in pass-through: version 1 serves, none is on trial."""
        self._settings("shadow")
        self.start()
        self.serving(1)

    def on_trial(self, mode: str) -> None:
        """Version 2 in shadow, version 3, which has the same server, in a canary."""
        if mode == "canary":
            self.client.delete_registered_model_alias(MODEL, "challenger")
            read = self.samples()[_RELOADED]
            self._settings(mode)
            wait_for(lambda: self.samples()[_RELOADED] > read, "the settings are read again")
        self.set_alias("challenger", 2 if mode == "shadow" else 3)
        wait_for(lambda: self.phase() == mode, f"the {mode} has begun")
        wait_for(lambda: self._share(mode) > 0, f"the proxies have the {mode}")

    def enter(self, mode: str) -> None:
        """One of the matrix's modes; there is no way back."""
        if mode != self._mode:
            self.on_trial(mode)
            self._mode = mode

    def cell(self, mode: str, ask: Callable[["RestWorld", int], Iterable[int]], count: int = 24) -> None:
        """A cell of the matrix: one client asks so often; each answer is right, and read, and so is each copy's.

        Args:
            mode: one of the matrix's.
            ask: checks each answer, and gives the version that answered it.
            count: so many that a canary of one half hardly ever takes all to one side.
        """
        self.enter(mode)
        before, lost = self.answers(), self.lost()
        seen = set(ask(self, count))
        assert seen == ({1, 2} if mode == "canary" else {1}), seen
        wanted = 2 * count if mode == "shadow" else count

        def came() -> dict:
            found = Counter(self.answers())
            found.subtract(before)
            return +found

        wait_for(lambda: sum(came().values()) >= wanted, f"{wanted} answers in the mode {mode}", 20)
        found, name = came(), {"pass": "none"}.get(mode, mode)
        if mode == "canary":
            assert found.keys() == {("champion", name, "ok"), ("challenger", name, "ok")}, found
            assert sum(found.values()) == wanted, found
        else:
            roles = ("champion", "challenger") if mode == "shadow" else ("champion",)
            assert found == {(role, name, "ok"): count for role in roles}, found
        assert self.lost() == lost, (self.lost(), lost)

    def _settings(self, mode: str) -> None:
        self.write_settings(f"{self._more}{QUICK_POLICY}{_POLICY[mode]}")

    def _share(self, mode: str) -> float:
        """Of version 2, in the routes that the proxies use."""
        samples = self.samples()
        in_use = [value for key, value in samples.items() if key.startswith("titleshot_routes_revision_in_use")]
        if not in_use or min(in_use) < samples.get("titleshot_routes_revision", -1):
            return 0.0
        name = "titleshot_mirrored_share_ratio" if mode == "shadow" else "titleshot_traffic_share_ratio"
        return samples.get(f'{name}{{model="{MODEL}",role="challenger"}}', 0.0)

    def gate(self, version: int, expect: int = 0) -> subprocess.CompletedProcess:
        """`titleshot gate` on holdout rows, without handing the report in."""
        chance = random.Random(3)
        rows = [(int(chance.random() < 0.4), chance.random()) for _ in range(1500)]
        lines = "".join(f"{truth},{noise:.6f},{truth}\n" for truth, noise in rows)
        (self.folder / "holdout.csv").write_text(f"truth,noise,label\n{lines}")
        self.write_settings(f"{self._more}{QUICK_POLICY}{_POLICY['shadow']}{_STAGING}")
        options = ["--staging", self.stubs[version].url, "--data", "holdout.csv", "--no-submit", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", "from router.cli.main import main; main()", "gate", MODEL, str(version), *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    def samples(self) -> dict[str, float]:
        """The metrics page."""
        page = httpx.get(f"{self.admin}/metrics", timeout=5, trust_env=False).raise_for_status().text
        found = [line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in found}

    def answers(self) -> dict[tuple[str, str, str], float]:
        """(role, mode, outcome) -> how many; those that there are."""
        found: dict[tuple[str, str, str], float] = {}
        for name, value in self.samples().items():
            if name.startswith("titleshot_requests_total{") and value:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
                found[labels["role"], labels["mode"], labels["outcome"]] = value
        return found

    def lost(self) -> tuple[float, float]:
        """Answers that could not be read, and that were not looked at."""
        samples, label = self.samples(), f'{{model="{MODEL}"}}'
        names = "titleshot_unreadable_answers_total", "titleshot_unread_answers_total"
        return tuple(samples[name + label] for name in names)

    def wait_answers(self, mode: str, count: int) -> None:
        """Until so many predictions have been read: in shadow as many pairs, in a canary those of both together."""

        def seen() -> bool:
            found = self.answers()
            champion, challenger = (found.get((role, mode, "ok"), 0) for role in ("champion", "challenger"))
            if mode == "canary":
                return champion + challenger == count and champion > 0 and challenger > 0
            return champion == count and (mode == "none" or challenger == count)

        wait_for(seen, f"{count} answers in mode {mode}", 20)
        assert self.lost() == (0, 0)
        assert {outcome for _, _, outcome in self.answers()} == {"ok"}


@contextlib.contextmanager
def rest_world(
    folder: Path, registry_template: Path, servers: dict, protocol: str, hello: str, more: str = ""
) -> Iterator[RestWorld]:
    """In pass-through. `more`: lines of the model's settings."""
    world = RestWorld(folder, registry_template, {**servers, 3: servers[2]}, protocol, more, hello)
    try:
        world.begin()
        yield world
    finally:
        world.close()


@contextlib.contextmanager
def both_versions(start: Callable, folder: Path, within_seconds: float = 120) -> Iterator[dict]:
    """Servers of versions 1 and 2, started together."""
    servers: dict = {}
    try:
        for version in (1, 2):
            servers[version] = start(folder, version)
        for server in servers.values():
            server.wait(within_seconds)
        yield servers
    finally:
        for server in servers.values():
            server.hang_up()
        for server in servers.values():
            server.end()
