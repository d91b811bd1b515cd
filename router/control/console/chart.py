"""Line charts as SVG, made on the server: lines differ in colour and in dashes, the label has the figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

WIDTH, HEIGHT = 560, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 12, 24
TICKS = 4

Points = Sequence[tuple[float, float | None]]
"""(seconds since the epoch, value; None: a gap)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart.

    Args:
        label: in the legend.
        kind: its class in the style sheet: champion, other, level.
        points: in order of time.
        bounds: lower and upper at each point, drawn as a band; none: no band.
    """

    label: str
    kind: str
    points: Points
    bounds: tuple[Points, Points] | None = None


def chart(
    title: str,
    lines: Sequence[Line],
    tell: Callable[[float], str],
    *,
    now: float,
    seconds: float,
    least: float | None = None,
    most: float | None = None,
) -> str:
    """One chart.

    Args:
        title: what is shown.
        lines: what is drawn, the last one on top.
        tell: a value in words, for the axis and the label.
        now: the right edge, in seconds since the epoch.
        seconds: how far back the left edge is.
        least: the lower edge; None: as the values have it.
        most: likewise.

    Returns:
        An <svg> element, its text escaped.
    """
    latest = "; ".join(f"{line.label} {tell(value)}" for line in lines if (value := _latest(line.points)) is not None)
    svg = ET.Element("svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "class": "chart"})
    svg.set("aria-label", f"{title}: {latest or 'nothing yet'}")
    low, high = _range(lines, least, most)
    scale = _Scale(now - seconds, now, low, high)
    for value in ticks(low, high):
        y = f"{scale.y(value):.1f}"
        ET.SubElement(svg, "line", {"class": "grid", "x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": y, "y2": y})
        _text(svg, tell(value), LEFT - 6, scale.y(value) + 4, "end")
    for share, words in ((0.0, _ago(seconds)), (0.5, _ago(seconds / 2)), (1.0, "now")):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        _text(svg, words, LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - 6, anchor)
    for line in lines:
        if line.bounds is not None:
            for part in _bands(*line.bounds):
                ET.SubElement(svg, "polygon", {"class": f"band {line.kind}", "points": scale.path(part)})
        for run in _runs(line.points):
            ET.SubElement(svg, "polyline", {"class": f"line {line.kind}", "points": scale.path(run)})
    return ET.tostring(svg, encoding="unicode")


def ticks(low: float, high: float) -> list[float]:
    """Round values between two, some TICKS of them (Heckbert 1990, "Nice numbers for graph labels")."""
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class _Scale:
    since: float
    until: float
    low: float
    high: float

    def x(self, at: float) -> float:
        return LEFT + (at - self.since) / (self.until - self.since) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points if at >= self.since)


def _range(lines: Sequence[Line], least: float | None, most: float | None) -> tuple[float, float]:
    values = [value for line in lines for _, value in line.points if value is not None]
    low = min(values, default=0.0) if least is None else least
    high = max([low, *values] if values else [low + 1.0]) if most is None else most
    room = 0.08 * (high - low) or max(abs(high), 1.0) * 0.1
    return (low if least is not None else low - room), (high if most is not None else high + room)


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    """Cut at the gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _bands(lower: Points, upper: Points) -> list[list[tuple[float, float]]]:
    """The outlines of where both bounds are known."""
    bands: list[list[tuple[float, float]]] = []
    below: list[tuple[float, float]] = []
    above: list[tuple[float, float]] = []
    for (at, low), (_, high) in zip(lower, upper, strict=True):
        if low is not None and high is not None:
            below.append((at, low))
            above.append((at, high))
        elif below:
            bands.append([*below, *above[::-1]])
            below, above = [], []
    return [*bands, [*below, *above[::-1]]] if below else bands


def _latest(points: Points) -> float | None:
    return points[-1][1] if points else None


def _text(svg: ET.Element, text: str, x: float, y: float, anchor: str) -> None:
    ET.SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = text


def _ago(seconds: float) -> str:
    return f"{seconds / 60:.0f} min ago" if seconds >= 120 else f"{seconds:.0f} s ago"
