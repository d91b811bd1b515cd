"""Any single change to a chain is found, and named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.ledger.chain import START, Entry, Head, Place, compare, link, verify

LONGEST = 8


def chain(texts, model="m", first_seq=1):
    """As the ledger writes it: a decision every third row, a new term every second."""
    entries, prev = [], START
    for number, text in enumerate(texts, 1):
        seq, term = first_seq + 3 * number, 1 + number // 2
        hashed = link(prev, model, number, seq, term, text)
        entries.append(Entry(seq, Place(model, number, prev, hashed), model, term, text))
        prev = hashed
    return entries


texts = st.lists(st.text(max_size=6), min_size=1, max_size=LONGEST, unique=True)


@st.composite
def touched(draw):
    """A chain, the same with one thing changed, and the number of an entry that it was changed at."""
    entries = chain(draw(texts))
    index = draw(st.integers(0, len(entries) - 1))
    entry, other = entries[index], draw(st.sampled_from(entries))
    place = entry.place
    hashed = draw(st.text("0123456789abcdef", min_size=64, max_size=64))
    ways = [
        replace(entry, text=entry.text + draw(st.sampled_from(" x\0"))),
        replace(entry, term=draw(st.none() | st.integers(0, 99).filter(lambda term: term != entry.term))),
        replace(entry, model="other"),
        replace(entry, seq=entry.seq + draw(st.sampled_from([-3, -1, 1, 3]))),
        replace(entry, model=None, term=None, text=None),  # the decision's row is gone
        replace(entry, place=None),  # its place in the chain is gone
        replace(entry, place=replace(place, model="other")),
        replace(entry, place=replace(place, number=place.number + draw(st.sampled_from([1, 2, LONGEST])))),
    ]
    if hashed not in (place.hash, place.prev):
        ways += [replace(entry, place=replace(place, hash=hashed)), replace(entry, place=replace(place, prev=hashed))]
    if other is not entry:
        ways += [replace(entry, text=other.text), replace(entry, place=other.place)]
    after = list(entries)
    after[index] = draw(st.sampled_from(ways))
    return entries, after, place.number


@given(texts)
def test_what_was_written_is_whole_in_any_order(texts):
    entries = chain(texts)
    assert verify("m", entries) == verify("m", entries[::-1]) == []
    last = entries[-1].place
    assert compare("m", entries, Head(last.number, last.hash), "the registry") is None


@given(touched())
def test_any_single_change_is_found(case):
    _, after, _ = case
    assert verify("m", after)


@given(texts, st.data())
def test_a_removed_entry_is_found_and_named_wherever_it_is_but_at_the_end(texts, data):
    entries = chain(texts)
    index = data.draw(st.integers(0, len(entries) - 1))
    found = verify("m", entries[:index] + entries[index + 1 :])
    if index < len(entries) - 1:
        assert (found[0].entry, found[0].kind) == (f"m/{index + 1}", "missing")
    else:
        assert found == []


@given(texts, st.integers(0, LONGEST - 1))
def test_a_cut_end_is_found_by_a_head_that_was_kept_elsewhere(texts, left):
    entries = chain(texts)
    last = entries[-1].place
    cut = entries[: min(left, len(entries) - 1)]
    assert verify("m", cut) == []
    found = compare("m", cut, Head(last.number, last.hash), "the registry")
    assert (found.entry, found.kind) == (f"m/{last.number}", "cut")


@given(texts, st.text(max_size=6), st.data())
def test_an_added_entry_is_found_though_its_own_hash_is_right(texts, text, data):
    entries = chain(texts)
    before = data.draw(st.sampled_from(entries))
    place, seq = before.place, before.seq + 1
    forged = Entry(seq, Place("m", place.number + 1, place.hash, ""), "m", before.term, text)
    hashed = link(place.hash, "m", place.number + 1, seq, before.term, text)
    forged = replace(forged, place=replace(forged.place, hash=hashed))
    if before is entries[-1]:  # at the end anything can follow: whoever writes the ledger can go on with it
        assert verify("m", [*entries, forged]) == []
    else:
        assert verify("m", [*entries, forged])
    assert [found.kind for found in verify("m", [*entries, replace(forged, place=None)])] == ["added"]


@given(st.lists(st.text(max_size=6), min_size=2, max_size=LONGEST, unique=True), st.data())
def test_decisions_that_changed_places_are_told_as_such(texts, data):
    entries = chain(texts)
    one, two = data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=2, max_size=2, unique=True))
    after = list(entries)
    after[one] = replace(entries[one], text=entries[two].text)
    after[two] = replace(entries[two], text=entries[one].text)
    assert {found.entry: found.kind for found in verify("m", after)} == {
        f"m/{one + 1}": "reordered",
        f"m/{two + 1}": "reordered",
    }


def test_a_chain_rewritten_from_an_entry_on_is_found_by_a_head_alone():
    entries, forged = chain(["a", "b", "c"]), chain(["a", "x", "c"])
    assert verify("m", forged) == []
    found = compare("m", forged, Head(3, entries[2].place.hash), "the registry")
    assert (found.entry, found.kind) == ("m/3", "changed")


def test_a_term_that_goes_back_is_found_though_all_hashes_are_right():
    first, second = chain(["a", "b"])
    late = Place("m", 2, first.place.hash, link(first.place.hash, "m", 2, second.seq, 0, "b"))
    (found,) = verify("m", [first, replace(second, term=0, place=late)])
    assert (found.entry, found.kind) == ("m/2", "reordered")


def test_what_is_hashed_stays_as_it_is():
    """Ledgers that were written must verify for ever."""
    assert link(START, "m", 1, 42, 7, '{"kind":"promote"}') == (
        "30e166d9c73067a046c7c2e9118e0c7704928de8004c96faa091d1922bde00e0"
    )


@pytest.mark.parametrize(
    "text", ["", "1", "0:" + "a" * 64, "1:" + "A" * 64, "1:" + "a" * 63, "1:" + "a" * 64 + "\n", "-1:" + "a" * 64]
)
def test_what_is_no_head_is_not_read(text):
    assert Head.read(text) is None


def test_a_head_is_read_as_it_is_written():
    head = Head(7, "0f" * 32)
    assert Head.read(str(head)) == head
