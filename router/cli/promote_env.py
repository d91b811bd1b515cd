"""`titleshot promote-env`: a gated version goes on to the registered model of the next environment."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from router.cli.admin import Admin, admin_command
from router.cli.exits import RefusedError
from router.cli.output import json_option, moment, plain, print_json
from router.cli.settings_file import read_model, settings_option
from router.control.version_tags import signatures_of
from router.registering.environments import Passed, carry
from router.registering.mlflow_calls import RegisteringError

MOST_DECISIONS = 1000


@click.command("promote-env")
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--to", required=True, metavar="MODEL", help="The registered model of the next environment.")
@settings_option("The settings that have MODEL: its registry, and its name there.")
@click.option("--by", metavar="NAME", help="Who carries it. Default: the user's name on this machine.")
@json_option
@admin_command
def promote_env(
    admin: Admin, model: str, version: int, *, to: str, settings_path: Path, by: str | None, as_json: bool
) -> None:
    """Copy VERSION of MODEL to the registered model of the next environment, such as prod.MODEL.

    Only one whose latest gate in staging is a PASS in the ledger of this environment. Tags on the copy say where it
    comes from, what the gate said, and who signed; its lineage goes along. The next environment's titleshot takes none
    of that for a proof, and has its own gate. The same again gives the copy that is there.
    """
    settings, of_model = read_model(settings_path, model)
    passed = passed_by(admin.history(model, MOST_DECISIONS).get("decisions", []), model, version)
    registered = of_model.registered_model
    try:
        carried = carry(settings.registry, registered, version, to, passed, by=by or getpass.getuser())
    except RegisteringError as error:
        raise RefusedError(plain(error)) from None
    if as_json:
        print_json({"model": carried.model, "version": carried.version, "new": carried.new, "tags": carried.tags})
        return
    done = "is now" if carried.new else "was before"
    click.echo(f"version {version} of {plain(registered)} {done} version {carried.version} of {plain(to)}")
    for name, text in carried.tags.items():
        click.echo(f"  {name}: {plain(text)}")


def passed_by(decisions: Sequence[Mapping[str, Any]], model: str, version: int) -> Passed:
    """What a record, the newest decision first, has of a version. Raises RefusedError: no gate that it passed."""
    mine = [each for each in decisions if each.get("version") == version]
    gated = next((each for each in mine if each.get("kind") == "gated"), None)
    if gated is None:
        raise RefusedError(f"the ledger has no gate of version {version}: run `titleshot gate {model} {version}`")
    if (gated.get("evidence") or {}).get("verdict") != "PASS":
        raise RefusedError(f"version {version} has not passed: {plain(gated.get('reason', ''))}")
    promoted = next((each for each in mine if each.get("kind") == "promote"), None)
    return Passed(
        gate=_told(gated), signed=", ".join(_signers(mine)), promoted=_told(promoted) if promoted is not None else ""
    )


def _told(decision: Mapping[str, Any]) -> str:
    when, who = moment(decision.get("at")), decision.get("actor", "")
    return f"{decision.get('id') or 'a decision'}, {when} by {who}: {decision.get('reason', '')}"


def _signers(decisions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of the latest decision that has signatures."""
    for each in decisions:
        signatures = signatures_of(each.get("evidence") or {})
        if signatures:
            return [f"{signed.get('name')} {moment(signed.get('at'))}" for signed in signatures]
    return []
