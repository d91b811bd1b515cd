import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.protocol import Asking, Unreadable
from router.protocols.request_rows import MOST_ROWS
from router.protocols.select import protocol

CELLS = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text())
NAMES = st.lists(st.text(min_size=1).filter(lambda name: name != "columns"), min_size=1, max_size=4, unique=True)


def table(data, content_type="application/json"):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return protocol("mlflow").tables(Asking())(body, content_type)


@given(st.data())
def test_every_form_holds_the_same_rows(data):
    names = data.draw(NAMES)
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [record[name] for record in records] for name in names}
    for form in (
        {"dataframe_split": {"columns": names, "data": rows}},
        {"dataframe_split": {"columns": names, "data": rows, "index": list(range(len(rows)))}},
        {"dataframe_records": records},
        {"instances": records, "signature_name": "serving_default"},
        {"inputs": records, "params": {"n": 1}},
        {"inputs": columns},
    ):
        found = table(form)
        assert (found.columns, found.rows, found.typed) == (columns, len(rows), True)


def test_what_a_record_does_not_have_is_null():
    assert table({"dataframe_records": [{"a": 1}, {"b": 2}]}).columns == {"a": [1, None], "b": [None, 2]}


def test_a_mapping_of_values_is_one_row():
    found = table({"inputs": {"a": 1, "b": "x"}})
    assert (found.columns, found.rows) == ({"a": [1], "b": ["x"]}, 1)


def test_csv_has_texts_and_what_pandas_takes_for_missing():
    found = table('﻿a,b\n1,x\n,"y, z"\nNaN,null\n'.encode(), "text/csv; charset=utf-8")
    assert (found.columns, found.rows, found.typed) == ({"a": ["1", None, None], "b": ["x", "y, z", None]}, 3, False)


def test_nan_is_read_as_mlflow_reads_it():
    (value,) = table(b'{"inputs": [{"a": NaN}]}').columns["a"]
    assert value != value  # noqa: PLR0124


@pytest.mark.parametrize(
    "form",
    [
        {"inputs": [[1, 2], [3, 4]]},
        {"instances": [1, 2]},
        {"inputs": [{"a": 1}, 2]},
        {"dataframe_split": {"data": [[1], [2]]}},
        {"dataframe_split": {"columns": [0, 1], "data": [[1, 2], [3, 4]]}},
    ],
)
def test_rows_without_names_are_counted(form):
    found = table(form)
    assert (found.columns, found.rows) == ({}, 2)


def test_of_many_rows_the_first_are_read():
    found = table({"dataframe_split": {"columns": ["a"], "data": [[n] for n in range(MOST_ROWS + 5)]}})
    assert (found.columns["a"], found.rows) == (list(range(MOST_ROWS)), MOST_ROWS + 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"inputs": [], "instances": []}',
        b'{"inputs": 3}',
        b'{"dataframe_split": [1]}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
        b'{"inputs": {"a": [1], "b": [1, 2]}}',
        b'{"inputs": {"a": [1], "b": 2}}',
        b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"inputs": NaN' + b"[" * 5000,
        b'{"inputs": [{' + b",".join(b'"%d": 1' % n for n in range(2001)) + b"}]}",
        b'\xff{"inputs": []}',
    ],
)
def test_what_is_no_request_is_refused(body):
    with pytest.raises(Unreadable, match="expected"):
        table(body)


@pytest.mark.parametrize("body", [b"a,a\n1,2\n", b"a\n1,2\n", b"\xff"])
def test_csv_that_is_none_is_refused(body):
    with pytest.raises(Unreadable):
        table(body, "text/csv")


@given(st.binary(max_size=200), st.sampled_from(["", "text/csv", "application/json"]))
def test_any_body_is_read_or_refused(body, content_type):
    try:
        found = table(body, content_type)
    except Unreadable:
        return
    assert {len(values) for values in found.columns.values()} <= {min(found.rows, MOST_ROWS)}
