"""What gRPC carries of the Open Inference Protocol: names in requests, predictions in answers.

Field numbers are those of the published `open_inference_grpc.proto`; Triton's extensions have the numbers of its
`grpc_service.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from router.protocols.protocol import Prediction, Reader, Reading, Unreadable
from router.protocols.rows import Names, names_of
from router.protocols.wire import FIXED32, FIXED64, LENGTH, VARINT, Malformed, fields, texts_of, varint

_MODEL_NAME, _MODEL_VERSION = 1, 2  # of ModelInferRequest, and of all requests that are about one model

TRUE: Final = b"\x08\x01"
"""A message whose first field is true: of ServerLiveResponse and ServerReadyResponse the only one."""

_OUTPUTS: Final = 5  # of ModelInferResponse
_RAW_OUTPUTS: Final = 6
_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5  # of an output
_ERROR, _ANSWER = 1, 2  # of ModelStreamInferResponse

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


def reader(reading: Reading) -> Reader:
    """What reads a ModelInferResponse. `prediction` and `score` are names of outputs.

    Raises:
        ValueError: `rows` is no part of this protocol.
    """
    if reading.rows:
        raise ValueError("expected no answer.rows: over gRPC the rows are the first dimension of the outputs")
    return partial(_predictions, names_of(reading))


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


def _predictions(names: Names, body: bytes) -> Sequence[Prediction]:
    """One per row.

    Raises:
        Unreadable: no ModelInferResponse, no rows, or outputs of no known shape.
    """
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    try:
        outputs, raw = _outputs(memoryview(body))
        value, score = tensors.chosen(tuple([output.name for output in outputs]), names)

        def tensor(at: int) -> tensors.Tensor:
            output = outputs[at]
            shape = tuple(output.shape)
            if raw:
                return tensors.binary(output.datatype, shape, raw[at])
            return tensors.nested(output.datatype, shape, _typed(output))

        return tensors.predictions(tensor(value), tensor(score) if score is not None else None)
    except Malformed as error:
        raise Unreadable(f"expected a ModelInferResponse: {error}") from None


class _Output(NamedTuple):
    """One tensor; its elements are in `contents`, or in the raw contents of its place."""

    name: str
    datatype: str
    shape: list[int]
    contents: list[memoryview]


def _outputs(body: memoryview) -> tuple[list[_Output], list[memoryview]]:
    """The outputs, and their raw contents: of all of them, or of none."""
    outputs: list[_Output] = []
    raw: list[memoryview] = []
    for number, kind, begin, end in fields(body):
        if kind == LENGTH and number == _OUTPUTS:
            outputs.append(_output(body[begin:end]))
        elif kind == LENGTH and number == _RAW_OUTPUTS:
            raw.append(body[begin:end])
    if raw and len(raw) != len(outputs):
        raise Unreadable("expected raw contents of all outputs, or of none")
    return outputs, raw


def _output(tensor: memoryview) -> _Output:
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
    return _Output(name, datatype, shape, contents)


def _typed(output: _Output) -> list[float | str]:
    """The elements in the field of their datatype, packed or one by one."""
    if output.datatype not in _TYPED:
        raise Unreadable(f"expected a known datatype, not {output.datatype[:20]!r}")
    field, written = _TYPED[output.datatype]
    values: list[float | str] = []
    for data in output.contents:
        for number, kind, begin, end in fields(data):
            if number != field:
                continue
            if written == LENGTH:
                values.append(_text(data[begin:end]))
            elif kind == written:  # one by one
                values.append(_number(output.datatype, begin))
            elif kind == LENGTH:
                values += _packed(output.datatype, data[begin:end])
    return values


def _packed(datatype: str, data: memoryview) -> list[float]:
    _, written = _TYPED[datatype]
    if written == VARINT:
        return [_number(datatype, value) for value in _varints(data)]
    size, code = (4, "f") if written == FIXED32 else (8, "d")
    count, left = divmod(len(data), size)
    if left:
        raise Unreadable("expected whole elements")
    return list(struct.unpack(f"<{count}{code}", data))


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
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Unreadable("expected texts in UTF-8") from None
