"""Figures in words."""

from __future__ import annotations

import math

from comparator.guardrail import Estimate
from comparator.rail import IN_LABEL_UNITS, RELATIVE, Guardrail, Metric

_MOST_TOLD = 1e9
"""Evidence beyond is not told to the digit: it has up to 300 of them."""


def worse_by(harm: float | None, rail: Guardrail) -> str:
    """The harm."""
    return "worse by an unknown amount" if harm is None else f"worse by {amount(harm, rail)}"


def amount(harm: float, rail: Guardrail) -> str:
    """In the margin's units."""
    if rail.metric in RELATIVE:
        return f"{harm * 100:.3g} %"
    return f"{harm:.3g}" if rail.metric in IN_LABEL_UNITS else points(harm)


def evidence(e: float) -> str:
    """An e-value."""
    return f"{e:,.0f}" if e < _MOST_TOLD else f"over {_MOST_TOLD:,.0f}"


def e_value(e: float) -> str:
    """An e-value that may be small."""
    return f"{e:.2g}" if e < 10 else evidence(e)


def figure(name: str, estimate: Estimate) -> str:
    """A guardrail's figure with its bounds and what it rests on, by the guardrail's name."""
    if name.endswith("_latency"):
        told = seconds(estimate)
    else:
        told = percents(estimate) if name == Metric.ERROR_RATE.value else plain(estimate)
    return f"{told} on {estimate.count:,}"


def duration(seconds: float) -> str:
    """So many seconds, as one would say it."""
    for unit, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def points(ratio: float) -> str:
    """A ratio as percentage points."""
    return f"{ratio * 100:.3g} points"


def percents(estimate: Estimate | None) -> str:
    """A ratio with its bounds, in percent."""
    if estimate is None:
        return "unknown"
    return f"{estimate.value * 100:.2f} % [{estimate.lower * 100:.2f}, {estimate.upper * 100:.2f}]"


def plain(estimate: Estimate | None) -> str:
    """A figure with its bounds."""
    if estimate is None:
        return "unknown"
    return f"{estimate.value:.3f} [{estimate.lower:.3f}, {estimate.upper:.3f}]"


def seconds(estimate: Estimate | None) -> str:
    """A duration with its bounds."""
    if estimate is None:
        return "unknown"
    upper = f"{estimate.upper:.3g}" if math.isfinite(estimate.upper) else "?"
    return f"{estimate.value:.3g} s [{estimate.lower:.3g}, {upper}]"
