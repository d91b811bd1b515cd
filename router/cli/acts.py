"""What a person can do about a rollout: rollback, promote, pause, resume, abort, start, unfreeze."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from router.cli.admin import Admin, admin_command, model_argument
from router.cli.exits import UnreachableError
from router.cli.output import json_option, plain, print_json
from router.cli.status import rollback_target

POLL_SECONDS = 0.1
MOVING = frozenset({"promoting", "rolling_back"})

model_given = model_argument()


def _some_text(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("expected a text that says why")
    return value


reason_given = click.option(
    "--reason", required=True, callback=_some_text, metavar="TEXT", help="Why; kept with the decision."
)
wait_given = click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the registry to confirm; 0: do not wait.",
)


@click.command()
@model_given
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="The version to go back to.")
@click.option("--dry-run", is_flag=True, help="Only say who would serve, and whether that version is ready.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the decision. Required, but for --dry-run.")
@wait_given
@json_option
@admin_command
def rollback(
    admin: Admin, model: str, to: int | None, reason: str, wait_seconds: float, *, dry_run: bool, as_json: bool
) -> None:
    """Roll MODEL back: a rollout on trial, or @champion to @previous (or to --to VERSION).

    Says first who will serve, and whether that version is ready; one that is not does not get the title. Traffic goes
    back at once; the registry follows, and the seconds until it confirmed are printed.
    """
    if not reason.strip() and not dry_run:
        raise click.UsageError("expected --reason TEXT that says why")
    state = admin.model(model)
    target, ready, told = rollback_target(state, to)
    if not as_json:
        click.echo(f"{model}: {told}")
    if not dry_run:
        moving_act(admin, model, "rollback", wait_seconds, as_json=as_json, reason=reason, to=to, **_seen(state))
    elif as_json:
        print_json({"to": target, "ready": ready, "dry_run": True})


@click.command()
@model_given
@reason_given
@wait_given
@json_option
@admin_command
def promote(admin: Admin, model: str, reason: str, wait_seconds: float, *, as_json: bool) -> None:
    """Make the challenger of MODEL champion now, without waiting for the evidence."""
    moving_act(admin, model, "promote", wait_seconds, as_json=as_json, reason=reason)


@click.command()
@model_given
@reason_given
@json_option
@admin_command
def pause(admin: Admin, model: str, reason: str, *, as_json: bool) -> None:
    """Keep the rollout of MODEL where it is; its guardrails still roll back."""
    _act(admin, model, "pause", as_json=as_json, reason=reason)


@click.command()
@model_given
@reason_given
@json_option
@admin_command
def resume(admin: Admin, model: str, reason: str, *, as_json: bool) -> None:
    """Let the paused rollout of MODEL go on."""
    _act(admin, model, "resume", as_json=as_json, reason=reason)


@click.command()
@model_given
@reason_given
@json_option
@admin_command
def abort(admin: Admin, model: str, reason: str, *, as_json: bool) -> None:
    """End the rollout of MODEL: all traffic to the champion. It says nothing against the version."""
    _act(admin, model, "abort", as_json=as_json, reason=reason)


@click.command()
@model_given
@reason_given
@json_option
@admin_command
def unfreeze(admin: Admin, model: str, reason: str, *, as_json: bool) -> None:
    """Let rollouts of MODEL start again after too many rollbacks (`restraint.max_rollbacks_per_day`)."""
    _act(admin, model, "unfreeze", as_json=as_json, reason=reason)


@click.command()
@model_given
@click.option("--version", "to", type=click.IntRange(min=1), required=True, metavar="VERSION", help="The version.")
@click.option("--retry", is_flag=True, help="Say that it had its shot before and gets another one.")
@reason_given
@json_option
@admin_command
def start(admin: Admin, model: str, to: int, reason: str, *, retry: bool, as_json: bool) -> None:
    """Give a version of MODEL another shot that had one under the present policy.

    A first shot needs no command: set the alias @challenger in the registry.
    """
    if not retry:
        raise click.UsageError(
            "a first shot starts by setting @challenger in the registry; "
            "--retry says that a version which had its shot gets another one"
        )
    _act(admin, model, "start", as_json=as_json, reason=reason, to=to)


def _seen(state: Mapping[str, Any]) -> dict[str, int]:
    """What the person was told of: a rollback is refused where that is no more so. Sent twice, it goes back once."""
    champion, rollout = state.get("champion"), state.get("rollout") or {}
    on_trial = rollout.get("version") if rollout.get("active") else 0
    known = {"champion": champion, "on_trial": on_trial}
    return {name: seen for name, seen in known.items() if isinstance(seen, int)}


def _act(admin: Admin, model: str, act: str, *, as_json: bool, **given: str | int | None) -> None:
    answer = admin.act(model, act, **given)
    if as_json:
        print_json(answer)
    else:
        click.echo(_told(model, answer))


def moving_act(
    admin: Admin, model: str, act: str, wait_seconds: float, *, as_json: bool, **given: str | int | None
) -> None:
    """An act that ends with a word of the registry's: wait for it.

    Args:
        admin: a client of the admin port.
        model: whose rollout or title.
        act: as the admin port's path has it.
        wait_seconds: so long at most; 0: do not wait.
        as_json: for scripts.
        given: what the act takes: reason, to, evidence.
    """
    began = time.monotonic()
    answer = admin.act(model, act, **given)
    if not as_json:
        click.echo(_told(model, answer))
    confirmed = wait_seconds > 0 and _confirmed(admin, model, began + wait_seconds)
    took = time.monotonic() - began
    if as_json:
        print_json({**answer, "confirmed": confirmed, "seconds": round(took, 3)})
    elif confirmed:
        click.echo(f"{model}: the registry confirmed; {took:.2f} s after the command")
    if wait_seconds > 0 and not confirmed:
        raise UnreachableError(
            f"the decision is in force, but the registry has not confirmed it within {wait_seconds:g} s; "
            f"`titleshot status {model}` shows when it does"
        )


def _confirmed(admin: Admin, model: str, until: float) -> bool:
    while True:
        state = admin.model(model)
        phase = (state.get("rollout") or {}).get("phase")
        if state.get("pending") is None and phase not in MOVING:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_SECONDS)


def _told(model: str, answer: dict[str, Any]) -> str:
    kind = plain(answer.get("kind", "done")).replace("_", " ")
    version = answer.get("version")
    return f"{model}: {kind}{f', version {plain(version)}' if version else ''}: {plain(answer.get('reason', ''))}"
