"""What servers of the Open Inference Protocol answer over HTTP, in JSON and with binary tensors, as predictions."""
# ruff: noqa: E501 - a case is a line

import json
import math
import struct

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st

from router.protocols import tensors
from router.protocols.open_inference import OpenInference
from router.protocols.protocol import Prediction, Reading, Unreadable
from router.protocols.rows import names_of

V2 = OpenInference()
READ = V2.reader(Reading())
NAN = math.nan


def output(name, shape, data, datatype="FP64"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def answer(*outputs, **more) -> bytes:
    return json.dumps({"model_name": "m", "model_version": "1", "id": "x", **more, "outputs": outputs}).encode()


def read(*outputs, reading=None) -> list[tuple]:
    reader = READ if reading is None else V2.reader(reading)
    return [(each.value, each.score) for each in reader(answer(*outputs))]


def same(found, expected) -> bool:
    return repr(found) == repr(expected)  # NaN is not equal to itself, but is written alike


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([output("output-0", [2], [1, 0], "INT64")], [(1.0, NAN), (0.0, NAN)]),
        ([output("dense", [2, 1], [0.5, 0.25])], [(0.5, NAN), (0.25, NAN)]),
        ([output("dense", [2, 1], [[0.5], [0.25]])], [(0.5, NAN), (0.25, NAN)]),
        ([output("dense", [2, 1, 1], [[[0.5]], [[0.25]]])], [(0.5, NAN), (0.25, NAN)]),
        ([output("x", [], [3])], [(3.0, NAN)]),
        ([output("x", [1], [True], "BOOL")], [(1.0, NAN)]),
        ([output("x", [2, 1], ["late", "on time"], "BYTES")], [("late", NAN), ("on time", NAN)]),
        ([output("x", [2], [NAN, math.inf])], [(NAN, NAN), (math.inf, NAN)]),
        ([output("x", [2], [None, 1])], [(NAN, NAN), (1.0, NAN)]),
        ([output("probabilities", [2, 2], [0.2, 0.8, 0.9, 0.1])], [(1.0, 0.8), (0.0, 0.1)]),
        ([output("dense", [1, 3], [[0.1, 0.2, 0.7]])], [(2.0, NAN)]),
        ([output("predict", [1, 1], [1]), output("predict_proba", [1, 2], [0.3, 0.7])], [(1.0, 0.7)]),
        ([output("output_label", [1], [1]), output("output_probability", [1, 2], [0.3, 0.7])], [(1.0, 0.7)]),
        ([output("label", [2], [1, 0]), output("score", [2, 1], [0.9, NAN]), output("x", [9], [])], [(1.0, 0.9), (0.0, NAN)]),
        ([output("probabilities", [1, 2], [0.3, 0.7]), output("embedding", [1, 9], [0] * 9)], [(1.0, 0.7)]),
    ],
)  # fmt: skip
def test_every_shape_of_outputs(outputs, expected):
    assert same(read(*outputs), expected)


