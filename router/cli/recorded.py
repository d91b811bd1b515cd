"""The commands' way to the ledger itself: beside a running titleshot, or without one. It is only read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from router.cli.exits import UnreachableError
from router.cli.settings_file import read_settings, settings_option
from router.control.ledger import LedgerUnavailable
from router.control.ledger.archive import Archive
from router.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The ledger, and where it was found: the settings, unless only its URL was given."""

    archive: Archive
    settings: Settings | None


def ledger_command(command: Callable[Concatenate[Recorded, P], R]) -> Callable[..., R]:
    """Give a command --settings and --ledger, and the ledger that they name as its first argument."""

    @settings_option("The settings of the titleshot whose ledger is read.")
    @click.option(
        "--ledger",
        "url",
        envvar="TITLESHOT_LEDGER",
        show_envvar=True,
        metavar="URL",
        help="The ledger itself, such as sqlite:///titleshot.db; no settings are read then.",
    )
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        path, url = kwargs.pop("settings_path"), kwargs.pop("url")
        settings = read_settings(path, ", or --ledger the ledger") if url is None and isinstance(path, Path) else None
        try:
            with Archive.open(settings.ledger if settings is not None else str(url)) as archive:
                return command(Recorded(archive, settings), *args, **kwargs)
        except LedgerUnavailable as error:
            raise UnreachableError(f"the ledger cannot be read: {error}") from None

    return wrapped
