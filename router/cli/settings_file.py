"""The settings file of a command that reads one: the option that names it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from router.cli.exits import RefusedError
from router.settings import ModelSettings, Settings, SettingsError, load_settings


def settings_option(meaning: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--settings FILE`, as `settings_path`; `meaning` is its help."""
    return click.option(
        "--settings",
        "settings_path",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="TITLESHOT_SETTINGS",
        default="titleshot.yaml",
        show_default=True,
        show_envvar=True,
        help=meaning,
    )


def read_settings(path: Path, otherwise: str = "") -> Settings:
    """The settings; `otherwise` says what can be given in place of the file.

    Raises:
        click.UsageError: there is no such file.
        RefusedError: they are not valid.
    """
    if not path.is_file():
        raise click.UsageError(f"there is no {path}: --settings names the settings file{otherwise}")
    try:
        return load_settings(path)
    except SettingsError as error:
        raise RefusedError(f"the settings are not valid:\n{error}") from None


def read_model(path: Path, model: str) -> tuple[Settings, ModelSettings]:
    """The settings, and those of one model. Raises click.UsageError, RefusedError."""
    settings = read_settings(path)
    if model not in settings.models:
        raise RefusedError(f"{path} has no model {model}; there are: {', '.join(sorted(settings.models))}")
    return settings, settings.models[model]