def test_the_settings_name_outputs():
    outputs = output("a", [1], [1]), output("b", [1, 2], [0.25, 0.75]), output("prediction", [1], [0])
    assert read(*outputs, reading=Reading("a", "b")) == [(1.0, 0.75)]
    assert read(*outputs, reading=Reading(score="b")) == [(0.0, 0.75)]
    with pytest.raises(Unreadable, match="expected one output, or one named late"):
        read(*outputs, reading=Reading("late"))
    with pytest.raises(ValueError, match=r"expected no answer\.rows"):
        V2.reader(Reading(rows="a"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"error": "no such model"}',
        b"<html>502 Bad Gateway</html>",
        b'{"outputs": []}',
        b'{"outputs": [1]}',
        b'{"outputs": {}}',
        answer(output("x", [0], [])),
        answer(output("x", [2], [1])),
        answer(output("x", [-1], [1])),
        answer(output("x", [-1, -1], [1])),
        answer(output("x", [1] * 9, [1])),
        answer(output("x", [2**70], [1])),
        answer(output("x", [1, 2], [0.5, 0.6])),
        answer(output("x", [1, 2, 2], [0.25] * 4)),
        answer(output("x", [1, 0], [])),
        answer(output("x", [2, 1], [[1], 2])),
        answer(output("x", [1], [[1]])),
        answer(output("x", [1], [{}])),
        answer(output("a", [1], [1]), output("b", [1], [1])),
        answer(output("label", [2], [1, 0]), output("score", [1], [0.5])),
        answer({"name": "x", "shape": [1], "datatype": "FP32"}),
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}),
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}) + b"123",
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}) + b"12345",
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": -4}}) + b"1234",
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": True}}) + b"1",
        answer({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 3}}) + b"123",
        answer({"name": "x", "shape": [1], "datatype": "FP31", "parameters": {"binary_data_size": 4}}) + b"1234",
        answer({"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}) + b"\1\0\0\0\xff",
        answer({"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}) + b"\2\0\0\0a",
        answer({"name": "x", "shape": [2**60], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}) + b"\1\0\0\0a",
        answer(output("x", [1], [1])) + b" and more",
        b'{"outputs": ' + b"[" * 200_000,
        b'{"outputs": [NaN, ' + b"[" * 200_000,
    ],
)  # fmt: skip
def test_anything_else_is_unreadable_and_says_what_was_expected(body):
    with pytest.raises(Unreadable, match="expected"):
        READ(body)


def binary(*outputs, names=("prediction", "score")) -> bytes:
    """As a server writes it, for (datatype, shape, bytes)."""
    told = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
        for name, (datatype, shape, raw) in zip(names, outputs, strict=False)
    ]
    head = json.dumps({"model_name": 'm "é" {[', "outputs": told}, ensure_ascii=False).encode()
    return head + b"".join(raw for _, _, raw in outputs)


@pytest.mark.parametrize(
    ("datatype", "dtype", "values"),
    [
        ("BOOL", "?", [True, False]),
        ("UINT8", "<u1", [0, 255]),
        ("UINT16", "<u2", [0, 65535]),
        ("UINT32", "<u4", [0, 2**32 - 1]),
        ("UINT64", "<u8", [0, 2**53]),
        ("INT8", "<i1", [-128, 127]),
        ("INT16", "<i2", [-(2**15), 2**15 - 1]),
        ("INT32", "<i4", [-(2**31), 2**31 - 1]),
        ("INT64", "<i8", [-(2**53), 2**53]),
        ("FP16", "<f2", [-0.5, 1.0]),
        ("FP32", "<f4", [-0.5, 1.25]),
        ("FP64", "<f8", [-0.1, 1e300]),
    ],
)
def test_every_datatype_in_binary_and_in_json(datatype, dtype, values):
    body = binary((datatype, [2, 1], np.array(values, dtype).tobytes()))
    assert [each.value for each in READ(body)] == [float(value) for value in values]
    assert [value for value, _ in read(output("x", [2], values, datatype))] == [float(value) for value in values]


def test_bfloat16_and_texts_in_binary():
    halves = b"".join(struct.pack("<f", value)[2:] for value in (1.5, -2.0))
    assert [each.value for each in READ(binary(("BF16", [2], halves)))] == [1.5, -2.0]
    texts = b"".join(struct.pack("<I", len(text)) + text for text in ("spät".encode(), b""))
    assert [each.value for each in READ(binary(("BYTES", [2, 1], texts)))] == ["spät", ""]


def test_json_and_binary_outputs_in_one_answer():
    raw = np.array([0.25, 0.75], "<f4").tobytes()
    told = [
        output("label", [1], [1], "INT64"),
        {"name": "score", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
    ]
    assert READ(answer(*told) + raw) == [Prediction(1.0, 0.75)]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=1, max_size=50), st.binary(max_size=9)
)
def test_what_tritons_client_reads_of_an_answer_is_what_we_read(rows, tail):
    labels, scores = (
        np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), ("<i8", "<f4"), strict=True)
    )
    extra = struct.pack("<I", len(tail)) + tail
    body = binary(
        ("INT64", [len(rows), 1], labels.tobytes()),
        ("FP32", [len(rows)], scores.tobytes()),
        ("BYTES", [1], extra),
        names=("label", "score", "more"),
    )
    seen = triton.InferResult.from_response_body(
        body, header_length=len(body) - labels.nbytes - scores.nbytes - len(extra)
    )
    ours = READ(body)
    assert [each.value for each in ours] == seen.as_numpy("label").ravel().tolist()
    assert [each.score for each in ours] == seen.as_numpy("score").tolist()


