"""What rules decided over many trials -> shares with their bounds, and tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from judging.oracle import requests, seconds
from judging.peers import PEERS
from judging.traces import Scenario

ALPHA = 0.05
CLEAR = 0.95
"""Every harm of the list is to be found in at least so many runs."""


def clopper_pearson(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval for a share (Clopper and Pearson 1934), by bisection of the binomial tail."""
    if count == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2

    def edge(matches: int, *, at_least: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            share = _at_least(matches, count, middle) if at_least else 1 - _at_least(matches + 1, count, middle)
            if (share < tail) is at_least:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    lower = edge(successes, at_least=True) if successes else 0.0
    upper = edge(successes, at_least=False) if successes < count else 1.0
    return lower, upper


def _at_least(successes: int, count: int, p: float) -> float:
    """P(at least so many of `count`), by the shorter tail."""
    if successes <= 0:
        return 1.0
    if p <= 0 or p >= 1:
        return float(p >= 1)

    def mass(k: int) -> float:
        logs = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        return math.exp(logs + k * math.log(p) + (count - k) * math.log1p(-p))

    if successes > count / 2:
        return math.fsum(mass(k) for k in range(successes, count + 1))
    return 1 - math.fsum(mass(k) for k in range(successes))


@dataclass
class Tally:
    """One rule in one scenario."""

    trials: int = 0
    rolled_back: int = 0
    early: int = 0  # rolled back before there was any harm
    promoted: int = 0
    delays: list[float] = field(default_factory=list)  # seconds from the onset of the harm to the rollback
    promotions: list[float] = field(default_factory=list)  # seconds from the start

    def add(self, scenario: Scenario, verdict: tuple[str, float]) -> None:
        """Count one trial: ("roll_back" | "promote" | "none", seconds from the start)."""
        kind, at = verdict
        self.trials += 1
        if kind == "promote":
            self.promoted += 1
            self.promotions.append(at)
        elif kind == "roll_back" and scenario.truth == "harm" and at < scenario.onset:
            self.early += 1
        elif kind == "roll_back":
            self.rolled_back += 1
            self.delays.append(at - scenario.onset)

    def merge(self, other: Tally) -> None:
        """Add another's trials."""
        for name in ("trials", "rolled_back", "early", "promoted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays += other.delays
        self.promotions += other.promotions

    def wrong(self, scenario: Scenario) -> int:
        """Trials in which the rule erred: false rollbacks, misses, or false promotions."""
        if scenario.truth in ("harmless", "beyond"):
            return self.rolled_back
        if scenario.truth == "harm":
            return self.trials - self.rolled_back
        return self.promoted


def failures(scenario: Scenario, ours: Tally) -> list[str]:
    """What of the promises is broken in this cell, beyond Monte-Carlo error."""
    wrong = ours.wrong(scenario)
    lower, _ = clopper_pearson(wrong, ours.trials)
    found = []
    if scenario.truth not in ("harm", "beyond") and lower > ALPHA:
        found.append(f"{wrong} of {ours.trials} wrong, more than {ALPHA:.0%}")
    if scenario.truth == "harm":
        if lower > 1 - CLEAR:
            found.append(f"{wrong} of {ours.trials} missed, more than {1 - CLEAR:.0%}")
        allowed = most_delay(scenario)
        if allowed is not None and ours.delays and median(ours.delays) > allowed:
            found.append(f"median delay {median(ours.delays):.0f} s, more than {allowed:.0f} s")
    return found


def most_delay(scenario: Scenario) -> float | None:
    """The larger of 3 times the oracle's and 200 s; None: there is no oracle."""
    oracle = seconds(scenario)
    return None if oracle is None or not scenario.within else max(3 * oracle, 200.0)


def rows(scenario: Scenario, tallies: dict[str, Tally]) -> list[str]:
    """One line of the table: the judge with bounds, each peer with its share, and delays."""
    ours = tallies["titleshot"]
    wrong = ours.wrong(scenario)
    lower, upper = clopper_pearson(wrong, ours.trials)
    broken = failures(scenario, ours)
    first = f"{_percent(wrong, ours.trials)} [{lower:.1%}, {upper:.1%}]" + (" **FAILS**" if broken else "")
    line = [scenario.name, f"{ours.trials:,}", first]
    if scenario.truth == "harm":
        oracle = seconds(scenario)
        n = requests(scenario)
        line.append("" if oracle is None else f"{oracle:,.0f} s ({n:,.0f})")
        line.append(_delay(ours, scenario))
    else:
        line.append(_percent(ours.promoted, ours.trials))
    for name, tally in tallies.items():
        if name != "titleshot":
            if scenario.shown_by and scenario.shown_by not in PEERS[name][1]:
                line.append("cannot")
                continue
            share = _percent(tally.wrong(scenario), tally.trials)
            line.append(f"{share}, {_delay(tally, scenario)}" if scenario.truth == "harm" and tally.delays else share)
    return line


def heads(truth: str, names: Sequence[str]) -> list[str]:
    """The table's first line."""
    peers = [name for name in names if name != "titleshot"]
    if truth == "harm":
        return ["harm", "runs", "missed by titleshot", "oracle (requests)", "median delay (requests)", *peers]
    what = "rolled back by titleshot" if truth in ("harmless", "beyond") else "promoted by titleshot"
    return ["scenario", "runs", what, "promoted", *peers]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _delay(tally: Tally, scenario: Scenario) -> str:
    if not tally.delays:
        return "-"
    middle = median(tally.delays)
    return f"{middle:,.0f} s ({middle * scenario.rate:,.0f})"
