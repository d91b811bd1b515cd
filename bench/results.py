"""Figures of many runs -> tables, and their place in RESULTS.md. Pure, but for reading and writing that file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Run:
    """One contender, one scenario, one round."""

    cpu_us: float  # of the proxy, per request
    all_cpu_us: float  # of all the product's processes, per request
    per_second: float
    p50_us: float
    p99_us: float
    event_p50_us: float
    event_p99_us: float
    errors: int
    mirrored: float  # share of the requests that reached the challenger too
    load_busy: float  # share of its core that the load and the model servers used


@dataclass(frozen=True)
class Cell:
    """Medians over the rounds of one contender in one scenario, and ratios to the first contender of each round."""

    name: str
    runs: tuple[Run, ...]
    base: tuple[Run, ...] = ()

    def of(self, field: str) -> float:
        """The median of a field."""
        return median(getattr(run, field) for run in self.runs)

    def ratio(self, field: str) -> float | None:
        """The median of the rounds' ratios to the base; None: there is none."""
        pairs = [(getattr(run, field), getattr(base, field)) for run, base in zip(self.runs, self.base, strict=False)]
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return median(ratios) if ratios else None


BUSY = 0.9
"""From this share on the load's core is the limit, and requests/s say little of the proxy."""


def comparison(cells: Sequence[Cell], *, events: bool = False) -> list[str]:
    """A Markdown table of one scenario, a contender a line."""
    head = [
        "proxy",
        "CPU us/request",
        "x Envoy",
        "all processes",
        "requests/s",
        "x Envoy",
        "p50 us",
        "p99 us",
        "mirrored",
    ]
    if events:
        head += ["event delay p50 us", "p99 us"]
    lines = []
    for cell in cells:
        counts = cell.of("load_busy") < BUSY
        line = [
            cell.name,
            f"{cell.of('cpu_us'):.1f}",
            _ratio(cell.ratio("cpu_us")),
            f"{cell.of('all_cpu_us'):.1f}",
            f"{cell.of('per_second'):.0f}" + ("" if counts else " (load's core full)"),
            _ratio(cell.ratio("per_second")) if counts else "",
            f"{cell.of('p50_us'):.0f}",
            f"{cell.of('p99_us'):.0f}",
            f"{cell.of('mirrored'):.0%}" if cell.of("mirrored") else "",
        ]
        if events:
            line += [f"{cell.of('event_p50_us'):.0f}", f"{cell.of('event_p99_us'):.0f}"]
        if errors := sum(run.errors for run in cell.runs):
            line[0] += f" ({errors} errors)"
        lines.append(line)
    return table(head, lines)


def harm(alone: Cell, again: Cell, others: Sequence[Cell]) -> list[str]:
    """A Markdown table: what a challenger does to the client's latency, against two runs without a mirror (A/A)."""
    lines = []
    for cell in (alone, again, *others):
        line = [cell.name]
        for field in ("p50_us", "p99_us"):
            one, two = alone.of(field), again.of(field)
            bound = max(1.1 * min(one, two), one, two)
            mine = cell.of(field)
            verdict = "" if cell in (alone, again) else (" within" if mine <= bound else f" over {bound:.0f}")
            line.append(f"{mine:.0f}{verdict}")
        lines.append([*line, str(sum(run.errors for run in cell.runs))])
    return table(["challenger", "p50 us", "p99 us", "errors"], lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows]


def replaced(text: str, section: str, fresh: str) -> str:
    """The text with this section's content replaced; a section that is not there is appended. Others stay."""
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    block = f"{begin}\n{fresh.strip()}\n{end}\n"
    if begin not in text:
        return f"{text.rstrip()}\n\n{block}" if text.strip() else block
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(f"{end}\n")
    return before + block + after


def write_section(path: Path, section: str, fresh: str) -> None:
    """Replace a section of a file."""
    path.write_text(replaced(path.read_text() if path.exists() else "", section, fresh))


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
