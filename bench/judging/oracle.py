"""The best test of fixed size that knows the effect beforehand: how many requests it needs.

The smallest n at which a one-sided test at the same alpha has 80 % power, on independent requests, for the one metric
that the harm shows in. Latency: the share of answers slower than the champion's true p99. It looks once, at the end:
no rule that may look at any time can be as fast on every effect.
"""

from __future__ import annotations

import math

from judging.minutes import nominal_p99
from judging.traces import AGREE, PRECISION, Scenario

Z_ALPHA, Z_POWER = 1.645, 0.842


def requests(scenario: Scenario) -> float | None:
    """How many requests (of both sides together in a canary) the oracle needs; None: there is no harm to look for."""
    if scenario.truth != "harm" or scenario.leak:
        return None
    if scenario.shown_by == "precision":
        return _precision(scenario)
    a, b = _bad(scenario)
    return _two_shares(a, b, scenario.percent)


def seconds(scenario: Scenario) -> float | None:
    """How long the oracle waits for them, the labels' mean delay included."""
    n = requests(scenario)
    if n is None:
        return None
    return n / scenario.rate + (scenario.label_seconds if scenario.shown_by == "precision" else 0.0)


def _two_shares(a: float, b: float, percent: int | None) -> float:
    """Two independent shares; in shadow each request gives one answer to both sides."""
    one, other = (1.0, 1.0) if percent is None else (1 - percent / 100, percent / 100)
    variance = a * (1 - a) / one + b * (1 - b) / other
    least = 1 / min(one, other)  # one answer each
    return max((Z_ALPHA + Z_POWER) ** 2 * variance / (b - a) ** 2, least)


def _bad(scenario: Scenario) -> tuple[float, float]:
    """The shares of bad answers of the champion and of the challenger."""
    if scenario.shown_by == "error_rate":
        return scenario.champion.errors, scenario.challenger.errors
    side, slower = scenario.champion, scenario.challenger.slower
    if side.pareto is not None:
        return 0.01, min(0.01 * slower**side.pareto, 1.0)
    z = (math.log(nominal_p99(scenario) / side.median_seconds) - math.log(slower)) / side.sigma
    return 0.01, 0.5 * math.erfc(z / math.sqrt(2))


def _precision(scenario: Scenario) -> float:
    loss = scenario.precision_loss
    per_request = scenario.share * scenario.labelled
    if scenario.percent is not None:
        return _two_shares(PRECISION, PRECISION - loss, scenario.percent) / per_request
    # paired: per labelled request the difference of (label - precision) over the positives of each side
    p, q = PRECISION, PRECISION - loss
    own = (PRECISION * (1 - AGREE) - loss) / (1 - AGREE)
    both = AGREE * (p * (1 - p) * 0 + (q - p) ** 2)
    theirs = (1 - AGREE) * (p * (1 - p) ** 2 + (1 - p) * p**2)
    mine = (1 - AGREE) * (own * (1 - q) ** 2 + (1 - own) * q**2)
    return (Z_ALPHA + Z_POWER) ** 2 * (both + theirs + mine) / loss**2 / per_request
