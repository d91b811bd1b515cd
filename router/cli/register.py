"""`titleshot register` and `titleshot annotate`: immutable versions with their lineage."""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from router.artifacts.profile import Profile, ProfileError, as_text, read_profile
from router.cli.exits import RefusedError
from router.cli.figure import Figure
from router.cli.output import json_option, plain, print_json
from router.registering.hashing import DataError, data_hash, data_size
from router.registering.mlflow_calls import RegisteringError
from router.registering.source import SourceError, checked_sha, commit_of
from router.registering.tables import TableError, is_table, pieces
from router.registering.versions import Lineage, Versions

_PATH = click.Path(path_type=Path, exists=True)


def _registry(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--registry",
        envvar=["MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"],
        required=True,
        metavar="URI",
        help="Of MLflow; default: MLFLOW_REGISTRY_URI, MLFLOW_TRACKING_URI.",
    )(command)


def _lineage(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--data", type=_PATH, help="The training data, a file or a directory: it is hashed."),
        click.option("--git-sha", metavar="SHA", help="Of the training code. Default: that of --source."),
        click.option(
            "--metric", "metrics", type=Figure(), multiple=True, help="An evaluation metric; may be repeated."
        ),
        click.option(
            "--profile",
            type=_PATH,
            help="CSV or Parquet to make the profile from, or a profile (.json). Default: --data, if it is a table.",
        ),
        click.option("--by", metavar="NAME", help="Who registers. Default: the user's name on this machine."),
        _registry,
        json_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model")
@click.option("--run", "run_id", metavar="RUN_ID", help="A run that has logged one model.")
@click.option("--uri", metavar="models:/m-...", help="A logged model.")
@click.option("--source", type=_PATH, default=".", show_default=True, help="The checkout of the training code.")
@click.option("--allow-dirty", is_flag=True, help="Also from a checkout with changed files: the SHA ends with -dirty.")
@click.option("--description", default="", metavar="TEXT", help="Of the version.")
@_lineage
def register(  # noqa: PLR0913 - the options of a command
    model: str,
    *,
    run_id: str | None,
    uri: str | None,
    source: Path,
    allow_dirty: bool,
    description: str,
    data: Path | None,
    git_sha: str | None,
    metrics: tuple[tuple[str, float], ...],
    profile: Path | None,
    by: str | None,
    registry: str,
    as_json: bool,
) -> None:
    """Make a version of MODEL from a run or a logged model, with git SHA, data hash, metrics and a profile of its data.

    Nothing is written before all of it is there. The same model, source and data again give the same version.
    """
    if (run_id is None) == (uri is None):
        raise click.UsageError("expected one of --run and --uri")
    try:
        git_sha = commit_of(source, allow_dirty=allow_dirty) if git_sha is None else checked_sha(git_sha)
        versions = Versions(registry)
        candidate = versions.candidate(run_id=run_id, uri=uri)
        lineage = Lineage(git_sha, _hash(data), dict(metrics), profile_text(data, profile))
        known = versions.existing(model, candidate, lineage)
        made = known or versions.register(model, candidate, lineage, by=by or _user(), description=description)
    except (RegisteringError, SourceError, DataError, TableError, ProfileError) as error:
        raise RefusedError(plain(error)) from None
    answer = {
        "model": model,
        "version": made,
        "new": known is None,
        "source": candidate.uri,
        "git_sha": git_sha,
        "data_hash": lineage.data_hash,
        "metrics": {**candidate.metrics, **lineage.metrics},
        "profile": lineage.profile is not None,
    }
    _tell(answer, f"{model}: version {made}{'' if known is None else ', which was there before'}", as_json=as_json)


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--replace", metavar="REASON", help="Replace what says something else; the reason and the old value are kept."
)
@_lineage
def annotate(  # noqa: PLR0913 - the options of a command
    model: str,
    version: int,
    *,
    replace: str | None,
    data: Path | None,
    git_sha: str | None,
    metrics: tuple[tuple[str, float], ...],
    profile: Path | None,
    by: str | None,
    registry: str,
    as_json: bool,
) -> None:
    """Complete a version of MODEL that another tool made: git SHA, data hash, metrics, profile."""
    try:
        sha = None if git_sha is None else checked_sha(git_sha)
        lineage = Lineage(sha, _hash(data), dict(metrics), profile_text(data, profile))
        if not lineage.tags():
            raise click.UsageError("expected something to add: --git-sha, --data, --metric or --profile")
        written = Versions(registry).annotate(model, version, lineage, by=by or _user(), replace=replace)
    except (RegisteringError, SourceError, DataError, TableError, ProfileError) as error:
        raise RefusedError(plain(error)) from None
    _tell({"model": model, "version": version, "written": written}, f"{model}: version {version}", as_json=as_json)


def _hash(data: Path | None) -> str | None:
    if data is None:
        return None
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"hashing {data.name}", total=data_size(data))
        return data_hash(data, lambda count: progress.advance(bar, count))


def profile_text(data: Path | None, given: Path | None) -> str | None:
    """The profile as its artifact: of the table or profile that was given for it, else of the data where it is a table.

    Raises:
        ProfileError: what was given is neither; or the table has no row.
        TableError: a table cannot be read.
    """
    if given is None:
        return _made_of(data) if data is not None and is_table(data) else None
    if is_table(given):
        return _made_of(given)
    if given.suffix.lower() != ".json" or not given.is_file():
        raise ProfileError(f"{given}: expected a file named .csv, .parquet or .json")
    try:
        return as_text(read_profile(given.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, ProfileError) as error:
        raise ProfileError(f"{given}: {error}") from None


def _made_of(table: Path) -> str:
    made = Profile()
    try:
        for piece in pieces(table):
            made.take(piece)
        return as_text(made.data())
    except ProfileError as error:
        raise ProfileError(f"{table}: {error}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _tell(answer: dict[str, Any], head: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    click.echo(head)
    for name, value in answer.items():
        if isinstance(value, dict):
            for key, each in sorted(value.items()):
                click.echo(
                    f"  {plain(key)}: {plain(f'{each:g}' if isinstance(each, float) and math.isfinite(each) else each)}"
                )
        elif name not in ("model", "version", "new"):
            click.echo(f"  {name}: {plain(value)}")
