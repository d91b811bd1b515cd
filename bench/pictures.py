"""Pictures for docs/how-it-decides.md: the judge's own reports while it replays traces with known truth.

    python bench/pictures.py

Writes docs/pictures/*.svg. Seeded: the same code draws the same pictures. Plain SVG, for light and dark backgrounds;
lines differ by their dashes, and their names stand at their ends.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import numpy as np  # noqa: E402 - found by the line above
from decisions import policy_for  # noqa: E402
from judging.traces import CHALLENGER, CHAMPION, SCENARIOS, START, make  # noqa: E402

from comparator.events import DecisionKind  # noqa: E402
from comparator.guardrail import Estimate  # noqa: E402
from comparator.replaying import Replay  # noqa: E402
from comparator.report import Report  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
PIECE_SECONDS = 10.0
WIDTH, HEIGHT = 800, 430
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 50

STYLE = """
.ink { color: #1f2328 } .faint { color: #d0d7de } .page { color: #ffffff }
.a { color: #0550ae } .b { color: #a40e26 } .c { color: #116329 } .d { color: #7a4a00 }
@media (prefers-color-scheme: dark) {
  .ink { color: #e6edf3 } .faint { color: #3d444d } .page { color: #0d1117 }
  .a { color: #79c0ff } .b { color: #ff9492 } .c { color: #7ee787 } .d { color: #f0b72f }
}
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: currentColor }
"""


@dataclass(frozen=True)
class Run:
    """What the judge reported of one trace, by seconds since its start, and how it ended."""

    at: list[float]
    reports: list[Report]
    ended: str
    ended_at: float


def follow(name: str, repetition: int = 0) -> Run:
    """Replay one trace piece by piece, until it is rolled back or promoted."""
    scenario = next(each for each in SCENARIOS if each.name == name)
    trace = make(scenario, repetition)
    judge = Replay(
        policy_for(scenario), champion=CHAMPION, challenger=CHALLENGER, offline={"precision": scenario.offline}
    )
    at: list[float] = []
    reports: list[Report] = []
    for piece in range(int(scenario.seconds / PIECE_SECONDS)):
        span = START + PIECE_SECONDS * np.array([piece, piece + 1])
        parts = [
            columns[slice(*np.searchsorted(columns["at"], span))] for columns in (trace.observations, trace.labels)
        ]
        decided = judge.feed(*parts)
        final = [each for each in decided if each.kind in (DecisionKind.ROLL_BACK, DecisionKind.PROMOTE)]
        report = judge.report
        if report is not None and (not final or final[0].kind is DecisionKind.ROLL_BACK):
            at.append(report.at - START if not final else final[0].at - START)
            reports.append(report)
        if final:
            return Run(at, reports, final[0].kind.value, final[0].at - START)
    return Run(at, reports, "none", scenario.seconds)


def thin(points: Sequence[tuple[float, float]], tolerance: float = 0.4) -> list[tuple[float, float]]:
    """Leave out points within the tolerance of the line without them (Douglas and Peucker 1973), in pixels."""
    if len(points) < 3:
        return list(points)
    (x0, y0), (x1, y1) = points[0], points[-1]
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    off = [abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length for x, y in points]
    far = max(range(len(points)), key=off.__getitem__)
    if off[far] <= tolerance:
        return [points[0], points[-1]]
    return thin(points[: far + 1], tolerance)[:-1] + thin(points[far:], tolerance)


class Picture:
    """One chart: x in minutes, y by a scale of its own."""

    def __init__(self, title: str, desc: str, x_most: float, y: Callable[[float], float]) -> None:
        self._x_most, self._y = x_most, y  # y: value -> 0 (bottom) to 1 (top)
        self._lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" aria-labelledby="title desc">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(desc)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" fill="currentColor"/>',
        ]

    def place(self, minutes: float, value: float) -> tuple[float, float]:
        """Pixels of a point."""
        x = LEFT + (WIDTH - LEFT - RIGHT) * minutes / self._x_most
        return x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(self._y(value), 0.0), 1.0)

    def axes(self, x_ticks: Sequence[float], y_ticks: dict[float, str], y_name: str) -> None:
        """Grid, ticks and the names of the axes."""
        for value, text in y_ticks.items():
            x, y = self.place(0, value)
            self.stroke([(x, y), (WIDTH - RIGHT, y)], "faint", 1, "")
            self.text(x - 8, y + 4, text, anchor="end")
        for minutes in x_ticks:
            x, _ = self.place(minutes, 0)
            self.stroke([(x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5)], "ink", 1, "")
            self.text(x, HEIGHT - BOTTOM + 20, f"{minutes:g}", anchor="middle")
        self.stroke([(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], "ink", 1, "")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "minutes since the start", anchor="middle")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self._lines.append(
            f'<text class="ink" transform="translate(18 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_name)}</text>"
        )

    def line(
        self, minutes: Sequence[float], values: Sequence[float], colour: str, dash: str = "", width: float = 2
    ) -> None:
        """A line of measured points, thinned."""
        self.stroke(thin([self.place(*each) for each in zip(minutes, values, strict=True)]), colour, width, dash)

    def band(self, minutes: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
        """The space between two lines."""
        there = thin([self.place(*each) for each in zip(minutes, high, strict=True)])
        back = thin([self.place(*each) for each in zip(minutes, low, strict=True)])[::-1]
        self._lines.append(f'<path class="{colour}" d="{_path(there + back)}Z" fill="currentColor" opacity="0.16"/>')

    def end(self, minutes: float, value: float, colour: str, *, good: bool) -> None:
        """Where a run ended: a circle is a promotion, a cross a rollback."""
        x, y = self.place(minutes, value)
        if good:
            self._lines.append(f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="currentColor"/>')
        else:
            for sign in (1, -1):
                self.stroke([(x - 6, y - 6 * sign), (x + 6, y + 6 * sign)], colour, 3, "")

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", colour: str = "ink") -> None:
        """Words, in pixels."""
        self._lines.append(
            f'<text class="{colour}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def stroke(self, points: Sequence[tuple[float, float]], colour: str, width: float, dash: str) -> None:
        """A line, in pixels."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._lines.append(
            f'<path class="{colour}" d="{_path(points)}" fill="none" stroke="currentColor" '
            f'stroke-width="{width}"{dashes}/>'
        )

    def write(self, name: str) -> None:
        """To docs/pictures."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / name).write_text("\n".join([*self._lines, "</svg>", ""]))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def clock(seconds: float) -> str:
    """For people."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def evidence_picture(
    name: str, title: str, shown: Sequence[tuple[str, str, str, str, tuple[float, float, str]]], x_most: float
) -> None:
    """Evidence over time. Of each run: scenario, words, colour, dashes, where the words stand from its end."""
    runs = [follow(scenario) for scenario, *_ in shown]
    told = "; ".join(
        f"{words}: {_outcome(run)}, largest evidence {max(r.combined_e for r in run.reports):.3g}"
        for run, (_, words, *_) in zip(runs, shown, strict=True)
    )
    low, high = -1.0, 2.0
    picture = Picture(
        title,
        f"Evidence of harm on a logarithmic scale, by minutes since the start; at 20 it is rolled back. {told}.",
        x_most,
        lambda e: (math.log10(max(e, 1e-9)) - low) / (high - low),
    )
    step = 5 if x_most > 10 else 1
    picture.axes(
        [step * k for k in range(int(x_most // step) + 1)],
        {10.0**k: f"{10.0**k:g}" for k in range(-1, 3)},
        "evidence of harm (log scale)",
    )
    picture.line([0, x_most], [20, 20], "ink", "2 3", 1.5)
    x, y = picture.place(x_most, 20)
    picture.text(x, y + 18, "20 = 1 / 5 %: roll back", anchor="end")
    for run, (_, words, colour, dash, (dx, dy, anchor)) in zip(runs, shown, strict=True):
        minutes = [0.0] + [each / 60 for each in run.at]
        values = [1.0] + [report.combined_e for report in run.reports]
        picture.line(minutes, values, colour, dash)
        picture.end(minutes[-1], values[-1], colour, good=run.ended == "promote")
        x, y = picture.place(minutes[-1], values[-1])
        picture.text(x + dx, y + dy, f"{words}: {_outcome(run)}", anchor=anchor, colour=colour)
    picture.write(name)
    print(name, told)


def _outcome(run: Run) -> str:
    did = {"promote": "promoted", "roll_back": "rolled back"}.get(run.ended, "still on trial")
    return f"{did} after {clock(run.ended_at)}"


def precision_picture(name: str, scenario: str) -> None:
    """Both sides' precision with their bounds."""
    run = follow(scenario)
    rails = [next(rail for rail in report.guardrails if rail.name == "precision") for report in run.reports]
    sides = {
        "champion": ([rail.champion for rail in rails], "a", ""),
        "challenger": ([rail.challenger for rail in rails], "b", "7 4"),
    }
    last = rails[-1]
    ends = " and ".join(
        f"{who} {_words(estimate)}" for who, estimate in (("champion", last.champion), ("challenger", last.challenger))
    )
    x_most = math.ceil(run.ended_at / 60) + 1.0
    low, high = 0.4, 1.0
    picture = Picture(
        "Precision of a champion and of a challenger that is 10 points worse",
        f"Live precision with bounds that hold at all times, by minutes since the start; {_outcome(run)}, with {ends}.",
        x_most,
        lambda value: (value - low) / (high - low),
    )
    picture.axes(
        list(range(int(x_most) + 1)), {k / 10: f"{k / 10:.1f}" for k in range(4, 11)}, "precision of labelled positives"
    )
    for who, (estimates, colour, dash) in sides.items():
        known = [(at / 60, each) for at, each in zip(run.at, estimates, strict=True) if each is not None]
        minutes = [at for at, _ in known]
        lower, upper = [each.lower for _, each in known], [each.upper for _, each in known]
        picture.band(minutes, lower, upper, colour)
        for edge in (lower, upper):
            picture.line(minutes, edge, colour, dash, 1)
        picture.line(minutes, [each.value for _, each in known], colour, dash, 2.5)
        x, y = picture.place(minutes[-1], known[-1][1].value)
        picture.text(x + 12, y + 4, f"{who} {known[-1][1].value:.2f}", colour=colour)
    x, _ = picture.place(run.ended_at / 60, low)
    picture.stroke([(x, TOP), (x, HEIGHT - BOTTOM)], "ink", 1.5, "2 3")
    picture.text(x + 6, TOP + 14, f"{_outcome(run)}")
    picture.write(name)
    print(name, _outcome(run), ends, run.reports[-1].reason)


def _words(estimate: Estimate | None) -> str:
    return "unknown" if estimate is None else f"{estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"


def main() -> None:
    evidence_picture(
        "evidence-harmless.svg",
        "Evidence of harm over time: challengers that are no worse",
        [
            ("identical, shadow", "identical", "a", "", (0, -52, "end")),
            ("better precision, shadow", "better (precision +4 points)", "c", "8 4", (0, 28, "end")),
        ],
        32,
    )
    evidence_picture(
        "evidence-harm.svg",
        "Evidence of harm over time: challengers that are worse",
        [
            ("precision -10 points, shadow", "precision -10 points", "b", "7 4", (12, -12, "start")),
            ("latency x 1.5, shadow", "latency x 1.5", "d", "", (-6, -34, "start")),
        ],
        8,
    )
    precision_picture("precision-worse.svg", "precision -10 points, shadow")


if __name__ == "__main__":
    main()
