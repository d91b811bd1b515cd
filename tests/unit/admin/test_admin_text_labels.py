"""Labels of models whose predictions are texts."""

import json

import pytest

from comparator.class_code import class_code
from comparator.label_metric import LabelMetric
from comparator.policy import Guardrail, Metric
from router.control.admin.labels import LONGEST_CLASS, read_labels
from router.protocols.comparing import Comparison


def labels(comparison, *given):
    items = [{"request_id": f"r{index}", "label": label} for index, label in enumerate(given)]
    return read_labels(json.dumps(items).encode(), "application/json", {"chat": comparison}, 1e9)


def test_a_label_is_coded_as_the_prediction_that_it_is_the_truth_of():
    batch = labels(Comparison("normalised"), "Late", " late ", "on time")
    assert batch.columns["chat"]["label"].tolist() == [class_code("late"), class_code("late"), class_code("on time")]
    batch = labels(Comparison("field:/label"), "Late", 1, True, 0.0)
    assert batch.columns["chat"]["label"].tolist() == [class_code("Late"), 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("comparison", "label"),
    [("exact", 1), ("exact", None), ("exact", "x" * (LONGEST_CLASS + 1)), ("exact", "\ud800"), ("field:/a", ["late"])],
)
def test_labels_of_another_kind_are_refused(comparison, label):
    batch = labels(Comparison(comparison), label, "late")
    assert batch.accepted == 1
    ((index, why),) = batch.rejected
    assert index == 0
    assert why.startswith("label: expected a text")


def test_accuracy_takes_texts_and_no_other_numbers():
    accuracy = LabelMetric(Guardrail(Metric.ACCURACY, 0.02))
    precision = LabelMetric(Guardrail(Metric.PRECISION, 0.02))
    import numpy as np

    given = np.array([0.0, 1.0, 0.5, 2.0, class_code("late"), np.inf, np.nan])
    assert accuracy.legal_label(given).tolist() == [True, True, False, False, True, False, False]
    assert precision.legal_label(given).tolist() == [True, True, False, False, False, False, False]
