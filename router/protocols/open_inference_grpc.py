"""What gRPC carries of the Open Inference Protocol: names and tables in requests, predictions in answers.

Field numbers are those of the published `open_inference_grpc.proto`; Triton's extensions have the numbers of its
`grpc_service.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from router.protocols.tensors import Tensor

from router.protocols.protocol import Prediction, Reader, Reading, Table, Unreadable
from router.protocols.request_rows import MOST_COLUMNS
from router.protocols.rows import Names, names_of
from router.protocols.wire import FIXED32, FIXED64, LENGTH, VARINT, Malformed, fields, texts_of, varints

_MODEL_NAME, _MODEL_VERSION = 1, 2  # of ModelInferRequest, and of all requests that are about one model

MOST_LOOKED_AT: Final = 10_000
"""Fields of a message that a proxy looks into: its loop waits meanwhile. MOST_COLUMNS inputs and raw contents fit."""

TRUE: Final = b"\x08\x01"
"""A message whose first field is true: of ServerLiveResponse and ServerReadyResponse the only one."""

_INPUTS, _RAW_INPUTS = 5, 7  # of ModelInferRequest
_OUTPUTS, _RAW_OUTPUTS = 5, 6  # of ModelInferResponse
_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5  # of an input, and of an output
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
    name, version = texts_of(request, _MODEL_NAME, _MODEL_VERSION, most=MOST_LOOKED_AT)
    return name, version != ""


def table(request: bytes) -> Table:
    """What a ModelInferRequest asks about: a column for each input, as `tensors.table` has it.

    Raises:
        Unreadable: no ModelInferRequest, or inputs that are no table.
    """
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    try:
        inputs, raw = _parts(memoryview(request), _INPUTS, _RAW_INPUTS)
        return tensors.table([(each.name, _tensor(each, raw, at)) for at, each in enumerate(inputs)])
    except Malformed as error:
        raise Unreadable(f"expected a ModelInferRequest: {error}") from None


def stream_answer(message: bytes) -> tuple[bytes, bool]:
    """The ModelInferResponse in what a stream answers, and whether it tells of an error. Raises Malformed.

    Triton wraps each answer into a ModelStreamInferResponse, which has two fields; MLServer sends them as they are,
    with their outputs in a later field.
    """
    answer, failed = b"", False
    for number, kind, begin, end in fields(message, MOST_LOOKED_AT):
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
        outputs, raw = _parts(memoryview(body), _OUTPUTS, _RAW_OUTPUTS)
        value, score = tensors.chosen(tuple([output.name for output in outputs]), names)
        values = _tensor(outputs[value], raw, value)
        scores = _tensor(outputs[score], raw, score) if score is not None else None
    except Malformed as error:
        raise Unreadable(f"expected a ModelInferResponse: {error}") from None
    return tensors.predictions(values, scores)


class _Part(NamedTuple):
    """One input or output; its elements are in `contents`, or in the raw contents of its place."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: list[memoryview]


def _parts(message: memoryview, parts: int, raw_contents: int) -> tuple[list[_Part], list[memoryview]]:
    """The tensors in a message's field, and their raw contents in another: of all of them, or of none."""
    found: list[_Part] = []
    raw: list[memoryview] = []
    for number, kind, begin, end in fields(message):
        if kind == LENGTH and number == parts:
            if len(found) == MOST_COLUMNS:
                raise Unreadable(f"expected at most {MOST_COLUMNS} tensors")
            found.append(_part(message[begin:end]))
        elif kind == LENGTH and number == raw_contents:
            raw.append(message[begin:end])
    if raw and len(raw) != len(found):
        raise Unreadable("expected raw contents of all tensors, or of none")
    return found, raw


def _tensor(part: _Part, raw: list[memoryview], at: int) -> Tensor:
    """The part at this place; `raw` are the contents of all, if they are raw."""
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    if raw:
        return tensors.binary(part.datatype, part.shape, raw[at])
    return tensors.nested(part.datatype, part.shape, _typed(part))


def _part(tensor: memoryview) -> _Part:
    name = datatype = ""
    shape: list[int] = []
    contents: list[memoryview] = []
    for number, kind, begin, end in fields(tensor):
        if number == _NAME and kind == LENGTH:
            name = _text(tensor[begin:end])
        elif number == _DATATYPE and kind == LENGTH:
            datatype = _text(tensor[begin:end])
        elif number == _SHAPE and kind in (VARINT, LENGTH):
            shape += [_signed(value) for value in (varints(tensor[begin:end]) if kind == LENGTH else [begin])]
        elif number == _CONTENTS and kind == LENGTH:
            contents.append(tensor[begin:end])
    return _Part(name, datatype, tuple(shape), contents)


def _typed(part: _Part) -> list[float | str]:
    """The elements in the field of their datatype, packed or one by one."""
    if part.datatype not in _TYPED:
        raise Unreadable(f"expected a known datatype, not {part.datatype[:20]!r}")
    field, written = _TYPED[part.datatype]
    values: list[float | str] = []
    for data in part.contents:
        for number, kind, begin, end in fields(data):
            if number != field:
                continue
            if written == LENGTH:
                values.append(_text(data[begin:end]))
            elif kind == written:  # one by one
                values.append(_number(part.datatype, begin))
            elif kind == LENGTH:
                values += _packed(part.datatype, data[begin:end])
    return values


def _packed(datatype: str, data: memoryview) -> list[float]:
    _, written = _TYPED[datatype]
    if written == VARINT:
        return [_number(datatype, value) for value in varints(data)]
    size, code = (4, "f") if written == FIXED32 else (8, "d")
    count, left = divmod(len(data), size)
    if left:
        raise Unreadable("expected whole elements")
    return list(struct.unpack(f"<{count}{code}", data))


def _number(datatype: str, value: int) -> float:
    """A number as its field has it: the bits of a float, or a varint; a truth as raw contents and JSON have it."""
    if datatype == "BOOL":
        return value != 0
    if datatype == "FP32":
        return struct.unpack("<f", struct.pack("<I", value))[0]  # type: ignore[no-any-return]
    if datatype == "FP64":
        return struct.unpack("<d", struct.pack("<Q", value))[0]  # type: ignore[no-any-return]
    return _signed(value) if datatype in _SIGNED else value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Unreadable("expected texts in UTF-8") from None
