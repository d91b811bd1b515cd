"""What KServe's servers and TF Serving answer by version 1 of the protocol, read as predictions."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.kserve_v1 import KserveV1
from router.protocols.protocol import Prediction, Reading, Unreadable

V1 = KserveV1()
READ = V1.reader(Reading())
NAN = math.nan


def read(answer) -> list[tuple]:
    return [(each.value, each.score) for each in READ(json.dumps(answer).encode())]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"predictions": [1, 0]}, [(1.0, NAN), (0.0, NAN)]),
        ({"predictions": [[0.5], [NAN]]}, [(0.5, NAN), (NAN, NAN)]),
        ({"predictions": [[0.2, 0.8]]}, [(1.0, 0.8)]),
        ({"predictions": [{"label": 1, "probabilities": [0.2, 0.8]}]}, [(1.0, 0.8)]),
        ({"predictions": [{"classes": [0, 1], "label": "late", "score": 0.9}]}, [("late", 0.9)]),
        ({"predictions": {"prediction": [1, 0], "score": [0.9, 0.2]}}, [(1.0, 0.9), (0.0, 0.2)]),
        ({"outputs": [[0.5], [0.25]]}, [(0.5, NAN), (0.25, NAN)]),
        ({"outputs": {"dense": [[0.2, 0.8]]}}, [(1.0, 0.8)]),
        ({"outputs": {"label": [1, 0], "score": [[0.9], [0.2]], "logits": [[1, 2, 3]]}}, [(1.0, 0.9), (0.0, 0.2)]),
        ({"results": [1.5, -1]}, [(1.5, NAN), (-1.0, NAN)]),
        ({"result": [1.5]}, [(1.5, NAN)]),
        ({"results": [[["0", 0.2], ["1", 0.8]]]}, [(1.0, 0.8)]),
        ({"results": [[["", 0.2], ["", 0.8]]]}, [(1.0, 0.8)]),
        ({"results": [[["cat", 0.1], ["dog", 0.7], ["cow", 0.2]]]}, [("dog", NAN)]),
        ({"results": [[["a", NAN], ["b", 0.1]]]}, [("b", 0.1)]),
    ],
)
def test_every_shape(answer, expected):
    assert repr(read(answer)) == repr(expected)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"{}",
        b'{"error": "Servable not found"}',
        b'{"predictions": []}',
        b'{"outputs": {}}',
        b'{"outputs": {"a": [1], "b": [2]}}',
        b'{"outputs": {"label": [1], "score": [2, 3]}}',
        b'{"results": []}',
        b'{"results": 1}',
        b'{"results": [[]]}',
        b'{"results": [["a", 1]]}',
        b'{"results": [[["a"]]]}',
        b'{"results": [null]}',
        b'{"predictions": [[1, 2]]}',
        b'{"predictions": ' + b"[" * 200_000,
        b'{"results": [[[NaN, ' + b"[" * 200_000,
    ],
)
def test_anything_else_is_unreadable_and_says_what_was_expected(body):
    with pytest.raises(Unreadable, match="expected"):
        READ(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "score", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["predictions", "outputs", "results", "result"]), JSON))
def test_whatever_stands_there_is_rows_or_unreadable(answer):
    try:
        rows = read(answer)
    except Unreadable:
        return
    assert rows
    assert all(isinstance(value, (float, str)) and not math.isinf(score) for value, score in rows)


def test_the_settings_name_fields_and_outputs():
    read = V1.reader(Reading("late", "p"))
    assert read(b'{"predictions": [{"late": 1, "p": 0.75, "label": 0}]}') == [Prediction(1.0, 0.75)]
    assert read(b'{"outputs": {"late": [1], "p": [[0.25, 0.75]], "label": [0, 0]}}') == [Prediction(1.0, 0.75)]
    with pytest.raises(ValueError, match=r"expected no answer\.rows"):
        V1.reader(Reading(rows="predictions"))


@pytest.mark.parametrize(
    ("method", "path", "is_one", "model", "pins"),
    [
        (b"POST", b"/v1/models/m:predict", True, b"m", False),
        (b"POST", b"/v1/models/m:classify", True, b"m", False),
        (b"POST", b"/v1/models/m:regress", True, b"m", False),
        (b"POST", b"/v1/models/m%3Apredict", True, b"m", False),
        (b"POST", b"/v1/models/m/versions/3:predict", True, b"m", True),
        (b"POST", b"/v1/models/m/labels/stable:predict", True, b"m", True),
        (b"POST", b"/v1/models/m:explain", False, b"m", False),
        (b"GET", b"/v1/models/m:predict", False, b"m", False),
        (b"GET", b"/v1/models/m", False, b"m", False),
        (b"GET", b"/v1/models/m/metadata", False, b"m", False),
        (b"GET", b"/v1/models/m/versions/3", False, b"m", True),
        (b"GET", b"/v1/models/m/versions/3/metadata", False, b"m", True),
        (b"POST", b"/v1/models/m:predict/more", False, b"m", False),
        (b"GET", b"/v1/models", False, None, False),
        (b"GET", b"/", False, None, False),
        (b"POST", b"/v1/models/:predict", False, None, False),
        (b"POST", b"/v2/models/m/infer", False, None, False),
    ],
)
def test_paths(method, path, is_one, model, pins):
    found = V1.calls_for_prediction(method, path), V1.model_in_path(path), V1.pins_version(path)
    assert found == (is_one, model, pins)
