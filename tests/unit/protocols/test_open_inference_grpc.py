"""Our reader of the wire against protobuf's own, by the messages that Triton's client is built of."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.open_inference_grpc import model_of, reader, stream_answer
from router.protocols.protocol import Prediction, Reading, Unreadable
from router.protocols.wire import Malformed, fields, text_field

pb = pytest.importorskip("tritonclient.grpc.service_pb2", reason="tritonclient is not installed")

RANGES = {
    "INT8": (-(2**7), 2**7 - 1, "int_contents", "b"),
    "INT16": (-(2**15), 2**15 - 1, "int_contents", "h"),
    "INT32": (-(2**31), 2**31 - 1, "int_contents", "i"),
    "INT64": (-(2**63), 2**63 - 1, "int64_contents", "q"),
    "UINT8": (0, 2**8 - 1, "uint_contents", "B"),
    "UINT32": (0, 2**32 - 1, "uint_contents", "I"),
    "UINT64": (0, 2**64 - 1, "uint64_contents", "Q"),
    "BOOL": (0, 1, "bool_contents", "?"),
}


def answer(*outputs, raw=()):
    message = pb.ModelInferResponse(model_name="m", model_version="3", id="x", raw_output_contents=raw)
    for name, datatype, shape, contents in outputs:
        tensor = message.outputs.add(name=name, datatype=datatype, shape=shape)
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
    return message.SerializeToString()


def read(body, prediction="", score=""):
    return [(row.value, row.score) for row in reader(Reading(prediction, score))(body)]


def values(body):
    return [value for value, _ in read(body)]


@given(st.data(), st.sampled_from(sorted(RANGES)))
def test_whole_numbers_are_what_protobuf_wrote_typed_or_raw(data, datatype):
    low, high, field, code = RANGES[datatype]
    numbers = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=40))
    typed = answer(("y", datatype, [len(numbers)], {field: numbers}))
    raw = answer(("y", datatype, [len(numbers)], {}), raw=[struct.pack(f"<{len(numbers)}{code}", *numbers)])
    assert values(typed) == values(raw) == [float(number) for number in numbers]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_floats_are_what_protobuf_wrote(numbers):
    count = [len(numbers), 1]
    assert values(answer(("y", "FP32", count, {"fp32_contents": numbers}))) == numbers
    assert values(answer(("y", "FP64", count, {"fp64_contents": numbers}))) == numbers
    assert values(answer(("y", "FP32", count, {}), raw=[struct.pack(f"<{len(numbers)}f", *numbers)])) == numbers


@given(st.lists(st.text(max_size=12), min_size=1, max_size=12))
def test_texts_are_what_protobuf_wrote(texts):
    coded = [text.encode() for text in texts]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in coded)
    assert values(answer(("y", "BYTES", [len(texts)], {"bytes_contents": coded}))) == texts
    assert values(answer(("y", "BYTES", [len(texts)], {}), raw=[raw])) == texts


def test_a_row_of_two_probabilities_is_the_likelier_class_with_the_second_as_its_score():
    body = answer(("y", "FP64", [2, 2], {"fp64_contents": [0.9, 0.1, 0.25, 0.75]}))
    assert read(body) == [(0.0, 0.1), (1.0, 0.75)]
    three = answer(("y", "FP64", [1, 3], {"fp64_contents": [0.1, 0.2, 0.7]}))
    ((value, score),) = read(three)
    assert value == 2.0
    assert math.isnan(score)


def test_of_several_outputs_the_names_say_which_is_which():
    outputs = [
        ("embedding", "FP32", [2, 3], {"fp32_contents": [9.0] * 6}),
        ("predict", "INT64", [2], {"int64_contents": [1, 0]}),
        ("probabilities", "FP64", [2, 2], {"fp64_contents": [0.2, 0.8, 0.6, 0.4]}),
        ("other", "INT64", [2], {"int64_contents": [5, 6]}),
    ]
    assert read(answer(*outputs)) == [(1.0, 0.8), (0.0, 0.4)]
    assert read(answer(*outputs), prediction="other", score="predict") == [(5.0, 1.0), (6.0, 0.0)]


@pytest.mark.parametrize(
    ("outputs", "reading", "expected"),
    [
        ([], Reading(), "expected one output"),
        ([("a", "INT64", [1], {}), ("b", "INT64", [1], {})], Reading(), "or one named prediction or"),
        ([("a", "INT64", [1], {}), ("b", "INT64", [1], {})], Reading("c"), "or one named c"),
        ([("a", "INT64", [2], {"int64_contents": [1]})], Reading(), "2 values of INT64, not 1"),
        ([("a", "INT64", [0], {})], Reading(), "at least one row"),
        ([("a", "INT64", [-1], {"int64_contents": [1]})], Reading(), "none of them below 0"),
        ([("a", "FP64", [1, 2], {"fp64_contents": [1.0, 2.0]})], Reading(), "probabilities"),
        ([("a", "FP8", [1], {"fp64_contents": [1.0]})], Reading(), "datatype"),
        ([("a", "BYTES", [1], {"bytes_contents": [b"\xff"]})], Reading(), "UTF-8"),
    ],
)
def test_what_is_no_prediction_is_said(outputs, reading, expected):
    with pytest.raises(Unreadable, match=expected):
        reader(reading)(answer(*outputs))


def test_rows_is_no_word_of_this_protocol():
    with pytest.raises(ValueError, match=r"no answer\.rows"):
        reader(Reading(rows="x"))


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_read_or_unreadable(body):
    try:
        rows = reader(Reading())(body)
    except Unreadable:
        return
    assert rows
    assert all(isinstance(row, Prediction) for row in rows)


@given(st.data())
def test_a_damaged_answer_is_read_or_unreadable(data):
    body = bytearray(answer(("y", "INT64", [3], {"int64_contents": [1, -2, 3]}), raw=[]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        reader(Reading())(cut)
    except Unreadable:
        return


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=40))
def test_the_models_name_is_found_where_protobuf_finds_it(first, last, raw):
    request = pb.ModelInferRequest(model_name=first, id="some", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1.0, 2.0])
    body = request.SerializeToString()
    assert model_of(body) == (first, False)
    twice = body + text_field(1, last) + text_field(2, "7")
    assert model_of(twice) == (pb.ModelInferRequest.FromString(twice).model_name, True) == (last, True)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_malformed(data):
    try:
        for number, _, begin, end in fields(data):
            assert number > 0
            assert begin >= 0
            assert end <= len(data)
    except Malformed:
        pass


def test_an_answer_in_a_stream():
    inner = pb.ModelInferResponse(model_name="m")
    assert stream_answer(pb.ModelStreamInferResponse(infer_response=inner).SerializeToString()) == (
        inner.SerializeToString(),
        False,
    )
    plain = answer(("y", "INT64", [1], {"int64_contents": [1]}))
    assert stream_answer(plain) == (plain, False)  # as MLServer sends it
    assert stream_answer(pb.ModelStreamInferResponse(error_message="no").SerializeToString()) == (b"", True)
