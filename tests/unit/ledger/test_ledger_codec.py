"""What the ledger writes reads back exactly; what it cannot read it says so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comparator.events import LABEL, OBSERVATION, AliasMove, Decision, DecisionKind, Labels, Observations
from router.control.ledger import codec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DECISIONS = st.builds(
    Decision,
    kind=st.sampled_from(DecisionKind),
    at=st.floats(0, 4e9),
    rollout_id=st.integers(0, 2**62),
    version=st.integers(0, 2**31),
    reason=TEXT,
    actor=TEXT,
    phase=TEXT,
    step=st.integers(-1, 20),
    move=st.none() | st.builds(AliasMove, st.integers(0, 99), st.integers(0, 99)),
    trigger=TEXT,
    policy_digest=TEXT,
    evidence=st.dictionaries(TEXT, PLAIN, max_size=4),
)


def back(row):
    return codec.decode(row.kind, row.layout, row.rows, row.batch, row.decision)


@given(DECISIONS)
def test_decisions_round_trip_exactly(decision):
    read = back(codec.encode(decision))
    assert read == decision
    assert isinstance(read.kind, DecisionKind)


def test_nan_and_numpy_numbers_in_the_evidence():
    evidence = {
        "low": -np.inf,
        "none": float("nan"),
        "count": np.int64(3),
        "ok": np.True_,
        "pair": (np.float32(0.5), 1),
    }
    read = back(codec.encode(Decision(DecisionKind.HOLD, 1.0, 2, 3, "why", evidence=evidence)))
    assert read.evidence.pop("none") != read.evidence.get("none", 0.0)
    assert read.evidence == {"low": -np.inf, "count": 3, "ok": True, "pair": [0.5, 1]}


@given(hnp.arrays(OBSERVATION, st.integers(0, 30)))
def test_observations_round_trip_bit_by_bit(columns):
    read = back(codec.encode(Observations(columns)))
    assert isinstance(read, Observations)
    assert read.columns.dtype == OBSERVATION
    assert read.columns.tobytes() == columns.tobytes()


@given(hnp.arrays(LABEL, st.integers(0, 30)))
def test_labels_round_trip_bit_by_bit(columns):
    read = back(codec.encode(Labels(columns)))
    assert isinstance(read, Labels)
    assert read.columns.tobytes() == columns.tobytes()


def test_a_batch_of_a_view_with_gaps():
    columns = np.zeros(10, OBSERVATION)
    columns["row"] = np.arange(10)
    assert list(back(codec.encode(Observations(columns[::3]))).columns["row"]) == [0, 3, 6, 9]


def test_the_age_of_a_batch_is_its_latest_event():
    columns = np.zeros(3, LABEL)
    columns["at"] = [5.0, 9.0, 7.0]
    assert codec.encode(Labels(columns)).last_at == 9.0


@pytest.mark.parametrize("columns", [np.zeros(2, LABEL), np.zeros((2, 2), OBSERVATION), np.zeros(2)])
def test_columns_of_another_shape_are_refused(columns):
    with pytest.raises(TypeError, match="expected one dimension"):
        codec.encode(Observations(columns))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("observations", 99, 1, b"", None), "schema 99"),
        (("dreams", 1, 1, b"", None), "dreams"),
        (("observations", 1, 1, b"no zlib", None), "damaged"),
        (("observations", 1, 7, codec.encode_batch(np.zeros(6, OBSERVATION)), None), "7 rows"),
        (("decision", 2, 1, None, "{}"), "schema 2"),
        (("decision", 1, 1, None, "{}"), "damaged decision"),
    ],
)
def test_what_cannot_be_read_is_named(row, said):
    with pytest.raises(codec.Unreadable, match=said):
        codec.decode(*row)


def test_layouts_once_written_never_change():
    """A change of these dtypes without a new schema version would make old ledgers unreadable."""
    assert codec.DTYPES["observations", 1].descr == [
        ("at", "<f8"),
        ("rollout_id", "<u8"),
        ("request_hi", "<u8"),
        ("request_lo", "<u8"),
        ("row", "<u4"),
        ("version", "<u4"),
        ("role", "|u1"),
        ("mode", "|u1"),
        ("attempted_both", "|b1"),
        ("outcome", "|u1"),
        ("first_byte", "<f4"),
        ("latency", "<f4"),
        ("prediction", "<f8"),
        ("score", "<f8"),
    ]
    assert codec.DTYPES["observations", 2].descr == [
        *codec.DTYPES["observations", 1].descr[:9],
        ("shed", "|b1"),
        ("copy_first", "|b1"),
        *codec.DTYPES["observations", 1].descr[9:],
    ]
    assert codec.DTYPES["labels", 1].descr == [
        ("at", "<f8"),
        ("request_hi", "<u8"),
        ("request_lo", "<u8"),
        ("row", "<u4"),
        ("label", "<f8"),
    ]


def test_observations_of_the_first_layout_are_read_as_todays():
    old = np.zeros(3, codec.DTYPES["observations", 1])
    old["request_lo"], old["latency"], old["attempted_both"] = [1, 2, 3], 0.5, True
    read = codec.decode("observations", 1, 3, codec.encode_batch(old), None).columns
    assert read.dtype == OBSERVATION
    assert read["request_lo"].tolist() == [1, 2, 3]
    assert read["attempted_both"].all()
    assert not read["shed"].any()
