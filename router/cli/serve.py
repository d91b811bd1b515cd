"""`titleshot serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from router.cli.exits import RefusedError
from router.compose import serve as run
from router.settings import SettingsError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def serve(file: Path) -> None:
    """Route traffic as FILE (titleshot.yaml) says, until SIGTERM or SIGINT.

    FILE is watched: models, endpoints, policies and limits can change while traffic flows. Exit code 1: the settings
    are invalid, the data port is taken, or another titleshot has this state directory. While the admin port is taken,
    serving goes on without it, and it is tried again.
    """
    try:
        code = run(file)
    except SettingsError as error:
        raise RefusedError(f"the settings are not valid:\n{error}") from None
    sys.exit(code)
