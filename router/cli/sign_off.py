"""What a person says of a rollout that waits for it: sign off, or reject."""

from __future__ import annotations

import sys
from typing import Any

import click

from router.cli.acts import model_given, moving_act, reason_given, wait_given
from router.cli.admin import Admin, admin_command
from router.cli.exits import RefusedError
from router.cli.output import json_option, plain
from router.cli.status import evidence_lines, signing_lines


@click.command(name="sign-off")
@model_given
@click.option(
    "--evidence",
    default="",
    metavar="DIGEST",
    help="The evidence_digest that `titleshot status` showed. Without it, the evidence is shown, and you are asked.",
)
@reason_given
@wait_given
@json_option
@admin_command
def sign_off(admin: Admin, model: str, evidence: str, reason: str, wait_seconds: float, *, as_json: bool) -> None:
    """Sign off the rollout of MODEL that waits for it; the last signature makes the challenger champion.

    You sign under the evidence that you looked at: where it has turned since, the sign-off is refused.
    """
    if not evidence:
        if not sys.stdin.isatty() or as_json:
            raise click.UsageError(
                "expected --evidence DIGEST, as `titleshot status` shows it; only on a terminal can you be asked"
            )
        evidence = _looked_at(model, admin.model(model))
    moving_act(admin, model, "sign-off", wait_seconds, as_json=as_json, reason=reason, evidence=evidence)


@click.command()
@model_given
@reason_given
@wait_given
@json_option
@admin_command
def reject(admin: Admin, model: str, reason: str, wait_seconds: float, *, as_json: bool) -> None:
    """Turn down the rollout of MODEL that waits for a sign-off: it ends, and its version counts as rejected."""
    moving_act(admin, model, "reject", wait_seconds, as_json=as_json, reason=reason)


def _looked_at(model: str, state: dict[str, Any]) -> str:
    """The digest of the evidence that was shown, once the person has said yes to it."""
    rollout = state.get("rollout") or {}
    digest = rollout.get("evidence_digest")
    if rollout.get("phase") != "sign_off" or not rollout.get("evidence") or not digest:
        raise RefusedError(f"{model}: no rollout waits for a sign-off")
    click.echo(f"{model}: version {plain(rollout.get('version'))} against version {plain(rollout.get('reference'))}")
    for line in (*signing_lines(rollout), *evidence_lines(rollout["evidence"])):
        click.echo(line)
    click.confirm("Sign off under this evidence?", abort=True)
    return str(digest)
