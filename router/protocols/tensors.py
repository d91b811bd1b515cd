"""Tensors of the Open Inference Protocol as predictions. Of both its services; needs numpy, so no proxy imports it.

A tensor is [rows], [rows, 1], or [rows, classes] with the probabilities of the classes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from router.protocols.protocol import Prediction, Unreadable
from router.protocols.rows import NAN, Names, as_float, likeliest, probabilities, second

_NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_HALF: Final = np.dtype("<u2")
_LENGTH: Final = struct.Struct("<I")
_MOST_DIMENSIONS: Final = 8
_EXPECTED_SHAPE: Final = "expected outputs of shape [rows], [rows, 1], or [rows, classes] with probabilities"


class Tensor(NamedTuple):
    """One output. `values` is flat, row by row; what JSON had in place of a number stays."""

    shape: Sequence[int]
    values: list[Any]


def size_of(shape: Sequence[int]) -> int:
    """How many values it has. Raises Unreadable: no shape."""
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise Unreadable(f"expected a shape of at most {_MOST_DIMENSIONS} dimensions, none of them below 0")
    return math.prod(shape)


def nested(datatype: str, shape: Sequence[int], data: list[Any]) -> Tensor:
    """A tensor whose values stand in JSON, or in a message's typed contents; flat or nested as its shape."""
    size = size_of(shape)
    if data and isinstance(data[0], list):
        data = _flat(data, len(shape))
    if len(data) != size:
        raise Unreadable(f"expected {size} values of {datatype}, not {len(data)}")
    return Tensor(shape, data)


def _flat(data: list[Any], dimensions: int) -> list[Any]:
    """Nested no deeper than its dimensions; what is not nested as it should be stays, and has not its shape's size."""
    for _ in range(dimensions - 1):
        if not all(isinstance(inner, list) for inner in data):
            break
        data = [item for inner in data for item in inner]
    return data


def binary(datatype: str, shape: Sequence[int], raw: memoryview) -> Tensor:
    """A tensor as bytes: little-endian, row by row; texts each with 4 bytes of length. Nothing is copied but texts.

    Raises:
        Unreadable: an unknown type, or another number of bytes than its shape has.
    """
    size = size_of(shape)
    if datatype == "BYTES":
        return Tensor(shape, _texts(raw, size))
    kind = _HALF if datatype == "BF16" else _NUMPY.get(datatype)
    if kind is None:
        raise Unreadable(f"expected a known datatype, not {datatype[:20]!r}")
    if len(raw) != size * kind.itemsize:
        raise Unreadable(f"expected {size * kind.itemsize} bytes of {datatype}, not {len(raw)}")
    found = np.frombuffer(raw, kind)
    if datatype == "BF16":
        found = (found.astype(np.uint32) << 16).view(np.float32)
    return Tensor(shape, found.tolist())


@lru_cache(maxsize=1024)
def chosen(available: tuple[str, ...], names: Names) -> tuple[str, str | None]:
    """Which output has the predictions, and which the scores; None: none has.

    The prediction is the output that `names` has, or the only one there is, or that of the scores, if they are
    probabilities of classes.

    Raises:
        Unreadable: none of them.
    """
    value = next((name for name in names.value if name in available), None)
    score = next((name for name in names.score if name in available), None)
    if value is not None:
        return value, score if score != value else None
    if len(available) == 1:
        return available[0], None
    if score is not None:
        return score, None
    raise Unreadable(f"expected one output, or one named {' or '.join(names.value)}")


def predictions(value: Tensor, score: Tensor | None) -> list[Prediction]:
    """One per row.

    Raises:
        Unreadable: no rows, a shape or values of another kind, or outputs that do not fit together.
    """
    width = _width(value)
    if not value.values:
        raise Unreadable("expected at least one row in outputs")
    values: list[float | str]
    if width == 1:
        values = [one if type(one) is float else _value(one) for one in value.values]
        if score is None:
            return [Prediction(one) for one in values]
    else:
        found = [_of_classes(row) for row in _cut(value.values, width)]
        if score is None:
            return found
        values = [each.value for each in found]
    width = _width(score)
    scores = score.values if width == 1 else [second(row) for row in _cut(score.values, width)]
    if len(scores) != len(values):
        raise Unreadable("expected outputs with as many rows as each other")
    return [Prediction(one, _score(other)) for one, other in zip(values, scores, strict=True)]


def _width(tensor: Tensor) -> int:
    """Values of one row; of a shape without dimensions, there is one row."""
    shape = tensor.shape
    if len(shape) < 2:
        return 1
    width = shape[1] if len(shape) == 2 else math.prod(shape[1:])
    if width == 0 or (width > 1 and len(shape) > 2):
        raise Unreadable(_EXPECTED_SHAPE)
    return width


def _cut(values: list[Any], width: int) -> list[list[Any]]:
    return [values[begin : begin + width] for begin in range(0, len(values), width)]


def _of_classes(row: list[Any]) -> Prediction:
    found = probabilities(row)
    if found is None:
        raise Unreadable(_EXPECTED_SHAPE)
    return likeliest(found)


def _value(value: Any) -> float | str:  # noqa: ANN401 - whatever stood there
    if isinstance(value, str):
        return value
    if isinstance(value, (float, int)):
        return as_float(value)
    if value is None:
        return NAN
    raise Unreadable("expected data of numbers, booleans or texts")


def _score(value: Any) -> float:  # noqa: ANN401 - whatever stood there
    """A finite number; anything else is no score."""
    number = value if type(value) is float else as_float(value) if isinstance(value, (float, int)) else NAN
    return number if -math.inf < number < math.inf else NAN


def _texts(raw: memoryview, size: int) -> list[str]:
    found: list[str] = []
    at = 0
    for _ in range(min(size, len(raw) // _LENGTH.size + 1)):
        if at + _LENGTH.size > len(raw):
            break
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + length
        if at > len(raw):
            break
        try:
            found.append(str(raw[at - length : at], "utf-8"))
        except UnicodeDecodeError:
            raise Unreadable("expected texts in UTF-8") from None
    if len(found) != size or at != len(raw):
        raise Unreadable(f"expected {size} texts, each after its length, and nothing else")
    return found
