"""What can be read of one model's decisions, and whether their record is whole: chain, evidence, policies, registry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from comparator.events import Decision
from comparator.proof import BEGINS_UNDER
from router.control.ledger.archive import Archive
from router.control.ledger.chain import Entry, Finding, Head, compare, entry_id, verify
from router.control.ledger.codec import DECISION_SCHEMA, Unreadable, decode_decision


@dataclass(frozen=True, slots=True)
class Numbered:
    """A decision, the row that it stands in, and its place in its model's chain; number 0: it has none there."""

    number: int
    hash: str
    decision: Decision
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """All that the ledger has about the decisions of one model.

    Args:
        model: its name.
        entries: every decision and every place in the chain, read or not.
        decisions: those that can be read, the oldest first.
        policies: by digest, those that are what their digest says.
        states: evidence states that decisions name.
        findings: what is not as it was written.
    """

    model: str
    entries: tuple[Entry, ...]
    decisions: tuple[Numbered, ...]
    policies: Mapping[str, str]
    states: int
    findings: tuple[Finding, ...]

    @property
    def chained(self) -> int:
        """How many entries the chain has."""
        return sum(_ours(self.model, entry) for entry in self.entries)

    @property
    def head(self) -> Head | None:
        """The last entry of the chain; None: there is none."""
        places = [entry.place for entry in self.entries if entry.place is not None and _ours(self.model, entry)]
        last = max(places, key=lambda place: place.number, default=None)
        return Head(last.number, last.hash) if last is not None else None

    def until(self, found: Numbered) -> tuple[Finding, ...]:
        """What speaks against one decision: whatever was found of the record up to it."""
        own = entry_id(self.model, found.number)
        return tuple(finding for finding in self.findings if finding.seq <= found.seq or finding.entry == own)


def read(archive: Archive, model: str) -> Record:
    """Look at everything. Raises LedgerUnavailable."""
    entries = sorted(archive.entries(model), key=lambda entry: entry.seq)
    kept = archive.policies()
    policies = {digest: text for digest, text in kept.items() if _digest(text) == digest}
    findings = verify(model, entries)
    if not entries and model in archive.models():
        findings.append(Finding(f"{model}/?", "changed", "the ledger has rows of a name that nothing is found under"))
    decisions: list[Numbered] = []
    states: set[str] = set()
    for entry in entries:
        if entry.text is None:
            continue
        name, seq = _name(model, entry), entry.seq
        if entry.beside[:1] not in ((), (DECISION_SCHEMA,)):
            text = f"its row says that it is of schema {entry.beside[0]}; this titleshot knows {DECISION_SCHEMA}"
            findings.append(Finding(name, "changed", text, seq))
        try:
            decision = decode_decision(entry.text)
        except Unreadable as error:
            findings.append(Finding(name, "changed", str(error), seq))
            continue
        place = entry.place if _ours(model, entry) else None
        number, hashed = (place.number, place.hash) if place is not None else (0, "")
        decisions.append(Numbered(number, hashed, decision, seq))
        findings += [Finding(name, kind, text, seq) for kind, text in _wrong(archive, entry, decision, policies, kept)]
        if decision.state_digest:
            states.add(decision.state_digest)
    return Record(model, tuple(entries), tuple(decisions), policies, len(states), tuple(findings))


def tagged(record: Record, tags: Mapping[int, str]) -> tuple[dict[int, int], list[Finding]]:
    """Compare a record with what the registry has of it.

    Args:
        record: as it was read.
        tags: the chain's heads: version -> text of the tag.

    Returns:
        Which entry each version's tag names, 0: none; what speaks against the record.
    """
    named: dict[int, int] = {}
    findings: list[Finding] = []
    for version, text in sorted(tags.items()):
        found, named[version] = _tag(record.model, record.entries, version, text)
        findings += found
    return named, findings


def _ours(model: str, entry: Entry) -> bool:
    return entry.place is not None and entry.place.model == model


def _name(model: str, entry: Entry) -> str:
    if entry.place is not None and _ours(model, entry):
        return entry_id(model, entry.place.number)
    return f"{model}/seq {entry.seq}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _wrong(
    archive: Archive, entry: Entry, decision: Decision, policies: Mapping[str, str], kept: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What is not there, or not as it was, of what a decision names and of what its row says beside the text."""
    if entry.beside[1:] not in ((), (1, decision.at, decision.rollout_id, True)):
        yield "changed", "its row says something else than its text: of which rollout, when, or how many and what it is"
    if decision.state_digest and archive.state(decision.state_digest) is None:
        yield "missing", f"the evidence that it was made from ({decision.state_digest[:12]}) is gone or changed"
    digest = decision.policy_digest
    if digest in policies or not (decision.kind in BEGINS_UNDER or decision.state_digest):
        return
    if digest in kept:
        yield "changed", f"the policy that it was made under ({digest[:12]}) is another now"
    elif digest:
        yield "missing", f"the policy that it was made under ({digest[:12]}) is gone"


def _tag(model: str, entries: Sequence[Entry], version: int, text: str) -> tuple[list[Finding], int]:
    """What speaks against the tag on a version, and the number of the entry that it names."""
    where = f"the tag on version {version} in the registry"
    kept = Head.read(text)
    if kept is None:
        return [Finding(f"{model}/?", "changed", f"{where} is not one that titleshot writes")], 0
    finding = compare(model, entries, kept, where)
    return [finding] if finding is not None else [], kept.number
