"""`titleshot explain`: the numbers behind a decision, and the same decision made again from its evidence."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict

import click

from comparator.checkpoint import Unusable
from comparator.policy import Policy
from comparator.policy_error import PolicyError
from comparator.proof import FROM_EVIDENCE, recompute
from router.cli.exits import REFUSED, RefusedError
from router.cli.explanation import Explanation, in_words
from router.cli.output import json_option, plain, print_json
from router.cli.recorded import Recorded, ledger_command
from router.control.ledger.archive import Archive, Numbered
from router.control.ledger.chain import entry_id, verify

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
        for line in in_words(told):
            click.echo(plain(line))
    if not told.stands:
        sys.exit(REFUSED)


def _explained(archive: Archive, wanted: str) -> Explanation:
    model, decisions, index = _find(archive, wanted)
    found = decisions[index]
    decision, before = found.decision, decisions[:index]
    name = entry_id(model, found.number)
    text = archive.policies().get(decision.policy_digest)
    policy, trouble, again = None, "", None
    if text is not None:
        try:
            policy = Policy.from_canonical(text)
        except (PolicyError, ValueError, TypeError, LookupError) as error:
            trouble = f"its policy cannot be read by this version: {error}"
    if decision.state_digest and not trouble:
        state = archive.state(decision.state_digest)
        if policy is None:
            trouble = "its policy is not in the ledger any more"
        elif state is None:
            trouble = "its evidence is not in the ledger any more, or was changed"
        else:
            try:
                again = recompute([each.decision for each in before], decision, state, policy)
            except Unusable as error:
                trouble = str(error)
    return Explanation(
        model=model,
        found=found,
        before=tuple(before),
        policy=policy,
        again=again,
        trouble=trouble,
        from_evidence=decision.kind in FROM_EVIDENCE and "guardrails" in decision.evidence,
        findings=tuple(each for each in verify(model, archive.entries(model)) if each.entry == name),
    )


def _find(archive: Archive, wanted: str) -> tuple[str, list[Numbered], int]:
    """The decision's model, all its decisions, and which one it is."""
    models = archive.models()
    if (named := _ID.fullmatch(wanted)) is not None:
        model, number = named["model"], int(named["number"])
        if model not in models:
            raise RefusedError(f"the ledger has no decision about {model}; there are: {', '.join(models) or 'none'}")
        decisions = archive.decisions(model)
        for index, each in enumerate(decisions):
            if each.number == number:
                return model, decisions, index
        raise RefusedError(f"there is no decision {wanted}; `titleshot history {model}` lists them")
    if _HASH.fullmatch(wanted) is None:
        raise click.UsageError(f"expected MODEL/NUMBER as `titleshot history MODEL` prints it, not {wanted!r}")
    found = [
        (model, decisions, index)
        for model in models
        for decisions in [archive.decisions(model)]
        for index, each in enumerate(decisions)
        if each.hash.startswith(wanted)
    ]
    if len(found) != 1:
        raise RefusedError(f"{'no decision has' if not found else 'several decisions have'} a hash that begins so")
    return found[0]


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
