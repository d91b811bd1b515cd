"""What the judge costs: observations a second through replay, a look at the evidence, memory, restarts.

    python bench/judge_speed.py [--seconds-of-data 3600] [--write]

One process, columns in memory, 128-bit ids; a shadow pair is two observations and one label, a minute late. Each figure
is the median of three runs. `--write` puts the table into bench/RESULTS.md.
"""

import argparse
import cProfile
import json
import platform
import pstats
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "bench")]

import numpy as np  # noqa: E402 - found by the line above
from duel import Duel, Model, traffic  # noqa: E402
from results import table, write_section  # noqa: E402

from comparator import replay  # noqa: E402
from comparator.checkpoint import freeze, thaw  # noqa: E402
from comparator.events import Columns, Mode  # noqa: E402
from comparator.evidence import Evidence  # noqa: E402
from comparator.pairing import Pairing  # noqa: E402
from comparator.policy import Policy, Step, StepKind  # noqa: E402
from comparator.waiting import MemoryWaitingStore  # noqa: E402

POLICY = Policy(steps=(Step(StepKind.SHADOW, 100, 1e7), Step(StepKind.PROMOTE)))  # nothing ends the rollout
ROUNDS = 3
RATES = (10, 100, 1_000, 10_000)
MOST_REQUESTS = 500_000
PIECES = 20
REQUESTS = 10_000_000


def timed(work: Callable[[], object]) -> float:
    """The median of some runs, in seconds of CPU."""
    took = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return median(took)


def record(rate: int, seconds: float) -> tuple[Columns, Columns]:
    duel = Duel(Model(0.12, 0.7), Model(0.12, 0.7), rate=rate, label_delay=60.0)
    return traffic(duel, np.random.default_rng(rate), min(seconds, MOST_REQUESTS / rate))


def through_replay(rate: int, seconds: float) -> list[str]:
    observations, labels = record(rate, seconds)
    took = timed(lambda: replay(POLICY, observations, labels, offline={"precision": 0.7}))
    return [f"replay, {rate:,} requests/s", f"{observations.size / took:,.0f} observations/s, labels with them"]


def profile(rate: int) -> list[list[str]]:
    """Where the time of a replay goes, by module; numpy's own is its caller's."""
    observations, labels = record(rate, 3600.0)
    profiler = cProfile.Profile()
    profiler.enable()
    replay(POLICY, observations, labels, offline={"precision": 0.7})
    profiler.disable()
    spent: Counter[str] = Counter()
    for (path, _, _), (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if "/comparator/" in path:
            spent[Path(path).stem] += own
        for (caller, _, _), (_, _, for_it, _) in callers.items():
            if "/comparator/" in caller and "/comparator/" not in path:
                spent[Path(caller).stem] += for_it
    whole = sum(spent.values())
    return [[module, f"{own / whole:.0%}"] for module, own in spent.most_common(8)]


def after_many() -> list[list[str]]:
    """Evidence after ten million requests: the same traffic over and over, with other ids and times."""
    duel = Duel(Model(0.12, 0.7), Model(0.12, 0.7), rate=1000.0, label_delay=30.0)
    observations, labels = traffic(duel, np.random.default_rng(1), REQUESTS / PIECES / 1000.0)
    evidence = Evidence(POLICY, trial=2, reference=1, offline={"precision": 0.7})
    evidence.enter(Mode.SHADOW, 1000.0)
    pairing = Pairing(3600.0)
    sizes, span = [], float(labels["at"][-1]) - 1000.0
    for piece in range(PIECES):
        for columns in (observations, labels):
            columns["at"] += span * bool(piece)
            columns["request_hi"] += np.uint64(bool(piece))
        for start in range(0, observations.size, 50_000):
            stop = start + 50_000
            low, high = np.searchsorted(labels["at"], observations["at"][[start, min(stop, observations.size) - 1]])
            evidence.observe(observations[start:stop])
            evidence.label(pairing.take(observations[start:stop], labels[low if start else 0 : high]))
        sizes.append(len(json.dumps(freeze(evidence))))
    look = timed(lambda: [evidence.report(1e6 + i) for i in range(100)]) / 100
    return [
        ["a look at all guardrails after 10,000,000 requests", f"{look * 1e3:.2f} ms"],
        ["the evidence as a checkpoint, after 500,000 and after 10,000,000", f"{sizes[0]:,} and {sizes[-1]:,} bytes"],
        ["to write and to read one", f"{timed(lambda: thaw(freeze(evidence), POLICY, [evidence])) * 1e3:.1f} ms"],
    ]


def waiting() -> list[list[str]]:
    duel = Duel(Model(0.12, 0.7), Model(0.12, 0.7), rate=1000.0, label_delay=1e6)
    observations, _ = traffic(duel, np.random.default_rng(2), 500.0)
    store = MemoryWaitingStore(3600.0)
    pairing = Pairing(7 * 86_400.0, store)
    start = time.process_time()
    for low in range(0, observations.size, 4096):
        pairing.observe(observations[low : low + 4096])
    joined = time.process_time() - start
    per_pair = store.bytes / pairing.predictions_waiting
    return [
        [f"memory of a pair that waits, {pairing.predictions_waiting:,} of them", f"{per_pair:.0f} bytes"],
        ["joined again after a restart", f"{observations.size / joined:,.0f} observations/s"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds-of-data", type=float, default=3600.0)
    parser.add_argument("--write", action="store_true", help="replace the section in bench/RESULTS.md")
    asked = parser.parse_args()
    lines = [through_replay(rate, asked.seconds_of_data) for rate in RATES]
    lines += after_many() + waiting()
    found = table(["what", "figure"], lines)
    for rate in (10, 1_000):
        found += ["", f"Where the time goes at {rate:,} requests/s:", "", *table(["module", "share"], profile(rate))]
    print("\n".join(found))
    if asked.write:
        numpy = f"numpy {np.__version__}"
        how = f"default policy (precision, p99, errors). Medians of {ROUNDS} runs, CPU time"
        head = [
            "## What the judge costs",
            "",
            f"`python bench/judge_speed.py --write`: one core, Python {platform.python_version()}, {numpy}; {how}.",
            "",
        ]
        write_section(ROOT / "bench" / "RESULTS.md", "judge speed", "\n".join([*head, *found]))


if __name__ == "__main__":
    main()
