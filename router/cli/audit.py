"""`titleshot audit`: whether the record of decisions is whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import click

from router.cli.exits import REFUSED, RefusedError, UnreachableError
from router.cli.output import json_option, plain, print_json
from router.cli.recorded import Recorded, ledger_command
from router.control.ledger.audit import Record, read, tagged
from router.control.ledger.chain import Finding


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of one model.

    Args:
        record: as the ledger has it.
        tagged: versions whose tag in the registry was looked for, with the entry that it names; None: not compared.
        findings: what is not as it was written.
    """

    record: Record
    tagged: Mapping[int, int] | None
    findings: tuple[Finding, ...]


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
    known = recorded.archive.models()
    if registry and recorded.settings is None:
        raise click.UsageError("--registry: expected --settings instead of --ledger; they name the registry")
    if registry and recorded.settings is not None:
        known = sorted({*known, *recorded.settings.models})  # a record that is gone has left its tags in the registry
    if model is not None and model not in known:
        raise RefusedError(f"the ledger has no decision about {model}; there are: {', '.join(known) or 'none'}")
    audits = [_audited(recorded, name, registry=registry) for name in ([model] if model is not None else known)]
    unknown = [each.record.model for each in audits if registry and each.tagged is None]
    whole = not any(each.findings for each in audits) and not unknown
    if as_json:
        print_json({"whole": whole, "models": [_as_data(each) for each in audits], "not_compared": unknown})
    else:
        for each in audits:
            for line in _in_words(each, asked=registry):
                click.echo(line)
        if not audits:
            click.echo("the ledger has no decision yet")
    if not whole:
        sys.exit(REFUSED)


def _audited(recorded: Recorded, model: str, *, registry: bool) -> Audit:
    record = read(recorded.archive, model)
    tags = _tags(recorded, model) if registry else None
    if tags is None:
        return Audit(record, None, record.findings)
    named, found = tagged(record, tags)
    return Audit(record, named, (*record.findings, *found))


def _tags(recorded: Recorded, model: str) -> dict[int, str] | None:
    """What the registry has, of a lane nothing; None: the settings no longer have this model."""
    from router.control.registry import MlflowRegistry, RegistryUnavailable  # noqa: PLC0415 - only where it is asked
    from router.settings.lanes import alias_of  # noqa: PLC0415

    settings = recorded.settings.find(model) if recorded.settings is not None else None
    if settings is None or recorded.settings is None:
        return None
    if alias_of(model) is not None:
        return {}
    registry = MlflowRegistry(recorded.settings.registry)
    try:
        return asyncio.run(registry.chain_tags(settings.registered_model))
    except RegistryUnavailable as error:
        raise UnreachableError(f"the registry cannot be read: {error}") from None
    finally:
        registry.close()


def _as_data(each: Audit) -> dict[str, object]:
    return {
        "model": each.record.model,
        "entries": each.record.chained,
        "head": str(each.record.head) if each.record.head is not None else None,
        "states": each.record.states,
        "tagged": {str(version): number for version, number in each.tagged.items()}
        if each.tagged is not None
        else None,
        "findings": [asdict(finding) for finding in each.findings],
    }


def _in_words(each: Audit, *, asked: bool) -> list[str]:
    record, model = each.record, plain(each.record.model)
    absent = "NOT compared with the registry: the settings have no such model any more"
    if each.findings:
        many = f"{len(each.findings)} things are" if len(each.findings) > 1 else "one thing is"
        lines = [f"{model}: NOT whole, {many} not as written:"]
        lines += [plain(f"  {finding.entry}: {finding.kind}: {finding.text}") for finding in each.findings]
        return [*lines, f"  {absent}"] if asked and each.tagged is None else lines
    head = f", up to {record.head.number}:{record.head.hash[:12]}" if record.head is not None else ""
    whole = f"{record.chained} decisions{head}, {record.states} with their evidence"
    if asked and each.tagged is None:
        return [f"{model}: {absent}", f"  in itself it is whole, {whole}"]
    lines = [f"{model}: whole, {whole}"]
    if each.tagged:
        tags = ", ".join(f"version {version} at {number}" for version, number in each.tagged.items())
        lines.append(f"  the registry agrees: {tags}")
    elif each.tagged is not None:
        lines.append("  the registry has no entry of it on any version: an end that was cut off would not show")
    return lines
