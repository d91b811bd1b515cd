"""Tensors of the Open Inference Protocol as predictions, and as a table. Of both its services; no proxy has numpy.

A tensor of an answer is [rows], [rows, 1], or [rows, classes] with the probabilities of the classes. Of many rows,
those that came as bytes stay arrays over these bytes; what came in JSON, and a few rows, are faster as Python's own
numbers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.protocols.numbers import Numbers
from router.protocols.protocol import Prediction, Table, Unreadable
from router.protocols.request_rows import MOST_ROWS, names_once
from router.protocols.rows import NAN, SUM_TOLERANCE, Names, as_float, likeliest, probabilities, second

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
_LARGEST: Final = 2**31
_FEW: Final = 32
"""So many values are faster as a list than as an array."""

_EXPECTED_AS_MANY: Final = "expected outputs with as many rows as each other"
_EXPECTED_SHAPE: Final = "expected outputs of shape [rows], [rows, 1], or [rows, classes] with probabilities"


class Tensor(NamedTuple):
    """One input or output.

    `values` is flat, row by row: an array of numbers, or a list in which stays what JSON had in place of a number.
    """

    shape: tuple[int, ...]
    values: list[Any] | NDArray[Any]


class Layout(NamedTuple):
    """What a shape comes to: how many values it has, and how many of one row; 0: it is none of the shapes above."""

    size: int
    width: int


@lru_cache(maxsize=1024)
def layout(shape: tuple[int, ...]) -> Layout:
    """Of a shape without dimensions, there is one row. Raises Unreadable: no shape."""
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0 or max(shape, default=0) > _LARGEST:
        raise Unreadable(f"expected a shape of at most {_MOST_DIMENSIONS} dimensions, each from 0 to {_LARGEST}")
    width = math.prod(shape[1:])
    return Layout(math.prod(shape), width if len(shape) <= 2 or width == 1 else 0)


def nested(datatype: str, shape: tuple[int, ...], data: list[Any]) -> Tensor:
    """A tensor whose values stand in JSON, or in a message's typed contents; flat or nested as its shape."""
    size = layout(shape).size
    if data and type(data[0]) is list:
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


def binary(datatype: str, shape: tuple[int, ...], raw: memoryview) -> Tensor:
    """A tensor as bytes: little-endian, row by row; texts each with 4 bytes of length. Only texts and BF16 are copied.

    Raises:
        Unreadable: an unknown type, or another number of bytes than its shape has.
    """
    size = layout(shape).size
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
    return Tensor(shape, found.tolist() if size <= _FEW else found)


@lru_cache(maxsize=64)  # names can be long
def chosen(available: tuple[str, ...], names: Names) -> tuple[int, int | None]:
    """Which output has the predictions, and which the scores; None: none has.

    The prediction is the output that `names` has, or the only one there is, or that of the scores, if they are
    probabilities of classes.

    Raises:
        Unreadable: none of them, or two of one name.
    """
    if len(set(available)) < len(available):
        raise Unreadable("expected outputs each of a name of its own")
    value = next((available.index(name) for name in names.value if name in available), None)
    score = next((available.index(name) for name in names.score if name in available), None)
    if value is not None:
        return value, score if score != value else None
    if len(available) == 1:
        return 0, None
    if score is not None:
        return score, None
    raise Unreadable(f"expected one output, or one named {' or '.join(names.value)}")


def predictions(value: Tensor, score: Tensor | None) -> Sequence[Prediction]:
    """One per row.

    Raises:
        Unreadable: no rows, a shape or values of another kind, or outputs that do not fit together.
    """
    width = layout(value.shape).width
    if not width:
        raise Unreadable(_EXPECTED_SHAPE)
    if not len(value.values):
        raise Unreadable("expected at least one row in outputs")
    if isinstance(value.values, np.ndarray) and (score is None or isinstance(score.values, np.ndarray)):
        return _numbers(value.values, width, score)
    values: list[float | str]
    if width == 1:
        values = [one if type(one) is float else _value(one) for one in items(value)]
        if score is None:
            return [Prediction(one) for one in values]
    else:
        found = [_of_classes(row) for row in _cut(items(value), width)]
        if score is None:
            return found
        values = [each.value for each in found]
    width = _score_width(score)
    scores = (
        [one if type(one) is float and math.isfinite(one) else _score(one) for one in items(score)]
        if width == 1
        else [second(row) for row in _cut(items(score), width)]
    )
    if len(scores) != len(values):
        raise Unreadable(_EXPECTED_AS_MANY)
    return [Prediction(one, other) for one, other in zip(values, scores, strict=True)]


def table(inputs: Sequence[tuple[str, Tensor]]) -> Table:
    """A request's inputs by column: one of shape [rows] or [rows, 1] is a column, one of several has no names for them.

    Raises:
        Unreadable: none, too many, one name twice, or different numbers of rows.
    """
    shapes = [tensor.shape for _, tensor in inputs]
    if not shapes or min(map(len, shapes)) < 1 or len({shape[0] for shape in shapes}) > 1:
        raise Unreadable("expected inputs whose first dimension is the same number of rows")
    rows = shapes[0][0]
    if any(len(tensor.values) != rows for _, tensor in inputs):
        return Table({}, rows)
    names_once([name for name, _ in inputs])
    return Table({name: items(tensor)[:MOST_ROWS] for name, tensor in inputs}, rows)


def _numbers(values: NDArray[Any], width: int, score: Tensor | None) -> Numbers:
    """The same of arrays."""
    scores: NDArray[np.float64] | None = None
    if width == 1:
        found = _doubles(values)
    else:
        classes, legal = _classes(values, width)
        if not legal.all():
            raise Unreadable(_EXPECTED_SHAPE)
        found = classes.argmax(axis=1).astype(np.float64)
        scores = classes[:, 1] if width == 2 else None
    if score is not None:
        width = _score_width(score)
        if width == 1:
            scores = _doubles(np.asarray(score.values))
            scores[~np.isfinite(scores)] = NAN
        else:
            classes, legal = _classes(np.asarray(score.values), width)
            scores = np.where(legal, classes[:, 1], NAN) if width == 2 else np.full(len(classes), NAN)
        if len(scores) != len(found):
            raise Unreadable(_EXPECTED_AS_MANY)
    return Numbers(found, np.full(len(found), NAN) if scores is None else scores)


def _classes(values: NDArray[Any], width: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One row per row, and whether its numbers are probabilities; see `rows.probabilities`."""
    classes = _doubles(values.reshape(-1, width))
    between = ((classes >= 0) & (classes <= 1)).all(axis=1)
    with np.errstate(invalid="ignore"):  # infinities of both signs
        return classes, between & (np.abs(classes.sum(axis=1) - 1) <= SUM_TOLERANCE)


def _doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # a NaN that signals is one, too
        return values.astype(np.float64)


def _score_width(score: Tensor) -> int:
    width = layout(score.shape).width
    if not width:
        raise Unreadable(_EXPECTED_SHAPE)
    return width


def items(tensor: Tensor) -> list[Any]:
    """Its values as a list, row by row."""
    values = tensor.values
    return values if isinstance(values, list) else values.tolist()


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
