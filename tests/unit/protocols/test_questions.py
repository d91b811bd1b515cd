"""How the gate in staging asks, by protocol."""

import json
import math

import pytest

from router.protocols.protocol import Asking
from router.protocols.select import NAMES, protocol

NOTHING = Asking()
TYPES = {"x": "double", "n": "long", "s": "string", "b": "boolean"}
ROWS = [{"x": 1.5, "n": 2, "s": "a", "b": True}, {"x": math.nan, "n": None, "s": None, "b": False}]


def questions(name, asking=NOTHING):
    return protocol(name).questions("late arrival", TYPES, asking)


def test_any_json():
    asked = questions("json", Asking("/in/rows~1all", "/predict"))
    assert asked.path == "/predict"
    assert json.loads(asked.of(["n", "x"], ROWS)) == {"in": {"rows/all": [{"n": 2, "x": 1.5}, {"n": None, "x": None}]}}
    assert json.loads(asked.text_for_rows(["n"])) == {"in": {"rows/all": "no rows"}}
    assert asked.shapes(["n"], ROWS) == {}
    assert json.loads(questions("json", Asking("#", "/")).of(["n"], ROWS)) == [{"n": 2}, {"n": None}]
    assert json.loads(questions("json", Asking("/inputs/0/rows", "/")).of(["n"], ROWS[:1])) == {
        "inputs": [{"rows": [{"n": 2}]}]
    }
    for rows in ("/inputs/1", "/inputs/-"):
        with pytest.raises(ValueError, match="no index but 0"):
            questions("json", Asking(rows, "/"))
    assert questions("json", Asking("/rows")) is questions("json", Asking(path="/predict")) is None


def test_mlflow():
    asked = questions("mlflow")
    assert asked.path == "/invocations"
    split = {"columns": ["n", "x"], "data": [[2, 1.5], [None, None]]}
    assert json.loads(asked.of(["n", "x"], ROWS)) == {"dataframe_split": split}
    assert asked.example(b"as it is") == b"as it is"


def test_kserve_v1():
    asked = questions("kserve_v1")
    assert asked.path == "/v1/models/late%20arrival:predict"
    assert json.loads(asked.of(["n", "x"], ROWS)) == {"instances": [{"n": 2, "x": 1.5}, {"n": None, "x": None}]}
    assert json.loads(asked.of(["n"], [])) == {"instances": []}
    assert json.loads(asked.text_for_rows(["n"])) == {"instances": "no rows"}


def test_open_inference():
    asked = questions("open_inference")
    assert asked.path == "/v2/models/late%20arrival/infer"
    text = {"content_type": "str"}
    assert json.loads(asked.of([*TYPES, "more"], [{**row, "more": 1} for row in ROWS])) == {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": "x", "shape": [2, 1], "datatype": "FP64", "data": [1.5, None]},
            {"name": "n", "shape": [2, 1], "datatype": "INT64", "data": [2, None]},
            {"name": "s", "shape": [2, 1], "datatype": "BYTES", "data": ["a", None], "parameters": text},
            {"name": "b", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]},
            {"name": "more", "shape": [2, 1], "datatype": "INT64", "data": [1, 1]},
        ],
    }
    assert json.loads(asked.of(["n"], []))["inputs"] == [
        {"name": "n", "shape": [0, 1], "datatype": "INT64", "data": []}
    ]
    assert [each["data"] for each in json.loads(asked.text_for_rows(["n", "x"]))["inputs"]] == ["no rows", "no rows"]


@pytest.mark.parametrize("name", ["kserve_v1", "open_inference", "json"])
def test_the_logged_example_is_asked_again(name):
    asked = questions(name, Asking("/rows", "/predict"))
    logged = {"dataframe_split": {"columns": ["x", "n"], "data": [[1.5, 2], [0.5, 3]]}}
    expected = asked.of(["x", "n"], [{"x": 1.5, "n": 2}, {"x": 0.5, "n": 3}])
    assert asked.example(json.dumps(logged).encode()) == expected
    for other in (
        b"",
        b"[]",
        b'{"inputs": [1]}',
        b'{"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}',
        b"[" * 99999,
    ):
        assert asked.example(other) is None


def test_who_cannot_ask():
    assert [name for name in NAMES if questions(name) is None] == ["openai", "json"]
