import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.artifacts.signature import TYPES, Columns
from router.control.skew.contract import checked
from router.control.skew.names import Break
from router.protocols.protocol import Table

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=1), st.just("7"), st.just("1e999"), st.just("9" * 5000),
)  # fmt: skip


def judged(kind, value, *, typed=True, required=True):
    columns = Columns({"x": kind}, frozenset({"x"} if required else ()))
    came = checked(columns, Table({"x": [value]}, 1, typed))
    return {broken.value for _, broken in came.breaks}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("long", 7, None),
        ("long", 7.0, None),
        ("long", 1.5, "coerced"),
        ("long", "7", "coerced"),
        ("long", True, "coerced"),
        ("long", 2**63, "coerced"),
        ("long", "7.5", "wrong_type"),
        ("long", "many", "wrong_type"),
        ("long", [7], "wrong_type"),
        ("long", math.inf, "wrong_type"),
        ("integer", 2**31 - 1, None),
        ("integer", 2**31, "coerced"),
        ("integer", None, "null"),
        ("double", 7, None),
        ("double", 7.5, None),
        ("double", math.inf, None),
        ("double", 10**400, "wrong_type"),
        ("double", "7.5", "coerced"),
        ("double", False, "coerced"),
        ("double", "much", "wrong_type"),
        ("double", {}, "wrong_type"),
        ("double", None, "null"),
        ("double", math.nan, "null"),
        ("float", 1e39, "coerced"),
        ("float", 10**39, "coerced"),
        ("float", -(10**400), "wrong_type"),
        ("float", 1e38, None),
        ("boolean", True, None),
        ("boolean", "False", "coerced"),  # any text is true
        ("boolean", 2, "coerced"),
        ("boolean", None, "null"),
        ("string", "x", None),
        ("string", 7, "wrong_type"),
        ("string", None, "null"),
        ("datetime", "2026-01-31", None),
        ("datetime", "someday", "wrong_type"),
        ("datetime", 1_700_000_000, "coerced"),
    ],
)
def test_what_mlflow_does_with_a_value(kind, value, expected):
    assert judged(kind, value) == ({expected} if expected else set())


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("long", "7", None),
        ("long", "7.5", "wrong_type"),
        ("double", "7.5", None),
        ("double", "x", "wrong_type"),
        ("boolean", "True", None),
        ("boolean", "1", "wrong_type"),
        ("string", "7", None),
        ("double", None, "null"),
    ],
)
def test_cells_of_csv_are_read_as_the_columns_type(kind, cell, expected):
    assert judged(kind, cell, typed=False) == ({expected} if expected else set())


def test_null_is_no_break_where_training_had_it_too():
    assert judged("double", None, required=False) == set()
    assert judged("string", None, required=False) == set()
    assert judged("long", None, required=False) == {"null"}  # numpy has no integer for it


def test_columns_are_missing_or_extra():
    columns = Columns({"a": "long", "b": "long", "c": "long"}, frozenset({"a", "b"}))
    came = checked(columns, Table({"b": [1, 2], "d": [1, 2], "e": [None, 1]}, 2))
    assert came.breaks == {("a", Break.MISSING)}
    assert came.extra == ("d", "e")


def test_a_column_can_break_in_several_ways_and_each_counts_once():
    columns = Columns({"a": "long"}, frozenset({"a"}))
    came = checked(columns, Table({"a": [1.5, "x", None, 2.5, "y"]}, 5))
    assert came.breaks == {("a", Break.COERCED), ("a", Break.WRONG_TYPE), ("a", Break.NULL)}


@given(st.sampled_from(sorted(TYPES)), VALUES, st.booleans(), st.booleans())
def test_any_value_is_judged(kind, value, typed, required):
    assert len(judged(kind, value, typed=typed, required=required)) <= 1
