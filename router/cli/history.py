"""`titleshot history`: what was in production when, and the decisions about a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from router.cli.admin import Admin, admin_command, model_argument
from router.cli.output import console, json_option, moment, plain, print_json, version
from router.control.explanation import who


@click.command()
@model_argument()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many rows.")
@click.option("--refused", is_flag=True, help="Attempts to act that were refused for who asked, instead.")
@json_option
@admin_command
def history(admin: Admin, model: str, limit: int, *, refused: bool, as_json: bool) -> None:
    """What was in production when, and the decisions about MODEL: what, on which version, by whom, and why.

    The newest come first. `titleshot explain ID` tells the numbers behind a decision. With --refused: who tried to act
    without being allowed to, on MODEL or on none that is known.
    """
    if refused:
        _show_refused(model, admin.refused(model, limit), as_json=as_json)
        return
    answer = {**admin.history(model, limit), **admin.production(model)}
    if as_json:
        print_json(answer)
        return
    reigns, decisions = answer.get("production", []), answer.get("decisions", [])
    if not decisions:
        click.echo(f"{model}: no decision yet")
        return
    if reigns:
        console().print(_production(reigns))
        click.echo()
    console().print(_decisions(decisions))


def _show_refused(model: str, answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    acts = answer.get("refused", [])
    if not acts:
        click.echo(f"{model}: nobody was refused")
        return
    table = _table("time", "act", "model", "by", "from", "times", "why")
    for act in acts:
        cells = (
            moment(act.get("at")),
            act.get("act", ""),
            act.get("model") or "-",
            act.get("actor") or "unknown",
            act.get("origin") or "-",
            str(act.get("times", "")),
            act.get("why", ""),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console().print(table)


def _production(reigns: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("in production", "from", "until", "by", "decision", "reason")
    for reign in reigns:
        since, until = reign.get("since"), reign.get("until")
        cells = (
            version(reign.get("version")),
            moment(since) if since is not None else "before the record",
            moment(until) if until is not None else "now",
            who(reign.get("by", "")),
            reign.get("decision") or "-",
            reign.get("reason") or "-",
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("time", "id", "decision", "version", "by", "reason")
    for decision in decisions:
        cells = (
            moment(decision.get("at")),
            decision.get("id") or "-",
            str(decision.get("kind", "")).replace("_", " "),
            version(decision.get("version")),
            decision.get("actor", ""),
            decision.get("reason", ""),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _table(*headings: str) -> Table:
    """The last column takes what is left, in several lines where it has to."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    return table