@given(
    st.binary()
    | st.binary().map(lambda tail: b'{"outputs": [' + tail)
    | st.binary().map(lambda tail: answer(output("x", [1], [1])) + tail)
)
def test_no_body_raises_anything_but_unreadable(body):
    try:
        predictions = READ(body)
    except Unreadable:
        return
    assert predictions
    assert all(isinstance(each, Prediction) for each in predictions)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
ODD = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["prediction", "score", "x"]),
            "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
            "datatype": st.sampled_from(["BOOL", "INT64", "FP16", "BF16", "BYTES", "?"]),
        },
        optional={"data": st.lists(JSON, max_size=4), "parameters": st.fixed_dictionaries({"binary_data_size": JSON | st.integers(0, 9)})},
    ),
    max_size=3,
)  # fmt: skip


@given(ODD, st.binary(max_size=24))
def test_whatever_stands_in_outputs_is_rows_or_unreadable(outputs, tail):
    try:
        rows = READ(answer(*outputs) + tail)
    except Unreadable:
        return
    assert rows
    assert all(isinstance(each.value, (float, str)) and not math.isinf(each.score) for each in rows)


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.integers(0, 3))
def test_numbers_come_back_in_their_order_however_nested(values, depth):
    data = values
    for _ in range(depth):
        data = [[item] for item in data]
    tensor = tensors.nested("FP64", (len(values), *[1] * depth), data)
    assert [each.value for each in tensors.predictions(tensor, None)] == values
    assert tensors.chosen(("x",), names_of(Reading())) == (0, None)


@pytest.mark.parametrize(
    ("method", "path", "is_one", "model", "pins"),
    [
        (b"POST", b"/v2/models/m/infer", True, b"m", False),
        (b"POST", b"/v2/models/m/versions/3/infer", True, b"m", True),
        (b"GET", b"/v2/models/m/infer", False, b"m", False),
        (b"POST", b"/v2/models/m/infer/", False, b"m", False),
        (b"POST", b"/v2/models/m/generate", False, b"m", False),
        (b"GET", b"/v2/models/m", False, b"m", False),
        (b"GET", b"/v2/models/m/ready", False, b"m", False),
        (b"GET", b"/v2/models/m/versions/3/ready", False, b"m", True),
        (b"GET", b"/v2/models/m/versions/3", False, b"m", True),
        (b"GET", b"/v2/models/versions/infer", False, b"versions", False),
        (b"POST", b"/v2/models/late%20arrival/infer", True, b"late%20arrival", False),
        (b"GET", b"/v2/health/ready", False, None, False),
        (b"GET", b"/v2", False, None, False),
        (b"POST", b"/v2/repository/index", False, None, False),
        (b"POST", b"/v2/models//infer", False, None, False),
        (b"POST", b"/invocations", False, None, False),
    ],
)
def test_paths(method, path, is_one, model, pins):
    assert (V2.calls_for_prediction(method, path), V2.model_in_path(path), V2.pins_version(path)) == (
        is_one,
        model,
        pins,
    )
