"""Outputs of the Open Inference Protocol -> one prediction per row, however they were written on the wire."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from router.protocols.protocol import Prediction, Reading, Unreadable

PREDICTION_NAMES: Final = ("predict", "label", "class")
SCORE_NAMES: Final = ("score", "prob")
"""Parts of the names of outputs, looked for where there are several outputs and the settings name none."""

_NAN: Final = float("nan")
_SUM_TOLERANCE: Final = 1e-3  # probabilities in single or half precision
_EXPECTED_SHAPE: Final = "expected the prediction's output to be [n], [n, 1], or [n, k] with the classes' probabilities"


class Output(NamedTuple):
    """One named tensor of an answer. `values` reads its elements, row by row; raises Unreadable."""

    name: str
    shape: tuple[int, ...]
    values: Callable[[], Sequence[float | str]]


def predictions(outputs: Sequence[Output], reading: Reading) -> list[Prediction]:
    """One per row.

    Args:
        outputs: of one answer, in its order.
        reading: the names of the outputs that hold prediction and score; where it names none, the only output has the
            prediction, or the first whose name sounds like one; so with the score, where there are several.

    Raises:
        Unreadable: there is no such output, or it has none of the known shapes.
    """
    chosen = _chosen(outputs, reading.prediction, PREDICTION_NAMES)
    if chosen is None and len(outputs) == 1 and not reading.prediction:
        chosen = outputs[0]
    if chosen is None:
        raise Unreadable(
            f"expected an output named {reading.prediction}"
            if reading.prediction
            else "expected one output, or one of those named in answer.prediction"
        )
    rows = _rows(chosen)
    scored = _chosen([each for each in outputs if each is not chosen], reading.score, SCORE_NAMES)
    if scored is None:
        if reading.score and reading.score != chosen.name:
            raise Unreadable(f"expected an output named {reading.score}")
        return rows
    scores = _scores(scored)
    if len(scores) != len(rows):
        raise Unreadable("expected as many scores as predictions")
    return [Prediction(row.value, score) for row, score in zip(rows, scores, strict=True)]


def _chosen(outputs: Sequence[Output], named: str, like: tuple[str, ...]) -> Output | None:
    if named:
        return next((output for output in outputs if output.name == named), None)
    return next((output for output in outputs if any(part in output.name.lower() for part in like)), None)


def _rows(output: Output) -> list[Prediction]:
    columns, values = _columns(output)
    if columns == 1:
        return [Prediction(value if isinstance(value, str) else float(value)) for value in values]
    rows = [_likeliest(values[begin : begin + columns]) for begin in range(0, len(values), columns)]
    if not rows:
        raise Unreadable("expected at least one row")
    return rows


def _scores(output: Output) -> list[float]:
    columns, values = _columns(output)
    if columns > 2:
        raise Unreadable("expected the score's output to be [n], [n, 1] or [n, 2]")
    numbers = [_NAN if isinstance(value, str) else float(value) for value in values[columns - 1 :: columns]]
    return [number if math.isfinite(number) else _NAN for number in numbers]


def _columns(output: Output) -> tuple[int, Sequence[float | str]]:
    """The elements of a row, and all elements, as many as the shape says."""
    shape = output.shape
    if len(shape) > 2 and all(size == 1 for size in shape[2:]):
        shape = shape[:2]
    if len(shape) > 2 or any(size < 0 for size in shape):
        raise Unreadable(_EXPECTED_SHAPE)
    columns = shape[1] if len(shape) == 2 else 1
    values = output.values()
    if not values or columns < 1 or math.prod(shape) != len(values):
        raise Unreadable("expected at least one row, and as many elements as the shape says")
    return columns, values


def _likeliest(row: Sequence[float | str]) -> Prediction:
    """Two probabilities are [of class 0, of class 1]: the likelier is the value, the second the score."""
    numbers = [float(value) for value in row if not isinstance(value, str)]
    if len(numbers) < len(row) or not all(0.0 <= number <= 1.0 for number in numbers):
        raise Unreadable(_EXPECTED_SHAPE)
    if abs(sum(numbers) - 1.0) > _SUM_TOLERANCE:
        raise Unreadable(_EXPECTED_SHAPE)
    likeliest = max(range(len(numbers)), key=numbers.__getitem__)
    return Prediction(float(likeliest), numbers[1] if len(numbers) == 2 else _NAN)
