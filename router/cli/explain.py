"""`titleshot explain`: the numbers behind a decision, and the same decision made again from its evidence."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict

import click

from router.cli.exits import REFUSED, RefusedError
from router.cli.output import json_option, moment, plain, print_json
from router.cli.recorded import Recorded, ledger_command
from router.control.explained import explained
from router.control.explanation import Explanation, in_words
from router.control.ledger.archive import Archive
from router.control.ledger.audit import Numbered, Record, read
from router.control.ledger.chain import entry_id

_ID = re.compile(r"(?P<model>.+)/(?P<number>[1-9][0-9]{0,17})")
_HASH = re.compile(r"[0-9a-f]{8,64}")


@click.command()
@click.argument("decision")
@json_option
@ledger_command
def explain(recorded: Recorded, decision: str, *, as_json: bool) -> None:
    """What was decided, by whom and on which numbers; then decide again from the evidence that was kept with it.

    DECISION is an id as `titleshot history` prints it, such as late-arrival/7, or the first 8 or more digits of the
    entry's hash. The ledger is read as it is, also while titleshot serves.

    Exit code 1: there is no such decision, it was changed since, or its evidence does not lead to it.
    """
    told = _explained(recorded.archive, decision)
    if as_json:
        print_json(_as_data(told))
    else:
        for line in in_words(told, moment):
            click.echo(plain(line))
    if not told.stands:
        sys.exit(REFUSED)


def _explained(archive: Archive, wanted: str) -> Explanation:
    return explained(archive, *_find(archive, wanted))


def _find(archive: Archive, wanted: str) -> tuple[Record, Numbered]:
    """The record of the decision's model, and the decision in it."""
    models = archive.models()
    if (named := _ID.fullmatch(wanted)) is not None:
        model, number = named["model"], int(named["number"])
        if model not in models:
            raise RefusedError(f"the ledger has no decision about {model}; there are: {', '.join(models) or 'none'}")
        record = read(archive, model)
        found = [each for each in record.decisions if each.number == number]
        if len(found) > 1:
            raise RefusedError(f"the record has {len(found)} decisions {wanted}: see `titleshot audit verify {model}`")
        if found:
            return record, found[0]
        for finding in record.findings:
            if finding.entry == wanted:
                raise RefusedError(f"{wanted} cannot be read: {finding.kind}: {finding.text}")
        raise RefusedError(f"there is no decision {wanted}; `titleshot history {model}` lists them")
    if _HASH.fullmatch(wanted) is None:
        raise click.UsageError(f"expected MODEL/NUMBER as `titleshot history MODEL` prints it, not {wanted!r}")
    matches = [
        (record, each)
        for record in (read(archive, model) for model in models)
        for each in record.decisions
        if each.hash.startswith(wanted)
    ]
    if len(matches) != 1:
        raise RefusedError(f"{'several decisions have' if matches else 'no decision has'} a hash that begins so")
    return matches[0]


def _as_data(told: Explanation) -> dict[str, object]:
    again, asked = told.again, told.asked
    return {
        "id": told.id,
        "model": told.model,
        "number": told.found.number,
        "hash": told.found.hash,
        "decision": asdict(told.found.decision),
        "sign_off_asked_for": entry_id(told.model, asked.number) if asked is not None else None,
        "policy": told.policy.canonical() if told.policy is not None else None,
        "recomputed": None
        if again is None
        else {
            "same": not again.differences,
            "differences": list(again.differences),
            "report": again.report.as_data(),
            "decision": again.decision.kind.value if again.decision is not None else None,
        },
        "trouble": told.trouble,
        "findings": [asdict(finding) for finding in told.findings],
        "stands": told.stands,
    }
