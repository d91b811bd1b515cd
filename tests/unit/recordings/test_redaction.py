"""What of a body is recorded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.recordings.redaction import Redaction

KEY = b"k" * 32
JSON = "application/json"


def applied(body, redact=("name",), pseudonymise=("customer",), content_type=JSON):
    done = Redaction(frozenset(redact), frozenset(pseudonymise), KEY).apply(body, content_type, "")
    return done if content_type != JSON or done is None else json.loads(done)


def told(data, **settings):
    return applied(json.dumps(data).encode(), **settings)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"inputs": [{"name": "Ann", "age": 7}]}, {"inputs": [{"name": "redacted", "age": 7}]}),
        ({"inputs": {"name": ["Ann", "Ben"], "age": [7, 8]}}, {"inputs": {"name": ["redacted"] * 2, "age": [7, 8]}}),
        (
            {"dataframe_split": {"columns": ["age", "name"], "data": [[7, "Ann"], [8, None]]}},
            {"dataframe_split": {"columns": ["age", "name"], "data": [[7, "redacted"], [8, None]]}},
        ),
        (
            {"inputs": [{"name": "name", "datatype": "BYTES", "shape": [1], "data": ["Ann"]}]},
            {"inputs": [{"name": "redacted", "datatype": "BYTES", "shape": [1], "data": ["redacted"]}]},
        ),
        ({"name": {"first": "Ann", "n": 3, "ok": True}}, {"name": {"first": "redacted", "n": 0, "ok": False}}),
        ([1, "x", None], [1, "x", None]),
    ],
)
def test_fields_are_found_wherever_they_stand(data, expected):
    assert told(data) == expected


def test_tensors_are_found_by_their_names():
    tensors = {"inputs": [{"name": "age", "data": [7, 8]}, {"name": "sex", "data": [[1], [2]]}]}
    assert told(tensors, redact=("age",))["inputs"] == [{"name": "age", "data": [0, 0]}, tensors["inputs"][1]]


def test_the_same_value_has_the_same_pseudonym():
    rows = [{"customer": "c-1"}, {"customer": "c-2"}, {"customer": "c-1"}, {"customer": 5}, {"customer": None}]
    one, two, again, number, nothing = (row["customer"] for row in told(rows))
    assert one == again != two
    assert "c-1" not in one
    assert isinstance(number, int)
    assert number != 5
    assert nothing is None
    other = Redaction(frozenset(), frozenset({"customer"}), b"o" * 32).apply(b'{"customer":"c-1"}', JSON, "")
    assert json.loads(other)["customer"] != one


def test_csv_by_its_header():
    body = b'age,name,customer\n7,"Ann, B.",c-1\n8,,c-1\n'
    header, first, second = applied(body, content_type="text/csv; charset=utf-8").decode().splitlines()
    assert header == "age,name,customer"
    assert first.startswith("7,redacted,")
    assert second.split(",")[:2] == ["8", ""]
    assert first.split(",")[2] == second.split(",")[2] != "c-1"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"columns": ["name"], "data": [["Ann", "more"]]}', JSON),
        (b'{"columns": ["name"], "data": ["Ann"]}', JSON),
        (b"[" * 100_000, JSON),
        (b"name=Ann", "application/x-www-form-urlencoded"),
        (b"name\nAnn,more\n", "text/csv"),
        (b"name\n\xff\n", "text/csv"),
    ],
)
def test_what_cannot_be_understood_is_not_recorded(body, content_type):
    assert applied(body, content_type=content_type) is None


def test_without_names_a_body_stays_as_it_is():
    assert Redaction(frozenset(), frozenset(), KEY).apply(b"\xff[", "", "gzip", binary=True) == b"\xff["


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.just("secret"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "age", "x"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_below_a_redacted_field_is_left(value):
    assert "secret" not in json.dumps(told({"name": value}))
