"""`titleshot labels`: send a file of labels."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from router.cli.admin import Admin, Unavailable, admin_command
from router.cli.exits import REFUSED, RefusedError, UnreachableError
from router.cli.label_file import BadLine, Item, NotALabelFile, format_of, read_items
from router.cli.output import json_option, plain, print_json

BATCH_LABELS = 1000
BATCH_BYTES = 1024 * 1024
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 10.0


@dataclass(slots=True)
class Sent:
    """What became of the labels so far."""

    accepted: int = 0
    rejected: list[BadLine] = field(default_factory=list)
    last_line: int = 0  # of the file; all before it has been answered


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
@click.option("--model", metavar="MODEL", help="The model, where there are several and the items do not say.")
@click.option("--format", "kind", type=click.Choice(["csv", "ndjson"]), help="Default: by the file's ending.")
@click.option(
    "--retry-for",
    "retry_seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to try again when labels cannot be recorded now.",
)
@json_option
@admin_command
def labels(
    admin: Admin, file: Path, model: str | None, kind: str | None, retry_seconds: float, *, as_json: bool
) -> None:
    """Send the labels of FILE: CSV with the header request_id,label[,row][,model][,at], or NDJSON; - is standard input.

    Every batch is acknowledged only after it was recorded. Labels that are not accepted are printed with their line.
    Exit code 0: all were accepted; 1: some were not; 3: titleshot could not be reached, and the rest was not sent.
    Sending a file again is harmless.
    """
    kind = kind or format_of(file)
    if kind is None:
        raise click.UsageError("the file's ending says neither csv nor ndjson; use --format")
    sent = Sent()
    failed: click.ClickException | None = None
    try:
        with _open(file) as source, _progress(source, quiet=as_json) as advance:
            for batch in _batches(source, kind, model):
                rejected = _send(admin, batch, retry_seconds, sent)
                if not as_json:
                    for bad in rejected:
                        click.echo(f"{file}:{bad.line}: {plain(bad.expected)}", err=True)
                advance()
    except NotALabelFile as error:
        failed = RefusedError(f"{file}: {error}")
    except click.ClickException as error:
        failed = error
    if as_json:
        rejected_items = [{"line": bad.line, "error": bad.expected} for bad in sent.rejected]
        print_json({"accepted": sent.accepted, "rejected": rejected_items, "complete": failed is None})
    else:
        click.echo(f"{file}: {sent.accepted} accepted, {len(sent.rejected)} rejected")
    if failed is not None:
        lost = f"nothing after line {sent.last_line}" if sent.last_line else "nothing"
        click.echo(f"{file}: {lost} was acknowledged", err=True)
        raise failed
    if sent.rejected:
        sys.exit(REFUSED)


@dataclass(slots=True)
class _Batch:
    """Labels to be sent together, and lines among them that hold none."""

    body: bytearray = field(default_factory=bytearray)
    lines: list[int] = field(default_factory=list)  # of the file, by index in the body
    bad: list[BadLine] = field(default_factory=list)
    last_line: int = 0

    def add(self, item: Item | BadLine, model: str | None) -> None:
        self.last_line = item.line
        if isinstance(item, BadLine):
            self.bad.append(item)
            return
        data = item.data if model is None else {"model": model, **item.data}
        self.body += json.dumps(data).encode() + b"\n"
        self.lines.append(item.line)

    @property
    def full(self) -> bool:
        return len(self.lines) + len(self.bad) >= BATCH_LABELS or len(self.body) >= BATCH_BYTES


def _batches(source: BinaryIO, kind: str, model: str | None) -> Iterator[_Batch]:
    batch = _Batch()
    for item in read_items(source, kind):
        batch.add(item, model)
        if batch.full:
            yield batch
            batch = _Batch()
    if batch.last_line:
        yield batch


def _send(admin: Admin, batch: _Batch, retry_seconds: float, sent: Sent) -> list[BadLine]:
    """Send one batch; the lines of it that were not accepted."""
    rejected = list(batch.bad)
    if batch.lines:
        answer = _acknowledged(admin, bytes(batch.body), retry_seconds, reached=sent.last_line > 0)
        rejected += [BadLine(batch.lines[item["index"]], str(item["error"])) for item in answer["rejected"]]
        sent.accepted += int(answer["accepted"])
    rejected.sort(key=lambda bad: bad.line)
    sent.rejected += rejected
    sent.last_line = batch.last_line
    return rejected


def _acknowledged(admin: Admin, body: bytes, retry_seconds: float, *, reached: bool) -> dict[str, Any]:
    """The answer to one batch; tried again with growing waits while the ledger, or titleshot, is away.

    An address that never answered is not tried again: it is more likely wrong than away.
    """
    until = time.monotonic() + retry_seconds
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            return admin.labels(body)
        except UnreachableError as error:
            if not (reached or isinstance(error, Unavailable)):
                raise
            left = until - time.monotonic()
            if left <= 0:
                raise
            asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
            time.sleep(min(left, wait if asked is None else asked))
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)


@contextlib.contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    with source:
        yield source


@contextlib.contextmanager
def _progress(source: BinaryIO, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """A bar by bytes on a terminal; call what it gives to move it."""
    if quiet or not sys.stderr.isatty() or not source.seekable():
        yield lambda: None
        return
    columns = (TextColumn("labels"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("labels", total=os.fstat(source.fileno()).st_size)
        yield lambda: progress.update(task, completed=source.tell())
