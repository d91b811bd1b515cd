"""`titleshot doctor`: whether all that titleshot needs is there, and what to mend."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from router.cli.exits import REFUSED, RefusedError
from router.cli.findings import Level
from router.cli.output import console, json_option, plain, print_json
from router.cli.settings_file import read_settings, settings_option

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@settings_option("The settings of the titleshot that is looked at.")
@json_option
def doctor(settings_path: Path, *, as_json: bool) -> None:
    """Look at settings, state directory, ledger, clock, ports, registry, endpoints and others, and say what to mend.

    It changes nothing, sends nothing to webhooks, and can be run beside a titleshot that serves. Exit code 1: something
    FAILs.
    """
    try:
        settings = read_settings(settings_path)
    except RefusedError as error:
        if as_json:
            told = {"what": "settings", "level": Level.FAIL.value, "text": error.message}
            print_json({"well": False, "findings": [told]})
            sys.exit(REFUSED)
        raise
    from router.cli.examine import examine  # noqa: PLC0415 - takes a second, and the settings may be wrong

    findings = asyncio.run(examine(settings))
    whole = all(each.level is not Level.FAIL for each in findings)
    if as_json:
        print_json({"well": whole, "findings": [asdict(each) for each in findings]})
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row(Text("OK", STYLES["ok"]), Text("settings"), Text(plain(settings_path)))
        for each in findings:
            level = each.level.value
            table.add_row(Text(level.upper(), STYLES[level]), Text(plain(each.what)), Text(plain(each.text)))
        console().print(table)
    if not whole:
        sys.exit(REFUSED)
