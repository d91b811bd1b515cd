"""Label items: each is checked on its own, and none gets in that is not what it says."""

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comparator.events import LABEL, request_key
from router.control.admin.labels import BadLabel, NotLabels, read_item, read_labels
from router.protocols.coding import Coding, Predicts

NOW = 1.8e9
ID = "0190d3a2-0000-7000-8000-0123456789ab"
ONE = {"late": Coding()}
JSON = "application/json"

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def read(items, codings=ONE, content_type=JSON):
    return read_labels(json.dumps(items).encode(), content_type, codings, NOW)


def test_one_item():
    batch = read({"request_id": ID, "label": 1, "row": 3})
    (row,) = batch.columns["late"]
    key = request_key(ID)
    assert batch.columns["late"].dtype == LABEL
    assert row.item() == (NOW, key >> 64, key & (2**64 - 1), 3, 1.0)
    assert batch.rejected == []


def test_good_items_are_kept_and_bad_ones_told_by_their_index():
    batch = read([{"request_id": "a", "label": 0}, {"request_id": "b"}, 7, {"request_id": "c", "label": True}])
    assert batch.columns["late"]["label"].tolist() == [0.0, 1.0]
    assert [index for index, _ in batch.rejected] == [1, 2]
    assert "expected label" in batch.rejected[0][1]


@pytest.mark.parametrize(
    ("positive", "label", "value"),
    [
        (1, 1, 1.0),
        (1, 1.0, 1.0),
        (1, True, 1.0),
        (1, 0, 0.0),
        (1, False, 0.0),
        (1, 2, 0.0),
        (True, 1, 1.0),
        (True, False, 0.0),
        (0, False, 1.0),
        (2.5, 2.5, 1.0),
        ("late", "late", 1.0),
        ("late", "on time", 0.0),
        ("late", "Late", 0.0),
        ("1", "1", 1.0),
    ],
)
def test_the_label_against_the_positive_class(positive, label, value):
    batch = read({"request_id": ID, "label": label}, {"m": Coding(positive=positive)})
    assert batch.columns["m"]["label"].tolist() == [value]


@pytest.mark.parametrize(
    ("positive", "label"), [(1, "1"), (1, "true"), (True, "late"), ("late", 1), ("late", True), (1, None), (1, [1])]
)
def test_a_label_of_another_kind_is_refused_instead_of_counted_as_negative(positive, label):
    batch = read({"request_id": ID, "label": label}, {"m": Coding(positive=positive)})
    assert batch.accepted == 0
    assert "label: expected a" in batch.rejected[0][1]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 30, "9" * 5000])
@pytest.mark.parametrize("key", ["label", "row", "at", "request_id"])
def test_numbers_that_are_none_cost_only_their_item(text, key):
    bad = json.dumps({"request_id": ID, "label": 1, "row": 0, key: "@"}).replace('"@"', text)
    batch = read_labels(f'[{bad}, {{"request_id": "x", "label": 0}}]'.encode(), JSON, ONE, NOW)
    assert batch.accepted == 1
    assert [index for index, _ in batch.rejected] == [0]
    assert key in batch.rejected[0][1]


@pytest.mark.parametrize("row", [True, -1, 2**32, 1.0, "0", None])
def test_rows(row):
    assert "row: expected an integer" in read({"request_id": ID, "label": 1, "row": row}).rejected[0][1]


@pytest.mark.parametrize("request_id", ["", "x" * 257, 5, None, "\ud800"])
def test_request_ids(request_id):
    assert "request_id: expected" in read({"request_id": request_id, "label": 1}).rejected[0][1]


@pytest.mark.parametrize("at", [0, NOW, NOW + 200, "2026-11-24T10:00:00Z", "2026-11-24T10:00:00.25+01:00", None])
def test_times_are_checked_and_the_record_carries_the_receipt(at):
    batch = read({"request_id": ID, "label": 1, "at": at})
    assert batch.columns["late"]["at"].tolist() == [NOW]


