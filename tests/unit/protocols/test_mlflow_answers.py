"""What MLflow's scoring server answers, read as predictions."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.mlflow import Mlflow
from router.protocols.protocol import Prediction, Reading, Unreadable
from router.protocols.select import NAMES, protocol

MLFLOW = Mlflow()
READ = MLFLOW.reader(Reading())


def read(predictions) -> list[tuple]:
    return [(each.value, each.score) for each in READ(json.dumps({"predictions": predictions}).encode())]


def same(found, expected) -> bool:
    return repr(found) == repr(expected)  # NaN is not equal to itself, but is written alike


NAN = math.nan


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([1, 0], [(1.0, NAN), (0.0, NAN)]),
        ([0.25], [(0.25, NAN)]),
        ([True, False], [(1.0, NAN), (0.0, NAN)]),
        (["late", "on time"], [("late", NAN), ("on time", NAN)]),
        ([None, 1], [(NAN, NAN), (1.0, NAN)]),
        ([NAN, math.inf, -math.inf], [(NAN, NAN), (math.inf, NAN), (-math.inf, NAN)]),
        ([[1], ["late"]], [(1.0, NAN), ("late", NAN)]),
        ([[0.2, 0.8], [0.9, 0.1]], [(1.0, 0.8), (0.0, 0.1)]),
        ([[0.1, 0.2, 0.7]], [(2.0, NAN)]),
        ([{"prediction": 1, "score": 0.9, "more": "x"}], [(1.0, 0.9)]),
        ([{"prediction": 0, "probability": [0.7, 0.3]}], [(0.0, 0.3)]),
        ([{"label": "late", "score": 0.6}], [("late", 0.6)]),
        ([{"0": 1}], [(1.0, NAN)]),
        ([{"prediction": 1, "score": NAN}], [(1.0, NAN)]),
        ([{"prediction": 1, "score": "high"}], [(1.0, NAN)]),
        ([{"prediction": None, "score": 0.5}], [(NAN, 0.5)]),
        ({"prediction": [1, 0], "score": [0.8, 0.2]}, [(1.0, 0.8), (0.0, 0.2)]),
        ({"late": [1, 0]}, [(1.0, NAN), (0.0, NAN)]),
        ({"prediction": 1, "score": 0.8}, [(1.0, 0.8)]),
        (1, [(1.0, NAN)]),
        ("late", [("late", NAN)]),
        ([10**18], [(1e18, NAN)]),
    ],
)
def test_every_shape_that_mlflow_writes(predictions, expected):
    assert same(read(predictions), expected)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1, 0]",
        b"{}",
        b'{"error": "no such model"}',
        b"<html>502 Bad Gateway</html>",
        b'{"predictions": []}',
        b'{"predictions": {}}',
        b'{"predictions": [[]]}',
        b'{"predictions": [{}]}',
        b'{"predictions": [[1, 2]]}',  # two outputs are not two probabilities
        b'{"predictions": [[0.5, 0.5, 0.5]]}',
        b'{"predictions": [[-0.5, 1.5]]}',
        b'{"predictions": [[["deep"]]]}',
        b'{"predictions": [{"prediction": {"value": 1}}]}',
        b'{"predictions": [{"a": 1, "b": 2}]}',
        b'{"predictions": {"prediction": [1, 0], "score": [0.5]}}',
        b'{"predictions": {"prediction": [1, 0], "score": 0.5}}',
        b'{"predictions": [1',
        b'{"predictions": [NaN',
        b'{"predictions": [1]} and more',
        b'{"predictions": ["\xff"]}',
        b'{"predictions": [NaN, "\xff"]}',
        b'{"predictions": ' + b"[" * 200_000,
        b'{"predictions": [NaN, ' + b"[" * 200_000,
        b'{"predictions": [' + b"9" * 5000 + b"]}",
        b'{"predictions": [NaN, ' + b"9" * 5000 + b"]}",
    ],
)
def test_anything_else_is_unreadable_and_says_what_was_expected(body):
    with pytest.raises(Unreadable, match="expected"):
        READ(body)


def test_an_integer_beyond_the_floats_is_infinite_not_an_error():
    body = b'{"predictions": [NaN, ' + b"9" * 400 + b", -" + b"9" * 400 + b"]}"
    assert [each.value for each in READ(body)][1:] == [math.inf, -math.inf]


@given(st.binary() | st.binary().map(lambda tail: b'{"predictions": [' + tail))
def test_no_body_raises_anything_but_unreadable(body):
    try:
        predictions = READ(body)
    except Unreadable:
        return
    assert predictions
    assert all(isinstance(each, Prediction) for each in predictions)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["prediction", "label", "score", "probability", "x"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_stands_under_predictions_is_rows_or_unreadable(predictions):
    try:
        rows = read(predictions)
    except Unreadable:
        return
    assert rows
    assert all(isinstance(value, (float, str)) and (math.isfinite(score) or math.isnan(score)) for value, score in rows)


@given(st.lists(st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_numbers_and_texts_come_back_in_their_order(rows):
    assert [value for value, _ in read(rows)] == rows


@pytest.mark.parametrize(
    ("method", "path", "is_one"),
    [
        (b"POST", b"/invocations", True),
        (b"GET", b"/invocations", False),
        (b"POST", b"/invocations/", False),
        (b"GET", b"/ping", False),
        (b"POST", b"/ping", False),
        (b"GET", b"/health", False),
        (b"GET", b"/version", False),
    ],
)
def test_only_post_invocations_calls_for_a_prediction(method, path, is_one):
    assert MLFLOW.calls_for_prediction(method, path) is is_one
    assert MLFLOW.model_in_path(path) is None


def test_protocols_by_name():
    assert {name: protocol(name).name for name in NAMES} == {name: name for name in NAMES}
    assert protocol("mlflow") is protocol("mlflow")
    with pytest.raises(ValueError, match="expected a protocol"):
        protocol("soap")


def test_a_proxy_can_import_protocols_without_heavy_modules():
    code = "import sys, router.protocols.select; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"numpy", "mlflow", "json", "pydantic", "httpx", "asyncio"} & set(loaded.split())


def test_a_record_says_its_prediction_where_the_settings_say():
    read = MLFLOW.reader(Reading(prediction="late", score="p"))
    assert read(b'{"predictions": [{"late": 1, "p": 0.75, "prediction": 0}]}') == [Prediction(1.0, 0.75)]
    assert read(b'{"predictions": {"late": [1, 0], "p": [0.75, 0.5]}}') == [Prediction(1.0, 0.75), Prediction(0.0, 0.5)]
    with pytest.raises(Unreadable, match="expected a row"):
        read(b'{"predictions": [{"prediction": 1, "p": 0.5}]}')


def test_rows_of_mlflow_have_no_place_of_their_own():
    with pytest.raises(ValueError, match=r"expected no answer\.rows"):
        MLFLOW.reader(Reading(rows="/predictions"))
