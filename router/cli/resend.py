"""`titleshot resend`: recorded requests to any two model servers, and how their answers compare."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from comparator.columns import CHALLENGER_VERSION, CHAMPION_VERSION
from comparator.events import Columns
from comparator.policy import Policy
from comparator.replaying import Replay, replayed
from router.cli.exits import RefusedError
from router.cli.output import console, json_option, print_json
from router.cli.progress import bar
from router.cli.replay import as_data, in_words
from router.cli.settings_file import read_model
from router.cli.span import Span
from router.link.endpoint import Tls, place_of
from router.protocols.coding import Coding
from router.protocols.protocol import Reader, Reading
from router.protocols.select import NAMES, reader
from router.recordings.files import create
from router.recordings.lines import Asked, Line
from router.recordings.reading import Recording, RecordingError, read_file
from router.recordings.writing import label_lines, observed_lines, written
from router.resending.compare import Comparison, Share, Side, compared
from router.resending.run import Resending, Resent
from router.resending.target import Target, body_of
from router.settings import SettingsError, load_policy

AS_FAST_AS_IT_GOES = "max"
_FILE = click.Path(path_type=Path, dir_okay=False)
_THERE = click.Path(path_type=Path, dir_okay=False, exists=True)


class _Speed(click.ParamType[float]):
    name = "speed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        try:
            speed = float("inf") if text == AS_FAST_AS_IT_GOES else float(text)
        except ValueError:
            speed = 0.0
        if not speed > 0:
            self.fail(f"expected a number above 0, such as 10, or {AS_FAST_AS_IT_GOES}", param, ctx)
        return speed


@dataclass(frozen=True, slots=True)
class _Asking:
    """How both servers are asked and their answers read."""

    read: Reader
    coding: Coding
    tls: Tls
    speed: float | None
    at_once: int
    seconds: float


@click.command()
@click.argument("file", type=_THERE)
@click.option("--a", "url_a", required=True, metavar="URL", help="A model server: in the champion's place.")
@click.option("--b", "url_b", required=True, metavar="URL", help="Another: in the challenger's place.")
@click.option("--speed", type=_Speed(), default="1", show_default=True, help="Recorded seconds a second, or max.")
@click.option("--at-once", type=click.IntRange(min=1), default=64, show_default=True, help="Most that are under way.")
@click.option("--timeout", type=Span(), default="30s", show_default=True, help="What one answer may take.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many requests.")
@click.option("--settings", "settings_path", type=_THERE, help="Settings with MODEL: protocol, answer, positive, tls.")
@click.option("--model", help="The model in --settings. Default: the recording's.")
@click.option("--protocol", type=click.Choice(NAMES), help="Default: the recording's, or mlflow.")
@click.option("--positive", default="1", show_default=True, help="Which prediction counts as positive.")
@click.option("--labels", "label_path", type=_THERE, help="Labels in another file.")
@click.option("--policy", "policy_path", type=_THERE, help="A policy's file: what it would have decided.")
@click.option("--out", type=_FILE, help="Keep the answers as a recording, for `titleshot replay`.")
@json_option
def resend(  # noqa: PLR0913 - the options of a command
    file: Path,
    *,
    url_a: str,
    url_b: str,
    speed: float,
    at_once: int,
    timeout: float,
    limit: int | None,
    settings_path: Path | None,
    model: str | None,
    protocol: str | None,
    positive: str,
    label_path: Path | None,
    policy_path: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Send the requests recorded in FILE to the model servers A and B, and compare what they answer.

    Each request goes to both when it is due. Answers are read as those of live traffic are; times in what is judged and
    kept are those of the recording, so that its labels belong to them.

    Exit code 0: all were sent, whatever was answered, or as many as there were until Ctrl-C; 1: something in the file
    or the policy is wrong.
    """
    requests: list[Asked] = []
    recording = Recording(asked=requests.extend)
    try:
        read_file(file, recording)
        if label_path is not None:
            read_file(label_path, recording, only_labels=True)
        policy = load_policy(policy_path) if policy_path is not None else None
    except (RecordingError, SettingsError) as error:
        raise RefusedError(str(error)) from None
    if not requests:
        raise RefusedError(f"{file}: expected requests: `titleshot record` without --since keeps them")
    requests = sorted(requests, key=lambda asked: asked.at)[:limit]
    _check(file, requests)
    begun = recording.begun
    name = model or (begun.model if begun is not None else "")
    spoken = protocol or (begun.protocol if begun is not None else "") or NAMES[0]
    asking = _Asking(
        *_reading(settings_path, name, spoken, positive), None if speed == float("inf") else speed, at_once, timeout
    )
    recorded, labels = recording.columns(champion=CHAMPION_VERSION, challenger=CHALLENGER_VERSION)
    with _kept(out) as keep:  # hours of answers are not to be lost for a file that cannot be written
        with bar("resending", len(requests), quiet=as_json) as tell:
            resent = asyncio.run(_sent(requests, (url_a, url_b), asking, tell))
        observations = resent.observations
        problem = keep([*observed_lines(observations), *label_lines(labels)])
    told = compared(observations, labels, recorded)
    run = _judged(policy, observations, labels) if policy is not None else None
    if as_json:
        decisions = [as_data(each, policy.digest) for each in run.decisions] if policy and run else None
        timing = {"seconds": resent.seconds, "late_seconds": resent.late_seconds, "unsent": resent.unsent}
        print_json({**told.as_data(), **timing, "decisions": decisions})
    else:
        _show(told, resent, (url_a, url_b))
        if run is not None:
            click.echo("\n".join(["", f"{policy_path} would have decided:", *in_words(run)]))
    if problem:
        raise RefusedError(problem)


