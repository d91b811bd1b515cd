"""`titleshot top`: what `status` says, again and again, with the last decisions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router.cli.admin import Admin, admin_command, model_argument
from router.cli.exits import INTERRUPTED, UnreachableError
from router.cli.output import console, moment, plain, version
from router.cli.status import model_parts, overview_parts
from router.settings.units import parse_duration

SHOWN_DECISIONS = 8
LEAST_SECONDS = 0.2


def _interval(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds < LEAST_SECONDS:
        raise click.BadParameter("expected at least 200ms")
    return seconds


@click.command()
@model_argument(required=False)
@click.option(
    "--interval",
    "interval_seconds",
    callback=_interval,
    default="2s",
    show_default=True,
    metavar="DURATION",
    help="Between two looks, such as 500ms; at least 200ms.",
)
@click.option(
    "--once", is_flag=True, help="Print what there is to see once, and end; so it is where this is no terminal."
)
@admin_command
def top(admin: Admin, model: str | None, interval_seconds: float, *, once: bool) -> None:
    """Watch all models, or MODEL with its last decisions, live. Ctrl-C ends it.

    While titleshot does not answer, what was seen last stays, and is said to be old.
    """
    if once or not sys.stdout.isatty():
        for part in _look(admin, model)():
            console().print(part, soft_wrap=True)
        return
    try:
        _watch(_look(admin, model), interval_seconds)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _look(admin: Admin, model: str | None) -> Callable[[], list[RenderableType]]:
    def look() -> list[RenderableType]:
        if model is None:
            return overview_parts(admin.status())
        state = admin.model(model)
        return [*model_parts(model, state), Text(), latest(admin.history(model, SHOWN_DECISIONS).get("decisions", []))]

    return look


def _watch(look: Callable[[], list[RenderableType]], interval_seconds: float) -> None:
    seen: list[RenderableType] = look()  # a wrong name or token is told before the screen is taken
    with Live(frame(seen, time.time()), console=console(), screen=True, auto_refresh=False) as live:
        seen_at = time.time()
        while True:
            time.sleep(interval_seconds)
            try:
                seen, seen_at, trouble = look(), time.time(), ""
            except UnreachableError as error:
                trouble = error.message
            live.update(frame(seen, seen_at, trouble), refresh=True)


def frame(seen: Sequence[RenderableType], at: float, trouble: str = "") -> Group:
    """The screen: what was seen, when, and why nothing newer is."""
    head = Text(f"titleshot  {moment(at)}", style="bold")
    if trouble:
        head.append(f"  OLD: {plain(trouble)}", style="bold red")
    return Group(head, Text(), *seen)


def latest(decisions: Sequence[Mapping[str, Any]]) -> Table:
    """The last decisions, the newest first, a line each: the reason gets the room that is left."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for heading in ("time", "decision", "version", "by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in decisions:
        cells = (
            moment(each.get("at")),
            str(each.get("kind", "")).replace("_", " "),
            version(each.get("version")),
            each.get("actor", ""),
            each.get("reason", ""),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table
