"""What answers predict and labels say, as numbers in columns: the same coding for both, or none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.class_code import class_code
from router.protocols.coding import Coding, Predicts, Uncoded
from router.protocols.protocol import Prediction

NAN = math.nan
MANY = Coding(Predicts.MULTICLASS)
TEXTS = Coding(Predicts.MULTICLASS, classes=("a",))
NUMBERS = Coding(Predicts.MULTICLASS, classes=(1.0,))


@pytest.mark.parametrize(
    ("coding", "prediction", "expected"),
    [
        (Coding(), Prediction(1.0), (1.0, NAN)),
        (Coding(), Prediction("1"), (NAN, NAN)),
        (Coding(positive="late"), Prediction("late", 0.4), (1.0, 0.4)),
        (Coding(positive="late"), Prediction("Late"), (0.0, NAN)),
        (Coding(positive="late"), Prediction(1.0), (NAN, NAN)),
        (Coding(positive="late"), Prediction(class_code("late")), (1.0, NAN)),  # a protocol coded it
        (Coding(positive="late"), Prediction(class_code("on time")), (0.0, NAN)),
        (Coding(threshold=0.7), Prediction(0.0, 0.7), (1.0, 0.7)),
        (Coding(threshold=0.7), Prediction(1.0, 0.69), (0.0, 0.69)),
        (Coding(threshold=0.7), Prediction(0.71), (1.0, 0.71)),  # a server that answers only a number
        (Coding(threshold=0.7), Prediction("late", 0.9), (1.0, 0.9)),
        (Coding(threshold=0.7), Prediction("late"), (NAN, NAN)),
        (Coding(threshold=0.7), Prediction(NAN), (NAN, NAN)),
        (Coding(threshold=0.7), Prediction(math.inf), (NAN, math.inf)),
        (Coding(Predicts.NUMBER), Prediction(-3.5), (-3.5, NAN)),
        (Coding(Predicts.NUMBER), Prediction("3"), (NAN, NAN)),
        (MANY, Prediction("a"), (class_code("a"), NAN)),
        (MANY, Prediction(7.0, 0.2), (7.0, 0.2)),
        (MANY, Prediction(math.inf), (NAN, NAN)),
        (MANY, Prediction("\ud800"), (NAN, NAN)),
        (TEXTS, Prediction(7.0), (NAN, NAN)),
        (TEXTS, Prediction(class_code("b")), (class_code("b"), NAN)),
        (NUMBERS, Prediction("a"), (NAN, NAN)),
    ],
)
def test_predictions(coding, prediction, expected):
    np.testing.assert_array_equal(coding.prediction(prediction), expected)


@pytest.mark.parametrize(
    ("coding", "label", "expected"),
    [
        (Coding(threshold=0.7), 1, 1.0),
        (Coding(threshold=0.7, positive="late"), "late", 1.0),
        (Coding(label_numbers=True), 2.5, 2.5),
        (Coding(Predicts.NUMBER), True, 1.0),
        (MANY, "a", class_code("a")),
        (MANY, 3, 3.0),
        (MANY, False, 0.0),
        (TEXTS, "b", class_code("b")),
        (NUMBERS, 2, 2.0),
    ],
)
def test_labels(coding, label, expected):
    assert coding.label(label) == expected


@pytest.mark.parametrize(
    ("coding", "label", "says"),
    [
        (Coding(), "1", "expected a finite number, true or false"),
        (Coding(positive="late"), 1, "expected a text, as the positive class is a text"),
        (TEXTS, 1, "expected a text, as the classes are texts"),
        (NUMBERS, "a", "expected a finite number, true or false"),
        (MANY, None, "expected a finite number, true or false or a text"),
        (MANY, "\ud800", "half a surrogate pair"),
        (MANY, math.inf, "expected a finite number"),
        (MANY, 10**400, "within the range of a float"),
        (Coding(Predicts.NUMBER), "3", "expected a finite number"),
        (Coding(label_numbers=True), "good", "expected a finite number"),
    ],
)
def test_labels_that_are_none(coding, label, says):
    with pytest.raises(Uncoded, match=says):
        coding.label(label)


@given(st.text(max_size=30), st.text(max_size=30))
def test_texts_are_equal_in_columns_where_they_are_equal(one, other):
    coded = MANY.prediction(Prediction(one))[0]
    if not math.isnan(coded):
        assert coded == MANY.label(one)
        assert (coded == MANY.prediction(Prediction(other))[0]) is (one == other)
        assert coded >= 2**52
        assert coded == float(int(coded))


def test_a_text_has_the_same_code_in_every_process():
    assert [class_code("cancel"), class_code("")] == [7254654144337342.0, 8526068520011675.0]
