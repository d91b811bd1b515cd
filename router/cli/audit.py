"""`titleshot audit`: whether the record of decisions is whole."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict

import click

from router.cli.exits import REFUSED, RefusedError, UnreachableError
from router.cli.output import json_option, plain, print_json
from router.cli.recorded import Recorded, ledger_command
from router.control.ledger.audit import Audit
from router.control.ledger.audit import audit as audited


@click.group()
def audit() -> None:
    """Whether the record of decisions is whole."""


@audit.command()
@click.argument("model", required=False)
@click.option("--registry", is_flag=True, help="Compare with the entries that MLflow has as tags on the versions, too.")
@json_option
@ledger_command
def verify(recorded: Recorded, model: str | None, *, registry: bool, as_json: bool) -> None:
    """Find every decision about MODEL (without it: about all models) that was changed, removed, added or moved.

    The ledger is read as it is, also while titleshot serves. Exit code 1: something is not as it was written, or with
    --registry could not be compared.
    """
    archive, known = recorded.archive, recorded.archive.models()
    if model is not None and model not in known:
        raise RefusedError(f"the ledger has no decision about {model}; there are: {', '.join(known) or 'none'}")
    if registry and recorded.settings is None:
        raise click.UsageError("--registry: expected --settings instead of --ledger; they name the registry")
    if registry and recorded.settings is not None and model is None:
        known = sorted({*known, *recorded.settings.models})  # a record that is gone has left its tags in the registry
    audits = [
        audited(archive, name, _tags(recorded, name) if registry else None)
        for name in ([model] if model is not None else known)
    ]
    unknown = [each.model for each in audits if registry and each.tagged is None]
    whole = not any(each.findings for each in audits) and not unknown
    if as_json:
        print_json({"whole": whole, "models": [_as_data(each) for each in audits], "not_compared": unknown})
    else:
        for each in audits:
            for line in _in_words(each):
                click.echo(line)
        for name in unknown:
            click.echo(f"{plain(name)}: NOT compared with the registry: the settings have no such model any more")
        if not audits:
            click.echo("the ledger has no decision yet")
    if not whole:
        sys.exit(REFUSED)


def _tags(recorded: Recorded, model: str) -> dict[int, str] | None:
    """What the registry has; None: the settings no longer have this model."""
    from router.control.registry import MlflowRegistry, RegistryUnavailable  # noqa: PLC0415 - only where it is asked

    if recorded.settings is None or model not in recorded.settings.models:
        return None
    registry = MlflowRegistry(recorded.settings.registry)
    try:
        return asyncio.run(registry.chain_tags(recorded.settings.models[model].registered_model))
    except RegistryUnavailable as error:
        raise UnreachableError(f"the registry cannot be read: {error}") from None
    finally:
        registry.close()


def _as_data(each: Audit) -> dict[str, object]:
    return {
        "model": each.model,
        "entries": each.entries,
        "head": str(each.head) if each.head is not None else None,
        "states": each.states,
        "tagged": {str(version): number for version, number in each.tagged.items()}
        if each.tagged is not None
        else None,
        "findings": [asdict(finding) for finding in each.findings],
    }


def _in_words(each: Audit) -> list[str]:
    if each.findings:
        many = f"{len(each.findings)} things are" if len(each.findings) > 1 else "one thing is"
        lines = [f"{plain(each.model)}: NOT whole, {many} not as written:"]
        return lines + [plain(f"  {finding.entry}: {finding.kind}: {finding.text}") for finding in each.findings]
    head = f", up to {each.head.number}:{each.head.hash[:12]}" if each.head is not None else ""
    lines = [f"{plain(each.model)}: whole, {each.entries} decisions{head}, {each.states} with their evidence"]
    if each.tagged:
        tags = ", ".join(f"version {version} at {number}" for version, number in each.tagged.items())
        lines.append(f"  the registry agrees: {tags}")
    elif each.tagged is not None:
        lines.append("  the registry has no entry of it on any version: an end that was cut off would not show")
    return lines
