"""Predictions that are all numbers, as columns: an answer of many rows is not taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from router.protocols.coding import Coding, Predicts
from router.protocols.protocol import Prediction


class Numbers(Sequence[Prediction]):
    """A sequence of predictions as any other, with its columns beside.

    Args:
        values: shape (rows,); NaN: the row has none.
        scores: shape (rows,); NaN: the row has none.
    """

    __slots__ = ("scores", "values")

    def __init__(self, values: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        self.values = values
        self.scores = scores

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> Prediction: ...
    @overload
    def __getitem__(self, at: slice) -> Numbers: ...

    def __getitem__(self, at: int | slice) -> Prediction | Numbers:
        if isinstance(at, slice):
            return Numbers(self.values[at], self.scores[at])
        return Prediction(float(self.values[at]), float(self.scores[at]))


def coded(numbers: Numbers, coding: Coding) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(predictions, scores) as columns hold them, each of shape (rows,): what `coding.prediction` makes of each row."""
    values, scores = numbers.values, numbers.scores
    if coding.threshold is not None:
        scores = np.where(np.isnan(scores), values, scores)
        return np.where(np.isfinite(scores), (scores >= coding.threshold).astype(np.float64), np.nan), scores
    if coding.predicts is Predicts.NUMBER:
        return np.where(np.isfinite(values), values, np.nan), scores
    if coding.predicts is Predicts.BINARY and not isinstance(coding.positive, str):
        return np.where(np.isnan(values), np.nan, (values == coding.positive).astype(np.float64)), scores
    return np.array([coding.prediction(each)[0] for each in numbers]), scores  # where numbers can be codes of texts
