"""`titleshot replay`: the decisions that a policy would have taken on recorded traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from comparator.columns import CHALLENGER_VERSION, CHAMPION_VERSION
from comparator.events import Decision
from comparator.phases import TERMINAL
from comparator.replaying import Replay, replayed
from router.cli.exits import RefusedError
from router.cli.figure import Figure
from router.cli.output import plain, seconds
from router.cli.progress import bar
from router.recordings.reading import Recording, RecordingError, read_file
from router.settings import SettingsError, load_policy
from router.settings.units import write_duration

_FINAL = frozenset(phase.value for phase in TERMINAL)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
@click.option("--policy", type=_FILE, required=True, help="The policy's file, as settings name it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output, for scripts.")
@click.option("--offline", type=Figure(), multiple=True, help="An offline metric of the challenger; may be repeated.")
@click.option("--champion", type=click.IntRange(min=1), help="Its version. Default: that of its first observation.")
@click.option("--challenger", type=click.IntRange(min=1), help="Its version. Default: likewise.")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Labels in another file.")
@click.option("--positive", metavar="VALUE", help="The prediction or label that is the positive class: 1, others 0.")
@click.option(
    "--threshold", type=float, help="A prediction is positive whose score (without one: whose number) is at least this."
)
@click.option("--timing", is_flag=True, help="How fast it was read and judged, on standard error.")
def replay(  # noqa: PLR0913 - the options of a command
    file: Path,
    *,
    policy: Path,
    as_json: bool,
    offline: tuple[tuple[str, float], ...],
    champion: int | None,
    challenger: int | None,
    labels: Path | None,
    positive: str | None,
    threshold: float | None,
    timing: bool,
) -> None:
    """What POLICY would have decided on the traffic recorded in FILE: NDJSON (.gz too; - is standard input) or Parquet.

    The code that judges live traffic judges here; endpoints are taken as ready, the gate as passed, and the registry as
    confirming at once. Nobody signs off. Checks on Prometheus and webhooks are left out: a record says nothing of them.

    Exit code 0: the file was read and judged, whatever was decided; 1: something in it or in the policy is wrong.
    """
    try:
        judged_by = load_policy(policy)
    except SettingsError as error:
        raise RefusedError(str(error)) from None
    if judged_by.multiclass and (positive, threshold) != (None, None):
        raise RefusedError("--positive and --threshold are of two classes: the policy is of several")
    recording = Recording(positive, judged_by.multiclass, threshold)
    began = time.perf_counter()
    try:
        read_file(file, recording)
        if labels is not None:
            read_file(labels, recording, only_labels=True)
        observations, truths = recording.columns(
            champion=champion or CHAMPION_VERSION, challenger=challenger or CHALLENGER_VERSION
        )
        read = time.perf_counter()
        with bar("judging", observations.size, quiet=as_json or timing) as tell:
            run = replayed(
                judged_by,
                observations,
                truths,
                champion=champion,
                challenger=challenger,
                offline=dict(offline),
                tell=tell,
            )
    except RecordingError as error:
        raise RefusedError(str(error)) from None
    except ValueError as error:
        raise RefusedError(f"{file}: {error}") from None
    if timing:
        done = time.perf_counter()
        click.echo(_speed("read", recording.lines, "lines", read - began), err=True)
        click.echo(_speed("judged", observations.size, "observations", done - read), err=True)
    outside = judged_by.outside
    if left_out := sorted({*(check.name for check in outside.checks), *outside.webhooks}):
        told = f"checks and webhooks of the policy are not replayed, and left out: {', '.join(left_out)}"
        click.echo(told, err=True)
    if as_json:
        for decision in run.decisions:
            click.echo(json.dumps(as_data(decision, judged_by.digest), separators=(",", ":")))
    else:
        click.echo("\n".join(in_words(run)))


def as_data(decision: Decision, digest: str) -> dict[str, object]:
    """A decision as docs/cli.md tells it; `digest` is that of the policy as its file has it."""
    return {
        "at": decision.at,
        "kind": decision.kind.value,
        "version": decision.version,
        "phase": decision.phase,
        "step": decision.step,
        "trigger": decision.trigger,
        "reason": decision.reason,
        "guardrails": [
            {
                "name": rail["name"],
                "verdict": rail["verdict"],
                "champion": rail["champion"],
                "challenger": rail["challenger"],
                "evidence": rail["harm_e"],
                "threshold": rail["harm_threshold"],
                "harm": rail["harm"],
                "margin": rail["margin"],
                "proven": rail["proven"],
                "missing": rail["missing"],
            }
            for rail in _guardrails(decision.evidence)
        ],
        "policy_digest": digest,
    }


def in_words(run: Replay) -> list[str]:
    """All decisions for people, and where it stands at the end, a line each."""
    began = run.decisions[0].at if run.decisions else 0.0
    lines = []
    for decision in run.decisions:
        tipped = f" by {decision.trigger}" if decision.trigger else ""
        step = f" (step {decision.step + 1})" if decision.step >= 0 else ""
        lines.append(
            f"{_moment(decision.at)}  +{write_duration(decision.at - began)}  {_words(decision.kind.value)}{tipped}"
            f" of version {decision.version} -> {_words(decision.phase)}{step}"
        )
        lines += [_rail(rail) for rail in _guardrails(decision.evidence)]
        lines.append(f"    {plain(decision.reason)}")
    report = run.report
    if report is None:
        lines.append("no decision: nothing was recorded")
    elif not (run.decisions and run.decisions[-1].phase in _FINAL):
        lines.append(f"holding: {plain(report.reason)}")
    if run.left_out:
        counts = ", ".join(f"{count} {_words(kind)}" for kind, count in run.left_out.items())
        lines.append(f"left out: {counts}")
    return lines


def _rail(rail: Mapping[str, Any]) -> str:
    latency = str(rail["name"]).endswith("_latency")
    champion, challenger = (_estimate(rail[side], latency=latency) for side in ("champion", "challenger"))
    return (
        f"    {rail['name']}: {rail['verdict']}; champion {champion}, challenger {challenger};"
        f" evidence {rail['harm_e']:.3g} of {rail['harm_threshold']:g}"
    )


def _estimate(estimate: Mapping[str, Any] | None, *, latency: bool) -> str:
    """The figure with its interval and what it rests on: 0.712 [0.661, 0.752] on 1203."""
    if estimate is None:
        return "-"
    value, lower, upper = (_figure(estimate[name], latency=latency) for name in ("value", "lower", "upper"))
    return f"{value} [{lower}, {upper}] on {estimate['count']}"


def _figure(value: float | None, *, latency: bool) -> str:
    if value is None:
        return "..."  # no bound yet
    return seconds(value) if latency else f"{value:.3g}"


def _guardrails(evidence: Mapping[str, object]) -> list[Mapping[str, Any]]:
    rails = evidence.get("guardrails", [])
    return list(rails) if isinstance(rails, list) else []


def _words(name: str) -> str:
    return name.replace("_", " ")


def _moment(at: float) -> str:
    """ISO 8601 in UTC, to the tenth of a second."""
    when = datetime.fromtimestamp(at, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 100_000}Z"


def _speed(verb: str, count: int, unit: str, took: float) -> str:
    return f"{verb} {count} {unit} in {took:.2f} s: {count / max(took, 1e-9):,.0f} {unit}/s"
