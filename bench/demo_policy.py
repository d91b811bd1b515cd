"""How long each act of the demo takes, by the judge's own code on synthetic traffic with known truth.

    python bench/demo_policy.py [--seeds 20] [--rate 80] [--policy router/demo/policy.yaml]

Versions as the demo trains them: precision 0.45, 0.92 and 0.25, lognormal latency (sigma 0.5), labels after 2.5 s on
average. Prints the median and the slowest of all seeds, in seconds and in pairs of answers. Nothing is timed: the
clock is the data's.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from duel import CHALLENGER, CHAMPION, Duel, Model, traffic  # noqa: E402 - found by the line above

from comparator.events import Mode  # noqa: E402
from comparator.evidence import Evidence  # noqa: E402
from comparator.guardrail import Verdict  # noqa: E402
from comparator.pairing import Pairing  # noqa: E402
from comparator.policy import Policy, StepKind  # noqa: E402
from router.settings import load_policy  # noqa: E402

LOOK_SECONDS = 0.5
LONGEST_STEP_SECONDS = 300.0
MODES = {StepKind.SHADOW: Mode.SHADOW, StepKind.CANARY: Mode.CANARY}

V1, V2, V3 = Model(share=0.30, precision=0.45), Model(share=0.20, precision=0.92), Model(share=0.25, precision=0.25)


@dataclass
class Play:
    """One rollout: seconds that each step took, and how it ended."""

    steps: list[float]
    end: Verdict


def play(policy: Policy, duel: Duel, offline: float, seed: int) -> Play:
    """Take a challenger through the steps before promotion."""
    rng = np.random.default_rng(seed)
    evidence = Evidence(policy, trial=CHALLENGER, reference=CHAMPION, offline={"precision": offline})
    pairing = Pairing(policy.label_retention_seconds)
    now, steps = 1000.0, []
    for step in policy.steps:
        if step.kind not in MODES:
            break
        mode = MODES[step.kind]
        evidence.enter(mode, now)
        seen, labels = traffic(duel, rng, LONGEST_STEP_SECONDS, start=now, mode=mode, canary=step.percent / 100)
        began, verdict = now, Verdict.INCONCLUSIVE
        while verdict is Verdict.INCONCLUSIVE or (verdict is Verdict.PASS and now - began < step.min_seconds):
            rows, truths = (
                columns[slice(*np.searchsorted(columns["at"], [now, now + LOOK_SECONDS]))] for columns in (seen, labels)
            )
            evidence.observe(rows)
            evidence.label(pairing.observe(rows))
            evidence.label(pairing.label(truths))
            now += LOOK_SECONDS
            verdict = evidence.report(now).verdict
            if now - began >= LONGEST_STEP_SECONDS:
                break
        steps.append(now - began)
        if verdict is not Verdict.PASS:
            return Play(steps, verdict)
    return Play(steps, Verdict.PASS)


def show(name: str, plays: list[Play], wanted: Verdict, rate: float) -> None:
    good = [sum(each.steps) for each in plays if each.end is wanted]
    print(f"{name}: {wanted.value} in {len(good)} of {len(plays)} runs", end="")
    if good:
        middle = statistics.median(good)
        print(f"; median {middle:.0f} s ({middle * rate:,.0f} requests), slowest {max(good):.0f} s")
    else:
        print()
    for index in range(max(len(each.steps) for each in plays)):
        took = [each.steps[index] for each in plays if len(each.steps) > index]
        print(f"  step {index + 1}: median {statistics.median(took):.1f} s, slowest {max(took):.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rate", type=float, default=80.0, help="requests a second")
    parser.add_argument("--policy", type=Path, default=ROOT / "router" / "demo" / "policy.yaml")
    asked = parser.parse_args()
    policy = load_policy(asked.policy)
    better, worse = Duel(V1, V2, rate=asked.rate, label_delay=2.5), Duel(V2, V3, rate=asked.rate, label_delay=2.5)
    seeds = range(asked.seeds)
    show("act one, version 2", [play(policy, better, 0.92, seed) for seed in seeds], Verdict.PASS, asked.rate)
    show("act three, version 3", [play(policy, worse, 1.0, seed) for seed in seeds], Verdict.FAIL, asked.rate)


if __name__ == "__main__":
    main()
