"""Latency of a staged server at a rate: requests are due whether or not the last one was answered. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from comparator.guardrail import Verdict
from router.staging.bounds import ALPHA, quantile_ranks
from router.staging.check import Check


@dataclass(frozen=True, slots=True)
class Timed:
    """What came of requests at a rate.

    Args:
        seconds: of those answered with 200: from when each was due to its answer's end (no coordinated omission).
        late: of all: from when each was due to when it left.
        failed: that were not answered with 200 in time; each counts as slower than all.
    """

    seconds: Sequence[float]
    late: Sequence[float]
    failed: int


def budget(q: float, timed: Timed, most: float, rate: float) -> Check:
    """Whether a quantile of the latency is within its budget, by the bounds of the quantile (exact, one-sided 95 %).

    Args:
        q: 0.5 or 0.99.
        timed: the requests.
        most: the budget in seconds.
        rate: requests/s.
    """
    name, count = f"latency.p{q * 100:g}", len(timed.seconds) + timed.failed
    asked = f"the budget is {_shown(most)}"
    if not count:
        return Check(name, Verdict.INCONCLUSIVE, f"nothing was asked; {asked}")
    ordered = sorted(timed.seconds) + [math.inf] * timed.failed
    value = ordered[math.ceil(q * count) - 1]
    low, high = quantile_ranks(count, q)
    lower = ordered[low - 1] if low >= 1 else 0.0
    upper = ordered[high - 1] if high <= count else math.inf
    numbers = {"value": value, "lower": lower, "upper": upper, "requests": float(count), "budget": most}
    numbers |= {"failed": float(timed.failed), "rate": rate}
    text = f"p{q * 100:g} {_shown(value)} [{_shown(lower)}, {_shown(upper)}] of {count:,} requests at {rate:g}/s"
    if timed.failed:
        text += f", of which {timed.failed:,} failed"
    text += f"; {asked}"
    if upper <= most:
        return Check(name, Verdict.PASS, text, numbers)
    late = sorted(timed.late)[math.ceil(q * len(timed.late)) - 1] if timed.late else 0.0
    if lower - late > most:
        return Check(name, Verdict.FAIL, text, numbers)
    if lower > most:
        more = f"; they left up to {_shown(late)} late: this machine did not keep the rate"
        return Check(name, Verdict.INCONCLUSIVE, text + more, numbers)
    return Check(name, Verdict.INCONCLUSIVE, text + _needed(q, ordered, most), numbers)


def _needed(q: float, ordered: Sequence[float], most: float) -> str:
    """About how many requests would tell, by the share of them that was within the budget."""
    count = len(ordered)
    within = sum(each <= most for each in ordered) / count
    if within == 1.0:
        return f"; about {math.ceil(math.log(ALPHA) / math.log(q)):,} requests would tell"
    gap = abs(within - q)
    needed = math.inf if not gap else 1.645**2 * q * (1 - q) / gap**2
    return f"; about {max(needed, count):,.0f} requests would tell" if needed < 10**6 else "; too close to tell"


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if math.isfinite(seconds) else "no bound"
