"""The judge on traffic with known truth, beside the rules of well-known systems and the best test of fixed size.

    python bench/decisions.py [--harm 400] [--harmless 2000] [--only TEXT] [--jobs 2] [--seed 0] [--write]

Prints a line a scenario as it is done, then the tables; `--write` puts them into bench/RESULTS.md. Exits with 1 when a
promise is broken beyond Monte-Carlo error. Nothing is timed: the clock is the data's.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing import Pool
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from judging.minutes import even, minutes_of, usual  # noqa: E402 - found by the line above
from judging.outcomes import Tally, failures, heads, rows  # noqa: E402
from judging.peers import PEERS  # noqa: E402
from judging.traces import CHALLENGER, CHAMPION, SCENARIOS, START, Scenario, Trace, make  # noqa: E402
from results import table, write_section  # noqa: E402

from comparator import replay  # noqa: E402
from comparator.events import DecisionKind  # noqa: E402
from comparator.policy import Policy, Step, StepKind  # noqa: E402

PIECE = 10
"""Repetitions that a process takes at a time."""

TITLES = {
    "harmless": "No worse: how often it is rolled back all the same",
    "beyond": "Incidents longer than the default buckets forgive: no promise; longer buckets do",
    "harm": "Harm: how often it is missed, and how long it takes to roll back",
    "at the margin": "At a margin: how often it is promoted (at most 5 % may be)",
    "unproven": "Not to be promoted: the offline promise does not hold, or labels are biased",
}


def policy_for(scenario: Scenario) -> Policy:
    """Production defaults; one step, then promotion."""
    step = (
        Step(StepKind.SHADOW, 100, scenario.step_seconds)
        if scenario.percent is None
        else Step(StepKind.CANARY, scenario.percent, scenario.step_seconds)
    )
    return Policy(steps=(step, Step(StepKind.PROMOTE)), bucket_seconds=scenario.bucket_seconds)


def judged(scenario: Scenario, repetition: int, seed: int) -> tuple[str, float]:
    """What the judge says of one trial: ("roll_back" | "promote" | "none", seconds from the start)."""
    return _judged(scenario, make(scenario, repetition, seed))


def _judged(scenario: Scenario, trace: Trace) -> tuple[str, float]:
    decisions = replay(
        policy_for(scenario),
        trace.observations,
        trace.labels,
        champion=CHAMPION,
        challenger=CHALLENGER,
        offline={"precision": scenario.offline},
    )
    for decision in decisions:
        if decision.kind in (DecisionKind.ROLL_BACK, DecisionKind.PROMOTE):
            return decision.kind.value, decision.at - START
    return "none", math.inf


def all_judged(scenario: Scenario, repetition: int, seed: int) -> dict[str, tuple[str, float]]:
    """What each rule says of one trial."""
    trace = make(scenario, repetition, seed)
    verdicts = {"titleshot": _judged(scenario, trace)}
    figures = minutes_of(scenario, trace)
    # none of them asks for proof; where there is harm they are given as long as titleshot to find it
    step = scenario.seconds if scenario.truth == "harm" else scenario.step_seconds
    evenly = figures if scenario.percent in (None, 50) else minutes_of(scenario, even(scenario, trace))
    for name, (rule, _) in PEERS.items():
        minute = rule(evenly if name == "Kayenta" else figures, usual(scenario))  # its documentation asks for that
        at = math.inf if minute is None else 60.0 * (minute + 1)
        verdicts[name] = ("promote", step) if at > step else ("roll_back", at)
    return verdicts


def piece(asked: tuple[int, int, int, int]) -> tuple[int, dict[str, Tally]]:
    """Some repetitions of one scenario, in a process of its own."""
    index, first, last, seed = asked
    tallies: dict[str, Tally] = {}
    for repetition in range(first, last):
        for name, verdict in all_judged(SCENARIOS[index], repetition, seed).items():
            tallies.setdefault(name, Tally()).add(SCENARIOS[index], verdict)
    return index, tallies


def run(
    chosen: list[int], counts: dict[str, int], jobs: int, seed: int, kept: Path | None
) -> dict[int, dict[str, Tally]]:
    """All trials, spread over processes; scenarios in order. Trials that are in the kept file are not run again."""
    done = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    found: dict[int, dict[str, Tally]] = {
        index: {name: Tally(**tally) for name, tally in done.get(SCENARIOS[index].name, {}).items()} for index in chosen
    }
    work = [
        (index, first, min(first + PIECE, counts[SCENARIOS[index].truth]), seed)
        for index in sorted(chosen, key=lambda each: SCENARIOS[each].truth == "harmless")  # they take longest
        for first in range(_trials(found[index]), counts[SCENARIOS[index].truth], PIECE)
    ]
    began = time.monotonic()
    with Pool(jobs) as pool:
        for index, tallies in pool.imap(piece, work):
            for name, tally in tallies.items():
                found[index].setdefault(name, Tally()).merge(tally)
            scenario, ours = SCENARIOS[index], found[index]["titleshot"]
            if ours.trials == counts[scenario.truth]:
                broken = "; ".join(failures(scenario, ours))
                line = " | ".join(rows(scenario, found[index])[:5])
                if kept is not None:
                    done[scenario.name] = {name: asdict(tally) for name, tally in found[index].items()}
                    kept.write_text(json.dumps(done))
                print(f"{time.monotonic() - began:6.0f} s  {line}  {broken}", flush=True)
    return found


def _trials(tallies: dict[str, Tally]) -> int:
    """How many there are: the first so many repetitions."""
    return tallies["titleshot"].trials if tallies else 0


def report(found: dict[int, dict[str, Tally]]) -> list[str]:
    """The tables."""
    lines = []
    for truth, title in TITLES.items():
        mine = [index for index in found if SCENARIOS[index].truth == truth]
        if mine:
            names = list(found[mine[0]])
            lines += [f"**{title}**", "", *table(heads(truth, names), [rows(SCENARIOS[i], found[i]) for i in mine]), ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--harm", type=int, default=400, help="repetitions of each scenario with harm, or at a margin")
    parser.add_argument("--harmless", type=int, default=2000, help="repetitions of each scenario without harm")
    parser.add_argument("--only", default="", help="scenarios whose name has this text")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a file that keeps what is done, to go on from there")
    parser.add_argument("--write", action="store_true", help="replace the section in bench/RESULTS.md")
    asked = parser.parse_args()
    chosen = [index for index, each in enumerate(SCENARIOS) if asked.only in each.name]
    counts = dict.fromkeys(TITLES, asked.harm) | {"harmless": asked.harmless}
    found = run(chosen, counts, asked.jobs, asked.seed, asked.keep)
    lines = report(found)
    print("\n".join(lines))
    if asked.write:
        head = [
            "## Decisions on traffic with known truth",
            "",
            f"`python bench/decisions.py --harm {asked.harm} --harmless {asked.harmless} --seed {asked.seed} --write`, "
            f"{datetime.now(UTC):%Y-%m-%d}.\n\n" + (ROOT / "bench" / "judging" / "READING.md").read_text().strip(),
            "",
        ]
        write_section(ROOT / "bench" / "RESULTS.md", "decisions", "\n".join(head + lines))
    sys.exit(any(failures(SCENARIOS[index], tallies["titleshot"]) for index, tallies in found.items()))


if __name__ == "__main__":
    main()
