"""The chain over one model's decisions: every entry is hashed together with the hash of the one before. Pure.

What is hashed never changes, or old entries could not be verified: another text needs another FORMAT beside this one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

FORMAT = "titleshot chain 1"

START = "0" * 64
"""What the first entry has in the place of the hash before it."""

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
_MOST_COMPARED = 64
"""Of so many changed entries it is looked whether they have only changed places."""


@dataclass(frozen=True, slots=True)
class Head:
    """An entry of a chain, and with it all that come before: its number, from 1, and its hash."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> Head | None:
        """What `str` wrote; None: it is no head."""
        found = _HEAD.fullmatch(text)
        return None if found is None else cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain has a decision."""

    model: str
    number: int
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision's row and its place in the chain, as they are found.

    Args:
        seq: the sequence number of both.
        place: None: no chain has this row.
        model: whose; None, like `text`: there is no such row any more.
        term: the fencing term that it was written under.
        text: the decision's JSON, exactly as it is stored.
        beside: what else the row says beside the text: layout, number of rows, latest moment, rollout.
    """

    seq: int
    place: Place | None
    model: str | None = None
    term: int | None = None
    text: str | None = None
    beside: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Args:
        entry: which one, as people name it: MODEL/NUMBER, or MODEL/seq SEQ where the chain has no number for it.
        kind: changed, missing, added, reordered or cut.
        text: what was found, in words.
        seq: where in the ledger; of entries that are gone the one that follows; 0: nowhere.
    """

    entry: str
    kind: str
    text: str
    seq: int = 0


def entry_id(model: str, number: int) -> str:
    """An entry as people name it; "": it has no number."""
    return f"{model}/{number}" if number else ""


def link(prev: str, model: str, number: int, seq: int, term: int | None, text: str) -> str:
    """The hash of an entry, in hex. The decision's text names the digest of its evidence, so that is covered too."""
    told = json.dumps([FORMAT, prev, model, number, seq, term, text], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def verify(model: str, entries: Iterable[Entry]) -> list[Finding]:
    """Everything in a model's chain that was changed, removed, added or moved.

    Entries that are cut off at the end leave a whole chain behind: `compare` with a head that was kept elsewhere.

    Args:
        model: whose chain.
        entries: all rows that are the model's or stand in its chain, in any order.
    """
    ours: list[tuple[Place, Entry]] = []
    findings: list[Finding] = []
    for entry in sorted(entries, key=lambda entry: entry.seq):
        if entry.place is not None and entry.place.model == model:
            ours.append((entry.place, entry))
        elif entry.place is None:
            findings.append(Finding(f"{model}/seq {entry.seq}", "added", "a decision that is in no chain", entry.seq))
        else:
            text = f"a decision of {model} in the chain of {entry.place.model}"
            findings.append(Finding(f"{model}/seq {entry.seq}", "changed", text, entry.seq))
    ours.sort(key=lambda pair: (pair[0].number, pair[1].seq))
    return [*_walk(model, ours), *findings]


def compare(model: str, entries: Sequence[Entry], kept: Head, where: str) -> Finding | None:
    """Whether a chain still has the entry that a head names; None: it has.

    Args:
        model: whose chain.
        entries: as for `verify`.
        kept: the head, as it was kept.
        where: who kept it, in words.
    """
    places = [entry.place for entry in entries if entry.place is not None and entry.place.model == model]
    last = max((place.number for place in places), default=0)
    named = f"{model}/{kept.number}"
    if kept.number > last:
        ends = f"the chain ends with {model}/{last}" if last else "there is no chain"
        return Finding(named, "cut", f"{where} knows this entry, but {ends}")
    if not any(place.number == kept.number and place.hash == kept.hash for place in places):
        return Finding(named, "changed", f"{where} knows another entry of this number")
    return None


def _walk(model: str, chain: Sequence[tuple[Place, Entry]]) -> Iterator[Finding]:
    changed = [(place, entry) for place, entry in chain if entry.text is not None and not _holds(place, entry)]
    expected, prev, seq, term = 1, START, 0, 0
    for place, entry in chain:
        name, holds = f"{model}/{place.number}", _holds(place, entry)
        if place.number > expected:
            yield _gap(model, expected, place.number - 1, entry.seq)
        if entry.text is None:
            text = "the chain has this entry, the record has no such decision any more"
            yield Finding(name, "missing", text, entry.seq)
        elif place.number < expected:
            yield Finding(name, "added", "there is another entry of this number", entry.seq)
        elif not holds:
            yield _changed(model, place, entry, changed)
        elif place.number == expected and place.prev != prev:
            yield Finding(name, "reordered", "it was written after another entry than the one before it now", entry.seq)
        if entry.seq <= seq:
            text = f"its sequence number {entry.seq} is not above {seq}, that before it"
            yield Finding(name, "reordered", text, entry.seq)
        if holds and entry.term is not None and entry.term < term:
            text = f"it was written under term {entry.term}, one before it under {term}"
            yield Finding(name, "reordered", text, entry.seq)
        expected, prev, seq = max(expected, place.number + 1), place.hash, entry.seq
        term = entry.term if holds and entry.term is not None else term


def _gap(model: str, first: int, last: int, seq: int) -> Finding:
    gone = "there is no such entry any more" if first == last else f"there are no entries {first} to {last} any more"
    return Finding(f"{model}/{first}", "missing", gone, seq)


def _holds(place: Place, entry: Entry) -> bool:
    """Whether the hash is that of the row."""
    return entry.model == place.model and place.hash == _link(place, entry, entry.text)


def _link(place: Place, entry: Entry, text: str | None) -> str:
    return link(place.prev, place.model, place.number, entry.seq, entry.term, text or "")


def _changed(model: str, place: Place, entry: Entry, changed: Sequence[tuple[Place, Entry]]) -> Finding:
    name = f"{model}/{place.number}"
    if entry.model != place.model:
        return Finding(name, "changed", f"its decision says that it is of {entry.model}", entry.seq)
    for other, its in changed[:_MOST_COMPARED]:
        if other is not place and _link(place, entry, its.text) == place.hash:
            return Finding(name, "reordered", f"what was decided here stands at {model}/{other.number}", entry.seq)
    return Finding(name, "changed", "it is not what was written: its hash is another", entry.seq)
