"""`titleshot policy`: check a policy file; its digest."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from comparator.checks import NOT_ANYTIME_VALID, threshold
from comparator.policy import RANGED, Gate, Guardrail, Policy, Step, StepKind
from comparator.rail import said
from comparator.words import amount, duration, points
from router.cli.exits import REFUSED
from router.cli.output import json_option, print_json
from router.settings import SettingsError, load_policy
from router.settings.units import write_duration

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))

ASSUMED = (
    "estimates: equal versions, independent requests, 0.1 % errors, lognormal latency (sigma 0.5 to 1), labels at once"
)


@click.group()
def policy() -> None:
    """Check a policy file, as `policy: FILE` names one; print its digest."""


@policy.command()
@_file
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="R", help="Requests a second.")
@click.option(
    "--labelled",
    type=click.FloatRange(min=0, max=100, min_open=True),
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="Of the requests, how many end as a row that a metric from labels counts; for --rate.",
)
@json_option
def check(file: Path, rate: float | None, labelled: float, *, as_json: bool) -> None:
    """Say everything that is wrong with FILE, or what it asks for: digest, steps, guardrails, checks, who may sign off.

    With --rate, about how long each step's pass takes. Exit code 1: something is wrong.
    """
    from comparator.planning import plan  # noqa: PLC0415 - numpy; `titleshot config` needs none

    read = _read(file, as_json=as_json)
    plans = plan(read, rate, labelled / 100) if rate is not None else ()
    estimates = [
        {"step": each.index, "low_seconds": _finite(each.low), "high_seconds": _finite(each.high)}
        | {"waits_for": each.longest.what}
        for each in plans
    ]
    if as_json:
        print_json({"valid": True, "problems": [], **_as_data(read), "estimates": estimates if rate else None})
        return
    click.echo(f"{file}: valid\n  digest: {read.digest}\n  gate: {read.gate.value}")
    for line in gate_words(read):
        click.echo(f"    {line}")
    click.echo("  steps:")
    told = {each.index: each for each in plans}
    for number, step in enumerate(read.steps):
        about = told.get(number)
        click.echo(
            f"    {number + 1}. {step_words(step)}{_about(about.low, about.high, about.longest.what) if about else ''}"
        )
    click.echo("  guardrails:")
    for rail in read.guardrails:
        click.echo(f"    {rail.name}: {rail_words(rail)}")
    for line in outside_lines(read):
        click.echo(f"  {line}")
    click.echo(f"  alpha: {read.alpha:g}\n  sign-off: {sign_off_words(read)}")
    if plans:
        click.echo(f"  {ASSUMED}; {labelled:g} % of the requests labelled")


@policy.command()
@_file
def digest(file: Path) -> None:
    """Print the digest of FILE, as every decision under it carries it."""
    click.echo(_read(file, as_json=False).digest)


def step_words(step: Step) -> str:
    """A step, in words: "canary 10 % for 1h"."""
    share = "" if step.kind is StepKind.PROMOTE else f" {step.percent} %"
    least = f" for {write_duration(step.min_seconds)}" if step.min_seconds else ""
    return f"{step.kind.value}{share}{least}{' after a sign-off' if step.sign_off else ''}"


def rail_words(rail: Guardrail) -> str:
    """A guardrail's margins, in words."""
    margin = amount(rail.margin, rail)
    promise = f", and {points(rail.offline_tolerance)} of the offline promise" if rail.offline_tolerance else ""
    span = f", within {rail.range[0]:g} to {rail.range[1]:g}" if rail.metric in RANGED and rail.range else ""
    of = f"of {said(rail.of)}, " if rail.of is not None else ""
    if rail.classes is not None:
        of = f"the mean over {', '.join(map(said, rail.classes))}, "
    return f"{of}not worse by {margin}{promise}{span}"


def outside_lines(read: Policy) -> list[str]:
    """What is asked of others; nothing where nothing is."""
    outside = read.outside
    lines = []
    if outside.checks:
        lines.append(f"checks ({NOT_ANYTIME_VALID}; queries are asked of the Prometheus of the settings):")
    lines += [
        f"  {check.name}: {threshold(check)}{', or it holds' if check.holds else ''}, "
        f"every {write_duration(check.every_seconds)}, {check.results} results in a row: {check.query or check.figure}"
        for check in outside.checks
    ]
    named = {name: getattr(outside, name) for name in ("confirm_start", "confirm_promote", "on_rollback")}
    lines += [f"{name}: {', '.join(webhooks)}" for name, webhooks in named.items() if webhooks]
    return lines


def gate_words(read: Policy) -> list[str]:
    """What `titleshot gate` checks, where the policy asks for it."""
    from comparator.gated import CONTRACT, measured  # noqa: PLC0415 - numpy; `titleshot config` needs none
    from comparator.label_metric import LabelMetric  # noqa: PLC0415

    if read.gate is not Gate.REQUIRED:
        return []
    asked = read.staging
    lines = [
        f"contract: {len(CONTRACT)} checks of how it answers, and the input example where there is one",
        f"holdout: {asked.min_rows:,} labelled rows or more, each with a prediction",
    ]
    for each in measured(read):
        better = LabelMetric(each.rail).sign > 0
        parts = [f"at {'least' if better else 'most'} {each.least:g}"] if each.least is not None else []
        parts += [f"not worse than the champion by {amount(each.rail.margin, each.rail)}"] if each.guarded else []
        parts += [f"the offline figure within {amount(asked.reproduce_tolerance, each.rail)}"] if each.promised else []
        lines.append(f"{each.name}: {', '.join(parts)}")
    budgets = {"p50": asked.p50_seconds, "p99": asked.p99_seconds}
    told = ", ".join(f"{name} within {write_duration(most)}" for name, most in budgets.items() if most is not None)
    lines.append(f"latency: {told} at {asked.rate:g} requests/s" if told else "latency: no budget, it is not measured")
    return lines


def sign_off_words(read: Policy) -> str:
    """Who has to sign off."""
    rules = read.sign_off
    if rules is None:
        return "nobody has to" if read.promotes else "never promoted"
    who = f"{rules.people} of {', '.join(rules.by)}" if rules.by else f"{rules.people} with the right to"
    return f"{who}{', not whoever registered the version' if rules.not_registrant else ''}"


def _about(low: float, high: float, what: str) -> str:
    if math.isinf(low):
        return f"   never passes: {what}"
    if math.isinf(high):
        return f"   about {duration(low)} or much longer ({what})"
    span = duration(low) if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
    return f"   about {span} ({what})"


def _finite(seconds: float) -> float | None:
    return round(seconds) if math.isfinite(seconds) else None


def _as_data(read: Policy) -> dict[str, Any]:
    rules = read.sign_off
    return {
        "digest": read.digest,
        "gate": read.gate.value,
        "gate_checks": gate_words(read),
        "steps": [
            {"kind": step.kind.value, "percent": step.percent, "min_seconds": step.min_seconds} for step in read.steps
        ],
        "guardrails": [{"name": rail.name, "margin": rail.margin} for rail in read.guardrails],
        "checks": [asdict(check) for check in read.outside.checks],
        "webhooks": {
            name: list(getattr(read.outside, name)) for name in ("confirm_start", "confirm_promote", "on_rollback")
        },
        "alpha": read.alpha,
        "sign_off": asdict(rules) if rules is not None else None,
    }


def _read(file: Path, *, as_json: bool) -> Policy:
    try:
        return load_policy(file)
    except SettingsError as error:
        if as_json:
            print_json({"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        else:
            for problem in error.problems:
                click.echo(str(problem), err=True)
        sys.exit(REFUSED)
