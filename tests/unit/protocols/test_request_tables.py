"""Rows of requests by column: KServe's and the Open Inference Protocol's."""

import json

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.protocol import Asking, Unreadable
from router.protocols.select import NAMES, protocol


def of(name, data, rows=""):
    tables = protocol(name).tables(Asking(rows))
    return tables(data if isinstance(data, bytes) else json.dumps(data).encode(), "")


@pytest.mark.parametrize(
    ("rows", "request_"),
    [
        ("/rows", {"rows": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}], "more": 1}),
        ("/in/0", {"in": [{"a": [1, None], "b": ["x", "y"]}]}),
        ("#", [{"a": 1, "b": "x"}, {"b": "y"}]),
    ],
)
def test_where_a_pointer_points_are_the_rows_of_any_json(rows, request_):
    found = of("json", request_, rows)
    assert (found.columns, found.rows) == ({"a": [1, None], "b": ["x", "y"]}, 2)


def test_one_record_is_one_row_of_any_json():
    assert of("json", {"in": {"a": 1, "b": "x"}}, "/in").columns == {"a": [1], "b": ["x"]}
    assert of("json", [[1, 2]], "#").columns == {}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"rows": 1}', b'{"rows": "x"}', b'{"rows": {"a": [1], "b": 2}}', b"\xff"]
)
def test_what_has_no_rows_is_said_of_any_json(body):
    with pytest.raises(Unreadable):
        of("json", body, "/rows")


def test_only_any_json_is_told_where_its_rows_are():
    for name in NAMES:
        if name == "json":
            assert protocol(name).tables(Asking()) is None
            with pytest.raises(ValueError, match=r"request\.rows to be a JSON pointer"):
                protocol(name).tables(Asking("rows"))
        else:
            with pytest.raises(ValueError, match=f"the protocol {name} says itself"):
                protocol(name).tables(Asking("/rows"))


@pytest.mark.parametrize(
    "request_",
    [
        {"instances": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]},
        {"inputs": {"a": [1, None], "b": ["x", "y"]}, "signature_name": "serving_default"},
        {"examples": [{"a": 1, "b": "x"}, {"b": "y"}], "context": {}},
    ],
)
def test_kserves_forms_hold_the_same_rows(request_):
    found = of("kserve_v1", request_)
    assert (found.columns, found.rows) == ({"a": [1, None], "b": ["x", "y"]}, 2)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"instances": 1}', b'{"inputs": {"a": [1], "b": [1, 2]}}', b"\xff"])
def test_what_is_no_request_of_kserves_is_said(body):
    with pytest.raises(Unreadable):
        of("kserve_v1", body)


def test_rows_without_names_are_counted():
    assert (of("kserve_v1", {"instances": [[1, 2], [3, 4]]}).columns, of("kserve_v1", {"instances": [1]}).rows) == (
        {},
        1,
    )


ROWS = st.integers(1, 4).flatmap(
    lambda rows: st.tuples(
        st.lists(st.integers(-5, 5), min_size=rows, max_size=rows),
        st.lists(st.text("ab\N{EURO SIGN}", max_size=3), min_size=rows, max_size=rows),
        st.booleans(),
        st.booleans(),
    )
)


@given(ROWS)
def test_tensors_are_columns_as_the_client_that_people_have_writes_them(drawn):
    numbers, texts, binary, flat = drawn
    shape = [len(numbers)] if flat else [len(numbers), 1]
    first = triton.InferInput("age", shape, "INT64")
    first.set_data_from_numpy(np.array(numbers, np.int64).reshape(shape), binary_data=binary)
    second = triton.InferInput("name", shape, "BYTES")
    second.set_data_from_numpy(np.array(texts, dtype=np.object_).reshape(shape), binary_data=True)
    body, _ = triton.InferenceServerClient.generate_request_body([first, second])
    found = of("open_inference", body)
    assert (found.columns, found.rows) == ({"age": numbers, "name": texts}, len(numbers))


def tensor(name, shape, data, datatype="FP64"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def test_a_tensor_of_several_columns_has_no_names_for_them():
    found = of("open_inference", {"inputs": [tensor("x", [2, 3], [1, 2, 3, 4, 5, 6])]})
    assert (found.columns, found.rows) == ({}, 2)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor("x", [], [1])],
        [tensor("x", [2], [1, 2]), tensor("y", [1], [1])],
        [tensor("x", [2], [1])],
        [tensor("x", [1], [1]), tensor("x", [1], [1])],
        [{"name": "x", "shape": [1], "datatype": "FP64"}],
    ],
)
def test_inputs_that_are_none_are_said(inputs):
    with pytest.raises(Unreadable):
        of("open_inference", {"inputs": inputs})
