"""The Open Inference Protocol, version 2, over HTTP: MLServer, KServe, Triton and others.

POST /v2/models/NAME[/versions/VERSION]/infer, answered with {"outputs": [tensors]}, in JSON or with binary tensors
behind the JSON. Which of both it is, only the header Inference-Header-Content-Length says, and a recorded answer has no
headers: it is seen by the body itself, since JSON has an end, and the tensors say how many bytes they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from router.protocols.tensors import Tensor

from router.protocols.json_text import read_json
from router.protocols.protocol import (
    Asking,
    Prediction,
    Protocol,
    Questions,
    Reader,
    Reading,
    Table,
    Tables,
    Unreadable,
)
from router.protocols.rows import Names, names_of

T = TypeVar("T")

_MODEL: Final = re.compile(rb"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/|$)")
_EXPECTED: Final = '{"outputs": [...]}'
_EXPECTED_REQUEST: Final = '{"inputs": [...]}'
_BINARY_SIZE: Final = "binary_data_size"
_NOTHING: Final = memoryview(b"")
_NOWHERE: Final[Mapping[str, slice]] = {}


class _Output(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class _Answer(msgspec.Struct, gc=False):
    outputs: list[_Output]


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Output]


_answer: Final = msgspec.json.Decoder(_Answer)
_request: Final = msgspec.json.Decoder(_Request)


class OpenInference(Protocol):
    """The protocol `open_inference`."""

    name: str = "open_inference"
    ready_path: str = "/v2/models/{model}/ready"
    paths_name_models: bool = True

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """POST .../infer; metadata, health, and all that some servers add (generate, repository) do not."""
        found = _MODEL.match(path) if method == b"POST" else None
        return found is not None and path[found.end() - 1 :] == b"/infer"

    def model_in_path(self, path: bytes) -> bytes | None:
        """/v2/models/NAME and all below it; /v2 and /v2/health name none, nor does /v2/repository."""
        found = _MODEL.match(path)
        return found[1] if found is not None else None

    def pins_version(self, path: bytes) -> bool:
        """/v2/models/NAME/versions/VERSION and all below it."""
        found = _MODEL.match(path)
        return found is not None and found[2] is not None

    def reader(self, reading: Reading) -> Reader:
        """`prediction` and `score` are names of outputs."""
        if reading.rows:
            raise ValueError("expected no answer.rows: the rows are the first dimension of the outputs")
        return partial(_predictions, names_of(reading))

    def questions(self, model: str, types: Mapping[str, str], asking: Asking) -> Questions:  # noqa: ARG002 - the interface's
        """One tensor per column."""
        from router.protocols.questions import OpenInferenceQuestions  # noqa: PLC0415 - a proxy asks nothing

        return OpenInferenceQuestions(model, types)

    def tables(self, asking: Asking) -> Tables:
        """A column for each input of shape [rows] or [rows, 1]; one of several columns has no names for them."""
        super().tables(asking)
        return _table


def _predictions(names: Names, body: bytes) -> Sequence[Prediction]:
    """One per row.

    Raises:
        Unreadable: no answer of this protocol, no rows, or outputs of no known shape.
    """
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    answer, tail = _read(body, _answer, _EXPECTED)
    outputs = answer.outputs
    value, score = tensors.chosen(tuple([output.name for output in outputs]), names)
    places = _places(outputs, len(tail)) if tail else _NOWHERE
    return tensors.predictions(
        _tensor(outputs[value], tail, places), _tensor(outputs[score], tail, places) if score is not None else None
    )


def _tensor(output: _Output, tail: memoryview, places: Mapping[str, slice]) -> Tensor:
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    if output.name in places:
        return tensors.binary(output.datatype, output.shape, tail[places[output.name]])
    if output.data is None:
        raise Unreadable(f"expected data in every tensor, or {_BINARY_SIZE} and so many bytes behind the JSON")
    return tensors.nested(output.datatype, output.shape, output.data)


def _table(body: bytes, content_type: str) -> Table:  # noqa: ARG001 - clients send none at times
    """A request's inputs by column.

    Raises:
        Unreadable: no request of this protocol, or inputs that are no table.
    """
    from router.protocols import tensors  # noqa: PLC0415 - a proxy imports this module and has no numpy

    request, tail = _read(body, _request, _EXPECTED_REQUEST)
    inputs = request.inputs
    places = _places(inputs, len(tail)) if tail else _NOWHERE
    return tensors.table([(each.name, _tensor(each, tail, places)) for each in inputs])


def _places(outputs: list[_Output], length: int) -> dict[str, slice]:
    """Where behind the JSON each binary output is: one after the other, and nothing else."""
    found: dict[str, slice] = {}
    at = 0
    for output in outputs:
        size = output.parameters.get(_BINARY_SIZE) if output.parameters else None
        if size is None:
            continue
        if type(size) is not int or size < 0:
            raise Unreadable(f"expected {_BINARY_SIZE} to be a number of bytes")
        found[output.name] = slice(at, at + size)
        at += size
    if at != length:
        raise Unreadable("expected as many bytes behind the JSON as the outputs say")
    return found


def _read(body: bytes, decode: msgspec.json.Decoder[T], of: str) -> tuple[T, memoryview]:
    """The JSON, and what is behind it; `of` says what was expected. Raises Unreadable: it is not that."""
    try:
        return decode.decode(body), _NOTHING
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        head, tail = _parts(body)
        return read_json(head, decode, of), tail


def _parts(body: bytes) -> tuple[bytes, memoryview]:
    """The JSON at the beginning, and what is behind it.

    Every byte is a character of Latin-1, and what JSON is made of is ASCII: its end is found without decoding texts.
    """
    import json  # noqa: PLC0415 - a proxy imports this module and never reads a body

    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(body.decode("latin-1"))
    except (ValueError, RecursionError):
        return body, memoryview(b"")  # said by whoever reads it
    return body[:end], memoryview(body)[end:]
