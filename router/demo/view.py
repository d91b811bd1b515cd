"""The live view on a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from router.demo.show import Picture
from router.demo.telling import count, decision_line, evidence_of_harm, interval, milliseconds, plain, ratio, shares

VERDICT_STYLE = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
REFRESH_PER_SECOND = 4
LOG_LINES = 10


class Terminal:
    """Progress bars while training and starting, then the match as it goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}", style="dim"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._log: deque[Text] = deque(maxlen=LOG_LINES)
        self._decided = 0.0
        self._live = Live(
            self._progress, console=console, refresh_per_second=REFRESH_PER_SECOND, vertical_overflow="ellipsis"
        )
        self._live.start()

    def policy(self, text: str) -> None:
        """Above the view, where it stays."""
        self._console.print(Panel(Text(text.rstrip()), title="the declared policy of this demo", title_align="left"))

    def progress(self, task: str, done: int, of: int, what: str) -> None:
        """A bar for each task."""
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=of, what="")
        self._progress.update(self._tasks[task], completed=done, total=of, what=plain(what))

    def say(self, line: str) -> None:
        """Into the log."""
        self._note(line, "bold")

    def look(self, picture: Picture) -> None:
        """Draw all of it anew."""
        for decision in picture.desk.decisions:
            if decision["at"] > self._decided:
                self._decided = decision["at"]
                self._note(decision_line(decision), "cyan")
        self._live.update(self._drawn(picture))

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def _note(self, line: str, style: str) -> None:
        self._log.append(Text(f"{time.monotonic() - self._began:6.1f} s  {plain(line)}", style))

    def _drawn(self, picture: Picture) -> RenderableType:
        state, tally = picture.desk.state, picture.tally
        failed = Text(f"{tally.failed} failed", "bold red" if tally.failed else "green")
        traffic = Text.assemble(
            f"{picture.per_second:.0f} flights/s, {tally.answered:,} answered, ",
            failed,
            f", {tally.labels_accepted:,} landed and labelled",
        )
        parts: list[RenderableType] = [traffic, _roles(state)]
        rollout = state.get("rollout") or {}
        if rollout.get("evidence"):
            parts.append(_evidence(rollout["evidence"]))
        if picture.desk.trouble:
            parts.append(Text(plain(picture.desk.trouble), "yellow"))
        addresses = Text("   ".join(f"{what} {url}" for what, url in picture.addresses), "dim")
        return Group(
            Panel(Group(*parts), title=plain(picture.act), title_align="left"),
            Panel(Group(*self._log), title="decisions", title_align="left"),
            addresses,
        )


def _roles(state: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("role", "version", "traffic", "answers", "failed", "p50", "p99", "live precision", "labelled"):
        table.add_column(heading, justify="left" if heading in ("role", "traffic", "live precision") else "right")
    told = shares(state.get("traffic") or {})
    for role, seen in (state.get("roles") or {}).items():
        precision = seen.get("precision") or {}
        table.add_row(
            plain(role),
            f"v{seen.get('version')}",
            told.get(role, "-"),
            count(seen.get("answers")),
            count(seen.get("failed")),
            milliseconds(seen.get("p50_seconds")),
            milliseconds(seen.get("p99_seconds")),
            interval(precision),
            count(precision.get("count")),
        )
    return table


def _evidence(evidence: Mapping[str, Any]) -> Table:
    """Per guardrail: both figures, the evidence of harm against what would roll back, and what a pass still needs."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("guardrail", "champion", "challenger", "harm shown", "verdict", "still needed"):
        table.add_column(heading, overflow="fold")
    for rail in evidence.get("guardrails") or ():
        figure = milliseconds if str(rail["name"]).endswith("_latency") else ratio
        verdict = str(rail["verdict"])
        table.add_row(
            plain(rail["name"]),
            figure((rail.get("champion") or {}).get("value")),
            figure((rail.get("challenger") or {}).get("value")),
            Text(evidence_of_harm(rail["harm_e"], rail["harm_threshold"])),
            Text(plain(verdict), VERDICT_STYLE.get(verdict, "")),
            plain("; ".join(rail.get("missing") or ()) or "-"),
        )
    return table
