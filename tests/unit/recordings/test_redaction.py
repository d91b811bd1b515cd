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
        (
            {"name": {"Ann": 3, "ok": True, "n": None}},
            {"name": {"redacted": 0, "redacted 2": False, "redacted 3": None}},
        ),
        (
            {"Name": "Ann", "customer.name ": "Ann", "surname": "B"},
            {"Name": "redacted", "customer.name ": "redacted", "surname": "B"},
        ),
        (
            {"columns": ["NAME", "age"], "index": ["Ann"], "data": [["Ann", 7]]},
            {"columns": ["NAME", "age"], "index": [0], "data": [["redacted", 7]]},
        ),
        (
            {"text": '{"n\\u0061me": "Ann"}', "free": "{no JSON"},
            {"text": '{"name":"redacted"}', "free": "{no JSON"},
        ),
        (
            {"name": "Ann", "kind": "name", "text": "What is your name? Surname: B", "role": ["x"]},
            {"name": "redacted", "kind": "name", "text": "What is your name? Surname: B", "role": ["x"]},
        ),
        ([{"age": 7, "text": '{ "a" : 1 }'}], [{"age": 7, "text": '{ "a" : 1 }'}]),
        ({"age": 10**40, "name": 10**40}, {"age": 10**40, "name": 0}),
    ],
)
def test_fields_are_found_wherever_they_stand(data, expected):
    assert told(data) == expected


@pytest.mark.parametrize(
    "part", [{"contents": {"int_contents": [77]}}, {"value": 77}, {"parameters": {"value": 77, "content_type": "np"}}]
)
def test_of_a_tensor_only_its_form_is_left(part):
    made = told({"inputs": [{"name": "Age", "shape": [1], "datatype": "INT32", **part}]}, redact=("age",))
    assert made["inputs"][0] | {"name": "Age", "shape": [1], "datatype": "INT32"} == made["inputs"][0]
    assert "77" not in json.dumps(made)


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


def test_csv_with_a_byte_order_mark_and_names_in_another_case():
    told = applied('\ufeffage, "Name"\n7,Ann\n'.encode(), content_type="Text/CSV ; charset=utf-8")
    assert told is None  # a quote after a space is none
    assert applied("\ufeff Name ,age\nAnn,7\n".encode(), content_type="Text/CSV").split(b"\n")[1] == b"redacted,7"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"inputs": [["Ann", 7]]}', JSON),
        (b'{"inputs": [{"name": "x"}, ["Ann", 7]]}', JSON),
        (b'{"names": ["name"], "ndarray": [["Ann"]]}', JSON),
        (b'{"columns": ["name"], "rows": [["Ann"]]}', JSON),
        (b'{"columns": [["a", "name"]], "data": [["Ann"]]}', JSON),
        (b'{"columns": ["age"], "index_names": ["name"], "data": [[7]]}', JSON),
        (b'{"key": "name", "value": "Ann"}', JSON),
        (b'{"form": "age=7&name=Ann"}', JSON),
        (b'{"xml": "<p><name>Ann</name></p>"}', JSON),
        (b"{\"python\": \"{'age': 7, 'name': 'Ann'}\"}", JSON),
        (b'{"escaped": "x {\\\\\\"name\\\\\\": 1"}', JSON),
        (b'{"lines": "age: 7\\nName: Ann"}', JSON),
        (b'{"columns": ["feature", "value"], "data": [["name", "Ann"]]}', JSON),
        (b'{"csv": "age,Name\\n7,Ann"}', JSON),
        (b'{"{\\"name\\":\\"Ann\\"}": 1}', JSON),
        (b'"{\\"x\\": [\\"Ann\\"]}"', JSON),
        (b'"Ann"', JSON),
        (b"33", JSON),
        (b'{"name": NaN, "x": "Ann"}', JSON),
        (b'{"inputs": [{"name": "input-0", "shape": [1, 2], "datatype": "FP32", "data": [[33, 7]]}]}', JSON),
        ('{"name": "Ann"}'.encode("utf-16"), JSON),
        (b"Ann,7\nBen,8\n", "text/csv"),
        (b"name,7\nBen,8\n", "text/csv; header=absent"),
        (b"name;age\nAnn;7\n", "text/csv"),
        (b"age,'name'\n7,Ann\n", "text/csv"),
        (b'{"name":"Ann"}', "text/csv"),
        ("name,x\nAnn,7\n".encode("utf-16-le"), "text/csv"),
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
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "age", "secret", "x"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_below_a_redacted_field_is_left(value):
    assert "secret" not in json.dumps(told({"name": value}))


_NAMES = ["name", "Name", " NAME", "user.name", "age", "columns", "data", "index", "datatype", "inputs", "x"]


@st.composite
def records(draw, depth=3):
    """JSON in which "secret" is only ever the value of a field, below one of its names, as a cell or as a tensor."""
    form = draw(st.sampled_from(["record", "table", "tensor", "list", "text"] if depth else ["record"]))
    if form == "record":
        keys = draw(st.lists(st.sampled_from(_NAMES), max_size=4, unique=True))
        return {key: "secret" if "name" in key.lower() else draw(st.integers(0, 9)) for key in keys}
    if form == "table":
        columns = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4))
        rows = draw(st.integers(0, 3))
        cells = ["secret" if "name" in column.lower() else 7 for column in columns]
        return {"columns": columns, "data": [cells[: draw(st.integers(0, len(cells)))] for _ in range(rows)]}
    if form == "tensor":
        return {
            "name": draw(st.sampled_from(_NAMES[:4])),
            "shape": [1],
            draw(st.sampled_from(["data", "v"])): ["secret"],
        }
    inner = draw(records(depth - 1))
    return {"x": json.dumps(inner)} if form == "text" else {"inputs": [inner, draw(records(0))]}


@given(records())
def test_in_no_form_a_redacted_value_is_left(value):
    assert "secret" not in json.dumps(told(value))
