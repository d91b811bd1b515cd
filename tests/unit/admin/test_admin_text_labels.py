"""Labels of models whose predictions are texts."""

import json

import pytest

from comparator.class_code import class_code
from router.control.admin.labels import read_labels
from router.protocols.coding import Coding, Predicts
from router.protocols.comparing import Comparison


def labels(coding, *given):
    items = [{"request_id": f"r{index}", "label": label} for index, label in enumerate(given)]
    return read_labels(json.dumps(items).encode(), "application/json", {"chat": coding}, 1e9)


def test_a_label_is_coded_as_the_prediction_that_it_is_the_truth_of():
    coding = Coding(Predicts.MULTICLASS, fold=Comparison("normalised").fold)
    batch = labels(coding, "Late", " late ", "on time")
    assert batch.columns["chat"]["label"].tolist() == [class_code("late"), class_code("late"), class_code("on time")]
    predicted = Comparison("normalised").predicted("LATE")
    assert coding.prediction(predicted)[0] == class_code("late")


@pytest.mark.parametrize(("label", "positive"), [("Late", 1.0), (" LATE\n", 1.0), ("on time", 0.0)])
def test_of_two_classes_one_is_positive_however_it_is_written(label, positive):
    coding = Coding(positive="late", fold=Comparison("normalised").fold)
    assert labels(coding, label).columns["chat"]["label"].tolist() == [positive]
    assert coding.prediction(Comparison("normalised").predicted(label))[0] == positive