def _check(file: Path, requests: list[Asked]) -> None:
    for asked in requests:
        try:
            body_of(asked)
        except ValueError:
            raise RefusedError(f"{file}: request {asked.request_id}: body_base64: expected text in Base64") from None
        if not asked.path.startswith("/"):
            raise RefusedError(f"{file}: request {asked.request_id}: path: expected a path that begins with /")


def _reading(settings_path: Path | None, model: str, protocol: str, positive: str) -> tuple[Reader, Coding, Tls]:
    if settings_path is None:
        try:
            number: float | str = float(positive)
        except ValueError:
            number = positive
        return reader(protocol, Reading()), Coding(positive=number), Tls()
    _, settings = read_model(settings_path, model)
    return settings.reader, settings.coding, settings.tls


async def _sent(requests: list[Asked], urls: tuple[str, str], asking: _Asking, tell: Callable[[int], None]) -> Resent:
    targets = [_target(url, asking) for url in urls]
    try:
        resending = Resending(
            *targets, read=asking.read, coding=asking.coding, speed=asking.speed, at_once=asking.at_once
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            resending.stop()
            loop.remove_signal_handler(signal.SIGINT)  # who asks again does not want to wait

        loop.add_signal_handler(signal.SIGINT, stop)
        return await resending.run(requests, tell)
    finally:
        for target in targets:
            await target.close()


def _target(url: str, asking: _Asking) -> Target:
    try:
        tls = asking.tls if place_of(url).scheme == "https" else Tls()
        return Target(url, tls, asking.at_once, asking.seconds)
    except (ValueError, OSError) as error:
        raise RefusedError(f"{url}: {error}") from None


@contextmanager
def _kept(out: Path | None) -> Iterator[Callable[[list[Line]], str]]:
    """Keeps lines in a file that is made now, and says what went wrong; "": nothing. What fails leaves no file."""
    if out is None:
        yield lambda _: ""
        return
    try:
        sink = create(out)
    except RecordingError as error:
        raise RefusedError(str(error)) from None

    def keep(lines: list[Line]) -> str:
        try:
            with closing(sink):
                sink.write(written(lines))
        except OSError as error:
            out.unlink(missing_ok=True)
            return f"{out}: cannot be written on: {error.strerror or error}"
        return ""

    try:
        yield keep
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _judged(policy: Policy, observations: Columns, labels: Columns) -> Replay:
    return replayed(policy, observations, labels, champion=CHAMPION_VERSION, challenger=CHALLENGER_VERSION)


def _show(told: Comparison, resent: Resent, urls: tuple[str, str]) -> None:
    late = f"; the worst went out {resent.late_seconds:.2f} s late" if resent.late_seconds >= 0.1 else ""
    click.echo(f"{told.requests:,} requests to both in {resent.seconds:.1f} s{late}")
    if resent.unsent:
        click.echo(f"stopped: {resent.unsent:,} requests were not sent")
    table = Table("", "a", "b")
    for q in (0.5, 0.9, 0.99):
        table.add_row(f"p{q * 100:g}", *(_latency(side, q) for side in (told.a, told.b)))
    for outcome in dict.fromkeys((*told.a.outcomes, *told.b.outcomes)):
        name = outcome.replace("_", " ")
        table.add_row(name, *(f"{side.outcomes.get(outcome, 0):,}" for side in (told.a, told.b)))
    table.add_row("precision", *(_share(side.precision) for side in (told.a, told.b)))
    table.add_row("as the recorded champion", *(_share(side.as_recorded) for side in (told.a, told.b)))
    console().print(table)
    for name, side, url in zip("ab", (told.a, told.b), urls, strict=True):
        if told.requests and not side.outcomes.get("ok"):
            click.echo(f"no answer of {name} was of use: is {url} the model server, and are these its requests?")
    click.echo(f"the same prediction: {_share(told.agree)}")
    if told.score_distance is not None:
        mean, largest = told.score_distance
        click.echo(f"scores differ by {mean:.4g} on average, by {largest:.4g} at most")
    click.echo(f"b was slower in {_share(told.slower)}")
    for text, row, a, b in told.examples[:5]:
        click.echo(f"  {text} row {row}: a {a:g}, b {b:g}")
    if len(told.examples) > 5:
        click.echo("  more with --json")


def _latency(side: Side, q: float) -> str:
    return f"{side.latency[q] * 1000:.1f} ms" if q in side.latency else "-"


def _share(share: Share) -> str:
    data = share.as_data()
    return "-" if data is None else f"{data['value']:.1%} [{data['lower']:.1%}, {data['upper']:.1%}] of {share.of:,}"
