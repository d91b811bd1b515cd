"""One finite number, or no answer and why."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.queries import NoAnswer, number_in


def answered(kind, result, **more):
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (answered("vector", [{"metric": {"a": "b"}, "value": [1700000000.1, "0.25"]}]), 0.25),
        (answered("vector", [{"metric": {}, "value": [1, "-1e-3"]}], infos=["not a counter"]), -0.001),
        (answered("scalar", [1700000000, "12"]), 12.0),
    ],
)
def test_one_number(body, number):
    assert number_in(body) == number


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answered("vector", []), "expected one sample, got none"),
        (answered("vector", [{"metric": {}, "value": [1, "1"]}] * 2), "expected one sample, got 2"),
        (answered("vector", [{"metric": {}, "value": [1, "NaN"]}]), "expected a finite number, got nan"),
        (answered("vector", [{"metric": {}, "value": [1, "+Inf"]}]), "expected a finite number, got inf"),
        (answered("vector", [{"metric": {}, "value": [1, "much"]}]), "expected an answer of Prometheus's query API"),
        (answered("vector", [{"metric": {}, "value": [1, 2]}]), "expected an answer of Prometheus's query API"),
        (answered("vector", [{"metric": {}, "histogram": [1, {}]}]), "expected an answer of Prometheus's query API"),
        (answered("matrix", []), "expected one number, got a matrix"),
        (answered("string", [1, "2"]), "expected one number, got a string"),
        (answered("scalar", [1, "2"], warnings=["a store did not answer"]), "Prometheus warns: a store did not answer"),
        (b'{"status":"error","errorType":"bad_data","error":"parse error: x"}', "Prometheus says: parse error: x"),
        (b'{"status":"error","error":"%s"}' % (b"x" * 5000), "Prometheus says: " + "x" * 200),
        (b'{"status":"error","error":"two\\nlines"}', "Prometheus says: two lines"),
        (b'{"more":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "expected an answer of Prometheus's query API"),
        (b"<html>login</html>", "expected an answer of Prometheus's query API, got something else"),
        (b"", "expected an answer of Prometheus's query API, got something else"),
        (b"[]", "expected an answer of Prometheus's query API, got something else"),
    ],
)
def test_no_answer_and_why(body, why):
    with pytest.raises(NoAnswer) as error:
        number_in(body)
    assert str(error.value).startswith(why)
    assert len(str(error.value)) < 300


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["status", "data", "result", "resultType", "value"]), inner, max_size=4),
    max_leaves=12,
).map(lambda data: json.dumps(data).encode()))  # fmt: skip
def test_whatever_comes_is_a_number_or_no_answer(body):
    with contextlib.suppress(NoAnswer):
        assert number_in(body) == number_in(body)
