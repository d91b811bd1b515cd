"""Whether the record of one model's decisions is whole: chain, evidence states, policies, and what the registry has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from comparator.events import Decision
from router.control.ledger.archive import Archive
from router.control.ledger.chain import Entry, Finding, Head, compare, verify
from router.control.ledger.codec import Unreadable, decode_decision


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of one model.

    Args:
        model: its name.
        entries: decisions in its chain.
        head: the last entry; None: there is none.
        states: evidence states that were looked at.
        tagged: versions whose tag in the registry was looked for, with the entry that it names; None: not asked for.
        findings: what is not as it was written.
    """

    model: str
    entries: int
    head: Head | None
    states: int
    tagged: Mapping[int, int] | None
    findings: tuple[Finding, ...]


def audit(archive: Archive, model: str, tags: Mapping[int, str] | None = None) -> Audit:
    """Look at everything. Raises LedgerUnavailable.

    Args:
        archive: the ledger.
        model: whose record.
        tags: what the registry has of the chain's heads: version -> text of the tag; None: it was not asked.
    """
    entries = archive.entries(model)
    policies = archive.policies()
    findings = verify(model, entries)
    told: dict[str, Decision] = {}
    states: set[str] = set()
    for entry in entries:
        if entry.text is None:
            continue
        name = _name(model, entry)
        try:
            told[name] = decision = decode_decision(entry.text)
        except Unreadable as error:
            findings.append(Finding(name, "changed", str(error)))
            continue
        if entry.rollout_id != decision.rollout_id:
            findings.append(Finding(name, "changed", "its row says that it is about another rollout than its text"))
        if not decision.state_digest:
            continue
        states.add(decision.state_digest)
        if archive.state(decision.state_digest) is None:
            digest = decision.state_digest[:12]
            findings.append(
                Finding(name, "missing", f"the evidence that it was made from ({digest}) is gone or changed")
            )
        if decision.policy_digest not in policies:
            digest = decision.policy_digest[:12]
            findings.append(Finding(name, "missing", f"the policy that it was made under ({digest}) is gone"))
    findings += _policies(policies, told)
    placed = [entry.place for entry in entries if entry.place is not None and entry.place.model == model]
    last = max(placed, key=lambda place: place.number, default=None)
    tagged: dict[int, int] = {}
    for version, text in sorted((tags or {}).items()):
        finding, number = _tag(model, entries, version, text)
        tagged[version] = number
        findings += finding
    return Audit(
        model,
        len(placed),
        Head(last.number, last.hash) if last is not None else None,
        len(states),
        tagged if tags is not None else None,
        tuple(findings),
    )


def _name(model: str, entry: Entry) -> str:
    ours = entry.place is not None and entry.place.model == model
    return f"{model}/{entry.place.number}" if ours and entry.place is not None else f"{model}/seq {entry.seq}"


def _policies(policies: Mapping[str, str], told: Mapping[str, Decision]) -> Iterator[Finding]:
    """Policies that are not what their digest says, each at the first decision under it."""
    for digest, text in policies.items():
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            first = next((name for name, decision in told.items() if decision.policy_digest == digest), None)
            if first is not None:
                yield Finding(first, "changed", f"the policy that it was made under ({digest[:12]}) is another now")


def _tag(model: str, entries: Sequence[Entry], version: int, text: str) -> tuple[list[Finding], int]:
    """What speaks against the tag on a version, and the number of the entry that it names."""
    where = f"the tag on version {version} in the registry"
    kept = Head.read(text)
    if kept is None:
        return [Finding(f"{model}/?", "changed", f"{where} is not one that titleshot writes")], 0
    finding = compare(model, entries, kept, where)
    return [finding] if finding is not None else [], kept.number
