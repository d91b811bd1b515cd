"""Latency of a staged server at a stated rate, by requests that are due whether or not the last one was answered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from comparator.guardrail import Verdict
from comparator.sequence import quantile_ranks
from router.staging.check import Check

ALPHA = 0.05


def budget(q: float, seconds: Sequence[float], failed: int, most: float | None, rate: float) -> Check:
    """Whether a quantile of the latency is within its budget.

    Args:
        q: 0.5 or 0.99.
        seconds: from when each request was due to its answer's end (no coordinated omission).
        failed: requests that were not answered with 200; each counts as slower than all.
        most: the budget in seconds; None: the policy asks for none.
        rate: requests/s.
    """
    name = f"latency.p{q * 100:g}"
    count = len(seconds) + failed
    if not count:
        return Check(name, Verdict.INCONCLUSIVE, "nothing was asked")
    ordered = sorted(seconds) + [math.inf] * failed
    value = ordered[math.ceil(q * count) - 1]
    low, high = quantile_ranks(count, q, ALPHA)
    lower = ordered[low - 1] if low >= 1 else 0.0
    upper = ordered[high - 1] if high <= count else math.inf
    numbers = {"value": value, "lower": lower, "upper": upper, "requests": float(count), "failed": float(failed), "rate": rate}
    text = f"p{q * 100:g} {_shown(value)} [{_shown(lower)}, {_shown(upper)}] at {rate:g} requests/s, {count:,} requests"
    if failed:
        text += f", {failed} of them failed"
    if most is None:
        return Check(name, Verdict.FAIL if failed else Verdict.PASS, f"{text}; the policy has no budget", numbers)
    text += f"; the budget is {_shown(most)}"
    if lower > most or (failed and value > most):
        return Check(name, Verdict.FAIL, text, numbers)
    return Check(name, Verdict.PASS if value <= most else Verdict.INCONCLUSIVE, text, numbers)


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if math.isfinite(seconds) else "no bound"
