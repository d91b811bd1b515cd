"""`titleshot history`: the decisions about a model."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from router.cli.admin import Admin, admin_command
from router.cli.output import console, json_option, moment, plain, print_json, version


@click.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
@admin_command
def history(admin: Admin, model: str, limit: int, *, as_json: bool) -> None:
    """The decisions about MODEL, the newest first: what, on which version, by whom, and why."""
    answer = admin.history(model, limit)
    if as_json:
        print_json(answer)
        return
    decisions = answer.get("decisions", [])
    if not decisions:
        click.echo(f"{model}: no decision yet")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("time", "decision", "version", "by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for decision in decisions:
        table.add_row(
            moment(decision.get("at")),
            Text(plain(decision.get("kind", "")).replace("_", " ")),
            Text(version(decision.get("version"))),
            Text(plain(decision.get("actor", ""))),
            Text(plain(decision.get("reason", ""))),
        )
    console().print(table)
