"""How what an answer predicts, and what a label says, become the numbers that stand in columns. Pure.

Two classes, of which one is `positive`: 1.0 is that one, 0.0 any other. With a `threshold` the prediction is positive
where its score reaches that, whatever class the server itself made of it. Several classes: each is a number, or the
code of a text (`class_code`). A number: itself. What is of another kind than what is expected (a text where classes are
numbers, or the other way round) could never be equal, so it is no prediction, and a label is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from comparator.class_code import FIRST_CODE, class_code
from router.protocols.protocol import Prediction

_NAN = float("nan")

Value = float | str


class Predicts(str, Enum):
    """What a model's answers predict."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    NUMBER = "number"


class Uncoded(ValueError):
    """A label of another kind than the model's; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Coding:
    """One model's.

    Args:
        predicts: what.
        positive: which of two classes is the positive one.
        threshold: a prediction is positive whose score is at least this; None: one whose value is `positive`.
        classes: some of several classes, of which only the kind is told; none: both texts and numbers are classes.
        label_numbers: labels are kept as numbers (rewards), whatever is predicted.
        fold: what is done to the text of a label first, since predictions and classes are so already; None: nothing.
    """

    predicts: Predicts = Predicts.BINARY
    positive: Value = 1.0
    threshold: float | None = None
    classes: tuple[Value, ...] = ()
    label_numbers: bool = False
    fold: Callable[[str], str] | None = None

    def prediction(self, given: Prediction) -> tuple[float, float]:
        """(prediction, score) as columns hold them; NaN: none."""
        value, score = given.value, given.score
        if self.threshold is not None:
            if score != score and not isinstance(value, str):  # noqa: PLR0124 - NaN is not itself
                score = float(value)
            return (1.0 if score >= self.threshold else 0.0) if math.isfinite(score) else _NAN, score
        return self._coded(value), score

    def _coded(self, value: Value) -> float:
        if self.predicts is Predicts.BINARY:
            return self._positive(value)
        if self.predicts is Predicts.NUMBER:
            return _NAN if isinstance(value, str) or not math.isfinite(value) else float(value)
        return _code(value) if self.takes(text=isinstance(value, str) or value >= FIRST_CODE) else _NAN

    def _positive(self, value: Value) -> float:
        if value == self.positive:
            return 1.0
        if isinstance(value, str) is isinstance(self.positive, str):
            return 0.0 if value == value else _NAN  # noqa: PLR0124 - NaN is not itself
        if isinstance(value, str) or not FIRST_CODE <= value < math.inf:
            return _NAN
        return float(value == _code(self.positive))  # a protocol has coded it

    def takes(self, *, text: bool) -> bool:
        """Whether classes can be texts, or numbers (which a number is, too)."""
        if self.predicts is Predicts.NUMBER:
            return not text
        if self.predicts is Predicts.BINARY:
            return text is isinstance(self.positive, str)
        return not self.classes or any(isinstance(each, str) is text for each in self.classes)

    def label(self, given: object) -> float:
        """A label as columns hold it. Raises Uncoded."""
        numbers = self.label_numbers or self.predicts is Predicts.NUMBER
        if isinstance(given, str) and self.fold is not None:
            given = self.fold(given)
        if isinstance(given, str) and not numbers:
            if not self.takes(text=True):
                raise Uncoded("expected a finite number, true or false")
            if self.predicts is Predicts.BINARY:
                return float(given == self.positive)
            if (coded := _code(given)) != coded:
                raise Uncoded("expected Unicode text, not half a surrogate pair")
            return coded
        if not numbers and not self.takes(text=False):
            why = "the positive class is a text" if self.predicts is Predicts.BINARY else "the classes are texts"
            raise Uncoded(f"expected a text, as {why}")
        if not isinstance(given, bool | int | float) or not -math.inf < given < math.inf:
            either = " or a text" if not numbers and self.takes(text=True) else ""
            raise Uncoded(f"expected a finite number, true or false{either}")
        try:
            number = float(given)
        except OverflowError:
            raise Uncoded("expected a number within the range of a float") from None
        return number if numbers or self.predicts is Predicts.MULTICLASS else float(number == self.positive)


def _code(value: Value) -> float:
    """A class as columns hold it; NaN: it is none."""
    try:
        number = class_code(value) if isinstance(value, str) else float(value)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _NAN
    return number if math.isfinite(number) else _NAN
