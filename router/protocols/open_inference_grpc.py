"""What gRPC carries of the Open Inference Protocol: names in requests, predictions in answers.

Field numbers are those of the published `open_inference_grpc.proto`; Triton's extensions have the numbers of its
`grpc_service.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from router.protocols.output_rows import Output, predictions
from router.protocols.protocol import Prediction, Reader, Reading, Unreadable
from router.protocols.wire import FIXED32, FIXED64, LENGTH, VARINT, Malformed, fields, texts_of, varint

_MODEL_NAME, _MODEL_VERSION = 1, 2  # of ModelInferRequest, and of all requests that are about one model

TRUE: Final = b"\x08\x01"
"""A message whose first field is true: of ServerLiveResponse and ServerReadyResponse the only one."""

_OUTPUTS: Final = 5  # of ModelInferResponse
_RAW_OUTPUTS: Final = 6
_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5  # of an output
_ERROR, _ANSWER = 1, 2  # of ModelStreamInferResponse

_LITTLE_ENDIAN: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_BYTES: Final = "BYTES"

_TYPED: Final = {
    "BOOL": (1, VARINT),
    "INT8": (2, VARINT),
    "INT16": (2, VARINT),
    "INT32": (2, VARINT),
    "INT64": (3, VARINT),
    "UINT8": (4, VARINT),
    "UINT16": (4, VARINT),
    "UINT32": (4, VARINT),
    "UINT64": (5, VARINT),
    "FP32": (6, FIXED32),
    "FP64": (7, FIXED64),
    _BYTES: (8, LENGTH),
}
"""The field of InferTensorContents that has a datatype's elements, and how each is written."""

_SIGNED: Final = frozenset({"INT8", "INT16", "INT32", "INT64"})

Span = tuple[int, int]


def reader(reading: Reading) -> Reader:
    """What reads a ModelInferResponse. `prediction` and `score` are names of outputs.

    Raises:
        ValueError: `rows` is no part of this protocol.
    """
    if reading.rows:
        raise ValueError(
            "expected no answer.rows: rows of the Open Inference Protocol are the outputs' first dimension"
        )
    return partial(_predictions, reading)


def model_of(request: bytes) -> tuple[str, bool]:
    """The model that a request names, and whether it asks for one of the server's own versions. Raises Malformed."""
    name, version = texts_of(request, _MODEL_NAME, _MODEL_VERSION)
    return name, version != ""


def stream_answer(message: bytes) -> tuple[bytes, bool]:
    """The ModelInferResponse in what a stream answers, and whether it tells of an error. Raises Malformed.

    Triton wraps each answer into a ModelStreamInferResponse, which has two fields; MLServer sends them as they are,
    with their outputs in a later field.
    """
    answer, failed = b"", False
    for number, kind, begin, end in fields(message):
        if number > _ANSWER:
            return message, False
        if kind == LENGTH and number == _ANSWER:
            answer = message[begin:end]
        elif kind == LENGTH and number == _ERROR:
            failed = end > begin
    return answer, failed


def _predictions(reading: Reading, body: bytes) -> list[Prediction]:
    try:
        return predictions(_outputs(body), reading)
    except (Malformed, struct.error) as error:
        raise Unreadable(f"expected a ModelInferResponse: {error}") from None


def _outputs(body: bytes) -> list[Output]:
    tensors: list[Span] = []
    raw: list[Span] = []
    for number, kind, begin, end in fields(body):
        if kind == LENGTH and number == _OUTPUTS:
            tensors.append((begin, end))
        elif kind == LENGTH and number == _RAW_OUTPUTS:
            raw.append((begin, end))
    if raw and len(raw) != len(tensors):
        raise Unreadable("expected raw contents of all outputs, or of none")
    view = memoryview(body)
    return [
        _output(view[begin:end], view[raw[at][0] : raw[at][1]] if raw else None)
        for at, (begin, end) in enumerate(tensors)
    ]


def _output(tensor: memoryview, raw: memoryview | None) -> Output:
    name = datatype = ""
    shape: list[int] = []
    contents: list[memoryview] = []
    for number, kind, begin, end in fields(tensor):
        if number == _NAME and kind == LENGTH:
            name = _text(tensor[begin:end])
        elif number == _DATATYPE and kind == LENGTH:
            datatype = _text(tensor[begin:end])
        elif number == _SHAPE and kind in (VARINT, LENGTH):
            shape += [_signed(value) for value in (_varints(tensor[begin:end]) if kind == LENGTH else [begin])]
        elif number == _CONTENTS and kind == LENGTH:
            contents.append(tensor[begin:end])
    values: Callable[[], Sequence[float | str]]
    values = partial(_raw, datatype, raw) if raw is not None else partial(_typed, datatype, contents)
    return Output(name, tuple(shape), values)


def _raw(datatype: str, data: memoryview) -> Sequence[float | str]:
    """Elements one after another, little-endian; texts each after their length in four bytes."""
    if datatype == _BYTES:
        texts: list[float | str] = []
        at = 0
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
            if length > len(data) - at:
                raise Unreadable("expected all bytes of a text")
            texts.append(_text(data[at : at + length]))
            at += length
        return texts
    code = _LITTLE_ENDIAN.get(datatype)
    if code is None:
        raise Unreadable("expected a datatype of the Open Inference Protocol")
    count, left = divmod(len(data), struct.calcsize(f"<{code}"))
    if left:
        raise Unreadable("expected whole elements")
    return struct.unpack(f"<{count}{code}", data)


def _typed(datatype: str, contents: list[memoryview]) -> Sequence[float | str]:
    """The elements in the field of its datatype, packed or one by one."""
    if datatype not in _TYPED:
        raise Unreadable("expected a datatype of the Open Inference Protocol")
    field, written = _TYPED[datatype]
    values: list[float | str] = []
    for data in contents:
        for number, kind, begin, end in fields(data):
            if number != field:
                continue
            if written == LENGTH:
                values.append(_text(data[begin:end]))
            elif kind == written:  # one by one
                values.append(_number(datatype, begin))
            elif kind == LENGTH:
                values += _packed(datatype, data[begin:end])
    return values


def _packed(datatype: str, data: memoryview) -> Sequence[float]:
    _, written = _TYPED[datatype]
    if written == VARINT:
        return [_number(datatype, value) for value in _varints(data)]
    return _raw(datatype, data)  # type: ignore[return-value]  # numbers, both here and there


def _number(datatype: str, value: int) -> float:
    """A number as its field has it: the bits of a float, or a varint."""
    if datatype == "FP32":
        return struct.unpack("<f", struct.pack("<I", value))[0]  # type: ignore[no-any-return]
    if datatype == "FP64":
        return struct.unpack("<d", struct.pack("<Q", value))[0]  # type: ignore[no-any-return]
    return _signed(value) if datatype in _SIGNED else value


def _varints(data: memoryview) -> list[int]:
    at, end = 0, len(data)
    values = []
    while at < end:
        value, at = varint(data, at, end)
        values.append(value)
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise Unreadable("expected texts in UTF-8") from None
