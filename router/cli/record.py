"""`titleshot record`: keep what clients ask, what was answered, and the labels that come, in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from router.cli.admin import Admin, admin_command, model_argument
from router.cli.exits import RefusedError, UnreachableError
from router.cli.output import json_option, print_json
from router.cli.span import Span
from router.recordings.files import Sink, create
from router.recordings.lines import Ended, Line
from router.recordings.reading import RecordingError

_KINDS = ("request", "observation", "label")


@click.command()
@model_argument()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--share", type=click.IntRange(1, 100), default=100, show_default=True, help="Percent of the requests.")
@click.option("--for", "seconds", type=Span(), default="10m", show_default=True, help="How long.")
@click.option("--requests", type=click.IntRange(min=1), help="Stop after so many requests.")
@click.option("--since", type=Span(), help="No requests, but the answers and labels that the ledger has since so long.")
@click.option("--only-labels", is_flag=True, help="With --since: only the labels.")
@json_option
@admin_command
def record(  # noqa: PLR0913 - the options of a command
    admin: Admin,
    model: str,
    file: Path,
    *,
    share: int,
    seconds: float,
    requests: int | None,
    since: float | None,
    only_labels: bool,
    as_json: bool,
) -> None:
    """Record MODEL's traffic into FILE: NDJSON (.gz: packed) or Parquet (.parquet), as docs/recordings.md says.

    What comes from now on: a share of the requests, by their ids, with all answers to them and the labels that arrive
    meanwhile. What the model's settings redact never leaves titleshot. With --since: answers and labels of the past,
    from the ledger.

    Exit code 0: recorded, or stopped with Ctrl-C; 1: it may not be recorded; 3: titleshot went away, and what came
    before is in FILE.
    """
    if only_labels and since is None:
        raise click.UsageError("--only-labels goes with --since")
    if since is None:
        path, given = "/recording", {"share": str(share), "seconds": f"{seconds:g}"}
    else:
        path, given = "/recording/past", {"since": f"{time.time() - since:.3f}"}
        if only_labels:
            given["only"] = "labels"
    with admin.stream(model, path, given) as pieces:
        try:
            sink = create(file)
        except RecordingError as error:
            raise RefusedError(str(error)) from None
        taken = _Taken(sink, requests)
        try:
            with _progress(None if as_json or since is not None else seconds) as show, closing(sink):
                try:
                    taken.all(pieces, show)
                except KeyboardInterrupt:
                    taken.stopped = True
        except OSError as error:
            raise RefusedError(f"{file}: cannot be written on: {error.strerror or error}") from None
    if as_json:
        dropped = taken.ended.dropped if taken.ended is not None else None
        left_out = taken.ended.left_out if taken.ended is not None else None
        print_json({"file": str(file), **taken.counts, "dropped": dropped, "left_out": left_out})
    else:
        click.echo(f"{file}: {taken.words()}")
    if taken.ended is None and not taken.stopped:
        raise UnreachableError(f"{admin.url} went away: what came before is in {file}")


class _Taken:
    """What came, counted on its way into the file; only whole lines are written."""

    def __init__(self, sink: Sink, most_requests: int | None) -> None:
        self.counts = dict.fromkeys(_KINDS, 0)
        self.ended: Ended | None = None
        self.stopped = False
        self._sink = sink
        self._most = most_requests
        self._rest = b""

    def all(self, pieces: Iterator[bytes], show: Progress | None) -> None:
        for piece in pieces:
            self._take(piece)
            if show is not None:
                show.update(show.task_ids[0], completed=time.monotonic() - _begun(show), told=self.words())
            if self._most is not None and self.counts["request"] >= self._most:
                self.stopped = True
                return

    def words(self) -> str:
        told = ", ".join(f"{count:,} {kind}s" for kind, count in self.counts.items())
        if self.ended is None:
            return told
        left_out = "left out: not to be redacted, over gRPC, or too long"
        lost = {"dropped": self.ended.dropped, left_out: self.ended.left_out}
        return ", ".join([told, *(f"{count:,} {what}" for what, count in lost.items() if count)])

    def _take(self, piece: bytes) -> None:
        whole, end, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest
        if not end or not whole.strip():
            return
        for kind in _KINDS:  # a quote within a text is escaped: this is no text's
            self.counts[kind] += whole.count(b'{"type":"%b"' % kind.encode())
        last = whole.rpartition(b"\n")[2]
        if last.startswith(b'{"type":"end"'):
            ended = msgspec.json.decode(last, type=Line)
            self.ended = ended if isinstance(ended, Ended) else None
        self._sink.write(whole + b"\n")


def _begun(show: Progress) -> float:
    return show.tasks[0].start_time or 0.0


@contextmanager
def _progress(seconds: float | None) -> Iterator[Progress | None]:
    """A bar by time on a terminal."""
    console = Console(stderr=True)
    if seconds is None or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("recording"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True, get_time=time.monotonic) as progress:
        progress.add_task("recording", total=seconds, told="")
        yield progress
