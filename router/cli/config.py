"""`titleshot config`: check settings files; print their JSON Schema."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from router.cli.exits import REFUSED
from router.cli.output import json_option, print_json
from router.cli.policy import step_words
from router.settings import ModelSettings, Problem, Settings, SettingsError, load_settings
from router.settings.schema import json_schema_text


@click.group()
def config() -> None:
    """Check settings files; print their JSON Schema."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def check(file: Path, *, as_json: bool) -> None:
    """Say everything that is wrong with FILE, or what it will do. Exit code 1: something is wrong."""
    try:
        settings = load_settings(file)
        problems = _tokens_problems(settings)
    except SettingsError as error:
        _fail(error.problems, as_json=as_json)
        return
    if problems:
        _fail(problems, as_json=as_json)
    models = {
        name: {
            "registered_model": model.registered_model,
            "policy_digest": model.policy().digest,
            "steps": _steps(model),
        }
        for name, model in settings.models.items()
    }
    if as_json:
        print_json({"valid": True, "problems": [], "models": models})
        return
    click.echo(f"{file}: valid; listens on {settings.listen}, admin on {settings.admin}")
    for name, model in models.items():
        click.echo(f"  {name}: {', '.join(model['steps'])}; policy {str(model['policy_digest'])[:12]}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of titleshot.yaml, for editors."""
    click.echo(json_schema_text(), nl=False)


def _fail(problems: list[Problem], *, as_json: bool) -> None:
    if as_json:
        print_json({"valid": False, "problems": [asdict(problem) for problem in problems], "models": {}})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    sys.exit(REFUSED)


def _steps(model: ModelSettings) -> list[str]:
    """The steps of a model's policy, in words."""
    return [step_words(step) for step in model.policy().steps]


def _tokens_problems(settings: Settings) -> list[Problem]:
    """The tokens file is read by the admin port, not by the settings; whoever checks wants to know of it too."""
    if settings.tokens_path is None:
        return []
    from router.control.admin.tokens import TokensError, read_entries  # noqa: PLC0415 - numpy; the schema needs none

    try:
        read_entries(settings.tokens_path)
    except TokensError as error:
        return [Problem(str(settings.tokens_path), 1, 1, "tokens", str(error))]
    return []
