"""Answers of many rows that stay arrays: the same predictions, and the same columns, as row by row."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.class_code import class_code
from router.protocols import tensors
from router.protocols.coding import Coding, Predicts
from router.protocols.numbers import Numbers, coded
from router.protocols.protocol import Prediction, Reading, Unreadable
from router.protocols.rows import names_of

ROWS = 64
anything = st.one_of(st.floats(width=32), st.floats(), st.integers(-3, 3).map(float))
share = st.floats(0, 1)


def told(rows) -> list[tuple[str, str]]:
    return [(repr(each.value), repr(each.score)) for each in rows]


def both_ways(value: np.ndarray, score: np.ndarray | None):
    """What is made of arrays, and of the same numbers as lists."""

    def made(of):
        return tensors.Tensor(of.shape, of.reshape(-1))

    def listed(of):
        return tensors.Tensor(of.shape, of.reshape(-1).tolist())

    found = []
    for way in (made, listed):
        try:
            found.append(tensors.predictions(way(value), way(score) if score is not None else None))
        except Unreadable as error:
            found.append(str(error))
    return found


@st.composite
def outputs(draw, width):
    """Of `width` numbers a row: probabilities, or, of some rows, whatever else."""
    rows = draw(st.integers(1, ROWS))
    if width == 1:
        found = np.array(draw(st.lists(anything, min_size=rows, max_size=rows)))
        return found.reshape(draw(st.sampled_from([(rows,), (rows, 1), (rows, 1, 1)])))
    parts = np.array([draw(st.lists(share, min_size=width, max_size=width)) for _ in range(rows)]) + 1e-6
    found = parts / parts.sum(axis=1, keepdims=True)
    if draw(st.integers(0, 3)) == 0:
        found[draw(st.integers(0, rows - 1)), draw(st.integers(0, width - 1))] = draw(anything)
    return found


@given(st.data(), st.sampled_from([1, 2, 3]), st.sampled_from([None, 1, 2, 3]))
def test_arrays_predict_what_the_same_numbers_one_by_one_do(data, width, scored):
    value = data.draw(outputs(width))
    score = data.draw(outputs(scored)) if scored is not None else None
    if score is not None and data.draw(st.booleans()):
        score = np.resize(score, (len(value), *score.shape[1:]))
    by_array, by_list = both_ways(value, score)
    assert isinstance(by_array, Numbers | str)
    assert (by_array if isinstance(by_array, str) else told(by_array)) == (
        by_list if isinstance(by_list, str) else told(by_list)
    )


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "UINT64", "FP16", "FP32", "FP64", "BF16"])
def test_a_long_tensor_of_every_type_is_an_array(datatype):
    kind = {"BOOL": "?", "UINT8": "u1", "INT64": "<i8", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
    ones = np.tile([0, 1], 50)
    raw = ones.astype(kind[datatype]) if datatype in kind else (ones * 0x3F80).astype("<u2")  # the upper half of 1.0f
    found = tensors.predictions(tensors.binary(datatype, (100,), memoryview(raw.tobytes())), None)
    assert isinstance(found, Numbers)
    assert [each.value for each in found] == [0.0, 1.0] * 50
    assert told(found[98:]) == told([Prediction(0.0), Prediction(1.0)])


CODINGS = [
    Coding(),
    Coding(positive=2.0),
    Coding(positive="late"),
    Coding(threshold=0.5),
    Coding(Predicts.NUMBER),
    Coding(Predicts.MULTICLASS),
    Coding(Predicts.MULTICLASS, classes=("late", "on time")),
    Coding(Predicts.MULTICLASS, classes=(0.0, 1.0)),
]
values = st.one_of(anything, st.sampled_from([class_code("late"), class_code("on time"), 1.0, 2.0, math.nan]))


@given(st.lists(st.tuples(values, st.one_of(anything, st.just(math.nan))), min_size=1), st.sampled_from(CODINGS))
def test_columns_are_coded_as_rows_are(rows, coding):
    of_values, of_scores = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    numbers = Numbers(of_values, of_scores)
    predicted, scored = coded(numbers, coding)
    expected = [coding.prediction(each) for each in numbers]
    assert [(repr(float(value)), repr(float(score))) for value, score in zip(predicted, scored, strict=True)] == [
        (repr(float(value)), repr(float(score))) for value, score in expected
    ]


def test_a_nan_that_signals_is_a_nan():
    raw = np.full(100, 0x7FA00000, "<u4").tobytes()
    assert all(
        math.isnan(each.value) for each in tensors.predictions(tensors.binary("FP32", (100,), memoryview(raw)), None)
    )


@pytest.mark.parametrize("shape", [(10**2200, 10**2200), (2**31 + 1,), (-1,), (1,) * 9])
def test_a_shape_that_no_tensor_has_is_refused_in_few_words(shape):
    with pytest.raises(Unreadable) as error:
        tensors.nested("FP64", shape, [1.0])
    assert len(str(error.value)) < 100


def test_of_two_outputs_of_one_name_none_is_taken():
    with pytest.raises(Unreadable, match="a name of its own"):
        tensors.chosen(("predict", "predict"), names_of(Reading()))