@pytest.mark.parametrize(
    "at", [-1, NOW + 301, True, "yesterday", "2026-11-24T10:00:00", "0001-01-01T00:00:00+23:59", []]
)
def test_times_that_are_none(at):
    assert "at: expected" in read({"request_id": ID, "label": 1, "at": at}).rejected[0][1]


def test_models():
    two = {"a": Coding(), "b": Coding(positive="yes")}
    batch = read(
        [{"request_id": "1", "label": 1, "model": "a"}, {"request_id": "2", "label": "yes", "model": "b"}], two
    )
    assert {model: len(columns) for model, columns in batch.columns.items()} == {"a": 1, "b": 1}
    assert "more than one" in read({"request_id": "1", "label": 1}, two).rejected[0][1]
    told = read({"request_id": "1", "label": 1, "model": "c"}, two).rejected[0][1]
    assert '"c"' in told
    assert '"a"' not in told
    assert "no model" in read({"request_id": "1", "label": 1}, {}).rejected[0][1]


def test_unknown_keys_are_told():
    assert '"lable"' in read({"request_id": "1", "label": 1, "lable": 0}).rejected[0][1]


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/ndjson; charset=utf-8", JSON, ""])
def test_ndjson_by_name_or_shape(content_type):
    body = b'{"request_id": "a", "label": 1}\n\nno json\r\n{"request_id": "b", "label": 0}\r\n'
    batch = read_labels(body, content_type, ONE, NOW)
    assert batch.columns["late"]["label"].tolist() == [1.0, 0.0]
    assert batch.rejected == [(1, "expected JSON in UTF-8")]


@pytest.mark.parametrize("body", [b"", b"  \n", b"[", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000])
def test_bodies_without_items(body):
    with pytest.raises(NotLabels, match="expected"):
        read_labels(body, JSON, ONE, NOW)


def test_too_many_items_at_once():
    with pytest.raises(NotLabels, match="at most"):
        read_labels(b"[" + b"0," * 100_001 + b"0]", JSON, ONE, NOW)


@given(
    ANYTHING
    | st.fixed_dictionaries({"request_id": ANYTHING, "label": ANYTHING}, optional={"row": ANYTHING, "at": ANYTHING})
)
@example({"request_id": "a", "label": 10**400})
def test_whatever_an_item_is_it_is_a_row_or_refused(item):
    try:
        model, row = read_item(item, ONE, NOW)
    except BadLabel as refused:
        told = str(refused).encode()  # no surrogate gets into a message
        assert 0 < len(told) < 400
    else:
        assert model == "late"
        at, high, low, number, label = row
        assert at == NOW
        assert 0 <= high < 2**64 > low >= 0
        assert 0 <= number < 2**32
        assert label in (0.0, 1.0)
        assert type(item["row"]) is int if "row" in item else number == 0
        assert type(item["label"]) in (bool, int, float)
        assert -math.inf < item["label"] < math.inf


@given(st.lists(ANYTHING, min_size=1, max_size=5))
def test_every_item_is_accounted_for(items):
    batch = read(items)
    assert batch.accepted + len(batch.rejected) == len(items)


@given(st.binary(max_size=60), st.sampled_from([JSON, "application/x-ndjson"]))
def test_no_bytes_break_it(body, content_type):
    with contextlib.suppress(NotLabels):
        read_labels(body, content_type, ONE, NOW)


def test_labels_of_a_regression_are_kept_as_numbers():
    items = [{"request_id": ID, "label": label} for label in (-2.5, 7, True, "7", 1e999, 10**400)]
    batch = read(items, {"late": Coding(Predicts.NUMBER)})
    assert batch.columns["late"]["label"].tolist() == [-2.5, 7.0, 1.0]
    assert [index for index, _ in batch.rejected] == [3, 4, 5]
