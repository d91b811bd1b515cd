"""What the tags of a version say about how its shot ended."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from comparator.events import Decision, DecisionKind
from router.control.version_tags import LONGEST, ending_tags

STATE, POLICY = "5" * 64, "f" * 64
PROMOTION = Decision(
    DecisionKind.PROMOTE, 1_768_212_271.9, 7, 2, "precision holds", policy_digest=POLICY, state_digest=STATE
)


def test_when_by_whom_and_by_what_evidence():
    assert ending_tags((2, "promoted"), PROMOTION) == {
        "titleshot.promoted_at": "2026-01-12T10:04:31+00:00",
        "titleshot.promoted_by": "titleshot",
        "titleshot.promoted_evidence": f"evidence {STATE}, policy {POLICY}: precision holds",
    }


def test_whoever_signed_is_named_each_of_them():
    signatures = [{"name": "ann", "at": 1.0}, {"name": "ben", "at": 2.0}]
    signed = replace(PROMOTION, actor="ben", evidence={"sign_off": {"signatures": signatures}})
    assert ending_tags((2, "promoted"), signed)["titleshot.promoted_by"] == "ann, ben"


def test_what_a_person_did_beside_the_evidence_names_none():
    aborted = Decision(DecisionKind.ABORT, 0.0, 7, 2, "not now", "ann")
    assert ending_tags((2, "aborted"), aborted) == {
        "titleshot.aborted_at": "1970-01-01T00:00:00+00:00",
        "titleshot.aborted_by": "ann",
        "titleshot.aborted_evidence": "not now",
    }


def test_a_long_reason_is_cut_and_the_digests_are_not():
    text = ending_tags((2, "rejected"), replace(PROMOTION, reason="word " * 1000))["titleshot.rejected_evidence"]
    assert len(text) == LONGEST
    assert text.startswith(f"evidence {STATE}, policy {POLICY}: word")
    assert text.endswith("...")


@given(
    reason=st.text(max_size=2000),
    actor=st.text(max_size=300),
    at=st.floats() | st.integers(),
    evidence=st.dictionaries(
        st.just("sign_off"),
        st.none() | st.dictionaries(st.just("signatures"), st.none() | st.lists(st.none() | st.just({"name": 3}))),
    ),
)
def test_whatever_the_record_says_makes_short_printable_lines(reason, actor, at, evidence):
    decision = replace(PROMOTION, reason=reason, actor=actor, at=at, evidence=evidence)
    for value in ending_tags((2, "promoted"), decision).values():
        assert len(value) <= LONGEST
        assert value.isprintable()
