"""What a model predicts: as its settings say it, as its guardrails have it, and what does not fit together."""

import pytest

from comparator.policy import Guardrail, Metric, Policy
from comparator.rail import class_name
from router.protocols.coding import Coding, Predicts
from router.settings import SettingsError, load_policy, load_settings

HEAD = """registry: sqlite:///mlflow.db
models:
  m:
    endpoint: http://m-v{version}:1
"""


def model(tmp_path, *lines):
    path = tmp_path / "titleshot.yaml"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in lines))
    return load_settings(path).models["m"]


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([], Coding()),
        (["positive: 3"], Coding(positive=3.0)),
        (["positive: late"], Coding(positive="late")),
        (['positive: "1"'], Coding(positive="1")),
        (["threshold: 0.7", "positive: late"], Coding(positive="late", threshold=0.7)),
        (["predicts: number", "guardrails: {error_rate: {margin: 1 point}}"], Coding(Predicts.NUMBER)),
        (["guardrails: {rmse: {margin: 5%, range: 9}}"], Coding(Predicts.NUMBER)),
        (["predicts: multiclass", "guardrails: {accuracy: {margin: 1 point}}"], Coding(Predicts.MULTICLASS)),
        (["guardrails: {recall: {margin: 1 point, of: 2}}"], Coding(Predicts.MULTICLASS, classes=(2.0,))),
        (["guardrails: {recall: {margin: 1 point, average: macro, classes: [1, 2]}}"],
         Coding(Predicts.MULTICLASS, classes=(2.0,))),
        (["guardrails: {f1: [{margin: 1 point, of: a}, {margin: 1 point, of: b}, {margin: 1 point, of: 3}]}"],
         Coding(Predicts.MULTICLASS, classes=("b", 3.0))),
    ],
)  # fmt: skip
def test_how_answers_and_labels_become_numbers(tmp_path, lines, coding):
    assert model(tmp_path, *lines).coding == coding


def test_several_guardrails_of_one_metric(tmp_path):
    rails = "guardrails: {precision: [{margin: 2 points, of: cancel}, {margin: 1 point, of: 'keep it'}]}"
    policy = model(tmp_path, rails).policy()
    assert policy.multiclass
    assert policy.guardrails == (
        Guardrail(Metric.PRECISION, 0.02, of="cancel"),
        Guardrail(Metric.PRECISION, 0.01, of="keep it"),
    )
    assert [rail.name for rail in policy.guardrails] == ["precision_of_cancel", "precision_of_keep_it_b2452e"]
    assert Policy.from_canonical(policy.canonical()) == policy


def test_a_policy_file_says_what_is_predicted(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("predicts: multiclass\nguardrails: {accuracy: {margin: 1 point}}\n")
    assert load_policy(path).multiclass
    named = model(tmp_path, "policy: policy.yaml")
    assert (named.policy().digest, named.coding) == (load_policy(path).digest, Coding(Predicts.MULTICLASS))


TEXTS = ["keep it", "keep-it", "keep_it", "\u00fc", "\u00f6", "1", "-1", "x" * 60, "x" * 61, "<b>"]


@pytest.mark.parametrize("text", TEXTS)
def test_classes_have_names_of_their_own_that_are_safe(text):
    name = class_name(text)
    assert name.isascii()
    assert name.replace("_", "a").isalnum()
    assert len(name) < 50
    assert name not in {class_name(other) for other in TEXTS if other != text}


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (["positive: true"], "5:15: models.m.positive: expected a class, not true: true is 1 and false is 0"),
        (["positive: [late]"], "5:15: models.m.positive: expected a class (a number or a text), not a list"),
        (["predicts: regression"],
         "m.predicts: expected 'binary', 'multiclass' or 'number', not 'regression'"),
        (["predicts: number"], "m.predicts: expected binary or multiclass: there is a guardrail on precision"),
        (["predicts: multiclass"], "m.guardrails.precision: expected accuracy, or precision, recall or f1 of a"),
        (["predicts: binary", "guardrails: {rmse: {margin: 5%, range: 9}}"],
         "5:15: models.m.predicts: expected number: there is a guardrail on rmse"),
        (["predicts: binary", "guardrails: {f1: {margin: 1 point, of: a}}"],
         "6:22: models.m.guardrails.f1: expected a policy of several classes"),
        (["guardrails: {rmse: {margin: 5%, range: 9}, accuracy: {margin: 1 point}}"],
         "5:24: models.m.guardrails.rmse: expected predictions to be numbers or classes, not both: see accuracy"),
        (["guardrails: {rmse: {margin: 0.5, range: 9}}"], "5:33: models.m.guardrails.rmse.margin: expected"),
        (["guardrails: {rmse: {margin: 1100%, range: 9}}"], "5:33: models.m.guardrails.rmse.margin: expected"),
        (["guardrails: {accuracy: {margin: 1 point, of: a}}"], "models.m.guardrails.accuracy.of: unknown key"),
        (["guardrails: {recall: {margin: 1 point, off: a}}"], "recall.off: unknown key; did you mean 'of'?"),
        (["guardrails: {recall: [{margin: 1 point, of: a}, {margin: 200 points, of: b}]}"],
         "guardrails.recall[1].margin: expected"),
        (["guardrails: {recall: [{margin: 1 point, of: a}, {margin: 2 points, of: a}]}"],
         "models.m.guardrails: expected each guardrail once"),
        (["guardrails: {recall: []}"], "5:26: models.m.guardrails.recall: expected at least one"),
        (["guardrails: {recall: {margin: 1 point, of: a}, f1: {margin: 1 point}}"],
         "models.m.guardrails.f1: expected accuracy, or precision, recall or f1 of a class"),
        (["guardrails: {recall: {margin: 1 point, of: a}, reward: {margin: 1, range: [0, 2]}}"],
         "models.m.guardrails.reward: expected a label to be a reward or one of several classes, not both"),
        (["guardrails: {recall: {margin: 1 point, average: macro}}"], "recall.average: expected classes, too"),
        (["guardrails: {recall: {margin: 1 point, classes: [1, 2]}}"], "recall.classes: expected average: macro, too"),
        (["guardrails: {recall: {margin: 1 point, average: micro, classes: [1, 2]}}"], "average: expected 'macro'"),
        (["guardrails: {recall: {margin: 1 point, average: macro, classes: [1]}}"], "classes: expected 2 to 100"),
        (["guardrails: {recall: {margin: 1 point, average: macro, classes: [1, 1.0]}}"], "expected each class once"),
        (["guardrails: {f1: {margin: 1 point, average: macro, classes: [1, 2]}}"],
         "f1.classes: precision and recall are averaged over classes, no others are"),
        (["guardrails: {recall: {margin: 1 point, of: 1, average: macro, classes: [1, 2]}}"],
         "recall.of: expected either one class or the mean over several"),
        (["threshold: .nan"], "5:16: models.m.threshold: expected a finite number, not nan"),
        (["threshold: 0.5", "guardrails: {mae: {margin: 1, range: 5}}"],
         "5:16: models.m.threshold: expected none where number is predicted"),
        (["staging: {minimum: {recall_of_b: 0.5}}", "guardrails: {recall: {margin: 1 point, of: a}}"],
         "staging.minimum.recall_of_b: expected one of accuracy, recall_of_a"),
        (["staging: {minimum: {recal: 0.5}}"], "expected the name of a metric from labels"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(tmp_path, lines, where):
    with pytest.raises(SettingsError) as caught:
        model(tmp_path, *lines)
    (problem,) = str(caught.value).splitlines()
    assert where in problem
