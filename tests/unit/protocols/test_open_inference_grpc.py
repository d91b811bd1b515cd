"""Our reader of the wire against protobuf's own, by the messages that Triton's client is built of."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.open_inference_grpc import MOST_LOOKED_AT, model_of, reader, stream_answer, table
from router.protocols.protocol import Asking, Prediction, Reading, Unreadable
from router.protocols.request_rows import MOST_COLUMNS, MOST_ROWS
from router.protocols.select import protocol
from router.protocols.wire import Malformed, fields, text_field, varint, varints

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
    return with_tensors(message, message.outputs, outputs)


def with_tensors(message, of_message, tensors):
    for name, datatype, shape, contents in tensors:
        tensor = of_message.add(name=name, datatype=datatype, shape=shape)
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
        ([("a", "INT64", [-1], {"int64_contents": [1]})], Reading(), "each from 0 to"),
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


def test_a_proxy_looks_at_fewer_fields_than_are_read_where_nobody_waits():
    body = asked(*[ONE] * MOST_COLUMNS, raw=[bytes(8)] * MOST_COLUMNS)
    assert model_of(body) == ("m", False)
    named = text_field(1, "no") * MOST_LOOKED_AT  # all in one field, of which the last counts
    assert (model_of(named), stream_answer(named)) == (("no", False), (b"", True))
    more = named + text_field(1, "no")
    for look in model_of, stream_answer:
        with pytest.raises(Malformed, match="at most 10000 fields"):
            look(more)
    assert len(list(fields(more))) == MOST_LOOKED_AT + 1


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


# ---- requests


def asked(*inputs, raw=()):
    message = pb.ModelInferRequest(model_name="m", id="x", raw_input_contents=raw)
    return with_tensors(message, message.inputs, inputs)


def of_http(*inputs):
    """What the same request in JSON comes to."""
    told = [
        {"name": name, "datatype": datatype, "shape": shape, "data": data} for name, datatype, shape, data in inputs
    ]
    return protocol("open_inference").tables(Asking())(json.dumps({"inputs": told}).encode(), "")


FLOATS = {"FP32": ("fp32_contents", "f", 32), "FP64": ("fp64_contents", "d", 64)}
DATATYPES = [*sorted(RANGES), *FLOATS, "BYTES"]


@st.composite
def columns(draw, rows):
    """A column's name and datatype, its values, as they are in typed contents, and raw."""
    datatype, count = draw(st.sampled_from(DATATYPES)), {"min_size": rows, "max_size": rows}
    if datatype == "BYTES":
        values = draw(st.lists(st.text(max_size=4), **count))
        coded = [value.encode() for value in values]
        raw = b"".join(struct.pack("<I", len(each)) + each for each in coded)
        return datatype, values, {"bytes_contents": coded}, raw
    if datatype in FLOATS:
        field, code, width = FLOATS[datatype]
        values = draw(st.lists(st.floats(width=width, allow_nan=False, allow_infinity=False), **count))
    else:
        low, high, field, code = RANGES[datatype]
        values = draw(st.lists(st.booleans() if datatype == "BOOL" else st.integers(low, high), **count))
    return datatype, values, {field: values}, struct.pack(f"<{rows}{code}", *values)


@given(st.data(), st.integers(1, 5), st.booleans())
def test_typed_and_raw_inputs_are_the_columns_that_they_are_in_json(data, rows, flat):
    drawn = data.draw(st.lists(columns(rows), min_size=1, max_size=4))
    shape = [rows] if flat else [rows, 1]
    named = [(f"c{index}", *each) for index, each in enumerate(drawn)]
    typed = table(asked(*((name, datatype, shape, contents) for name, datatype, _, contents, _ in named)))
    raw = table(asked(*((name, datatype, shape, {}) for name, datatype, *_ in named), raw=[each[-1] for each in named]))
    assert typed == raw == of_http(*((name, datatype, shape, values) for name, datatype, values, *_ in named))
    assert typed.rows == rows
    kinds = [[type(value) for value in typed.columns[name]] for name, *_ in named]
    assert kinds == [[type(value) for value in raw.columns[name]] for name, *_ in named]
    assert kinds == [[type(value) for value in values] for _, _, values, *_ in named]


def test_of_more_rows_the_first_are_read_and_a_tensor_of_several_columns_has_no_names():
    rows = MOST_ROWS + 5
    found = table(asked(("x", "INT64", [rows], {"int64_contents": range(rows)})))
    assert (found.rows, list(found.columns["x"])) == (rows, list(range(MOST_ROWS)))
    found = table(asked(("x", "FP32", [2, 2], {"fp32_contents": [1, 2, 3, 4]})))
    assert (found.rows, found.columns) == (2, {})


ONE = ("a", "INT64", [1], {"int64_contents": [1]})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asked(), "the same number of rows"),
        (asked(("a", "INT64", [], {"int64_contents": [1]})), "the same number of rows"),
        (asked(ONE, ("b", "INT64", [2], {"int64_contents": [1, 2]})), "the same number of rows"),
        (asked(ONE, ONE), "each once"),
        (asked(*[ONE] * (MOST_COLUMNS + 1)), "at most 2000 tensors"),
        (asked(("a", "INT64", [1], {})), "1 values of INT64, not 0"),
        (asked(("a", "INT64", [2**30], {"int64_contents": [1]})), "values of INT64, not 1"),
        (asked(("a", "FP16", [1], {"fp32_contents": [1.0]})), "datatype"),
        (asked(("a", "INT64", [1], {}), ("b", "INT64", [1], {}), raw=[b"\0" * 8]), "of all tensors, or of none"),
        (asked(("a", "INT64", [1], {}), raw=[b"\0" * 7]), "8 bytes of INT64, not 7"),
        (b"\xff", "a ModelInferRequest"),
    ],
)
def test_what_is_no_table_is_said(request_, expected):
    with pytest.raises(Unreadable, match=expected):
        table(request_)


@given(st.data())
def test_a_damaged_request_is_a_table_or_unreadable(data):
    body = bytearray(
        asked(
            ("a", "INT64", [2], {"int64_contents": [1, -2]}),
            ("b", "BYTES", [2], {"bytes_contents": [b"x", b"y"]}),
            ("c", "FP32", [2, 1], {"fp32_contents": [1, 2]}),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = table(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except Unreadable:
        return
    assert all(len(values) == min(found.rows, MOST_ROWS) for values in found.columns.values())


@given(st.binary(max_size=40))
def test_packed_numbers_are_those_that_are_read_one_by_one(data):
    one_by_one, at = [], 0
    try:
        while at < len(data):
            number, at = varint(data, at, len(data))
            one_by_one.append(number)
    except Malformed:
        with pytest.raises(Malformed):
            varints(memoryview(data))
    else:
        assert varints(memoryview(data)) == one_by_one
