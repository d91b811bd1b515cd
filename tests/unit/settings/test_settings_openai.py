"""Settings of models that answer texts, and of how requests are told apart."""
# ruff: noqa: E501, ISC004 - messages are longer than lines

import pytest

from comparator.class_code import class_code
from comparator.title import Serving
from router.control.routing import model_routes
from router.protocols.coding import Predicts
from router.settings import SettingsError, load_settings

HEAD = """\
registry: sqlite:///mlflow.db
models:
  chat:
    protocol: openai
    endpoint: http://{name}-v{version}:8000
"""
QUIET = "    guardrails: {error_rate: {margin: 1 point}}\n"


def settings(tmp_path, text):
    path = tmp_path / "titleshot.yaml"
    path.write_text(HEAD + text)
    return load_settings(path)


def problem(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    (found,) = caught.value.problems
    return str(found).partition(": models.chat.")[2] or str(found).partition(": models.")[2]


def test_without_a_comparison_only_failures_and_latency_are_compared(tmp_path):
    chat = settings(tmp_path, QUIET).models["chat"]
    assert chat.reader(b'{"choices": [{"index": 0, "message": {"content": "late"}}]}') == []
    assert chat.ready_path == "/health"
    assert settings(tmp_path, QUIET + "    ready_path: /v1/models\n").models["chat"].ready_path == "/v1/models"


def test_texts_as_classes(tmp_path):
    text = (
        "    answer: {compare: normalised}\n    predicts: multiclass\n    guardrails: {accuracy: {margin: 1 point}}\n"
    )
    chat = settings(tmp_path, text).models["chat"]
    (prediction,) = chat.reader(b'{"choices": [{"index": 0, "message": {"content": " LATE"}}]}')
    assert chat.coding.prediction(prediction)[0] == chat.coding.label("Late ") == class_code("late")
    assert chat.coding.predicts is Predicts.MULTICLASS


def test_one_text_is_positive(tmp_path):
    chat = settings(tmp_path, "    answer: {compare: 'field:/label'}\n    positive: Late\n").models["chat"]
    body = rb'{"choices": [{"index": 0, "message": {"content": "{\"label\": \"Late\"}"}}]}'
    assert [chat.coding.prediction(each)[0] for each in chat.reader(body)] == [1.0]
    assert (chat.coding.label("Late"), chat.coding.label("late")) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "answer: expected answer.compare, as the guardrail on precision needs predictions; or guardrails on "
         "error_rate and latencies only"),
        ("    answer: {compare: exact}\n", "positive: expected a text, or predicts: multiclass: with answer.compare exact "
         "predictions are texts"),
        ("    answer: {compare: normalised}\n    positive: Late\n", "positive: expected 'late', as a text is when it is "
         "normalised, not 'Late'"),
        ("    answer: {compare: normalised}\n    guardrails: {precision: [{of: A B, margin: 1 point}]}\n",
         "guardrails.precision: expected 'a b', as a text is when it is normalised, not 'A B'"),
        ("    answer: {compare: exact}\n    guardrails: {mae: {margin: 1, range: 10}}\n", "answer.compare: expected "
         "number:/POINTER for a guardrail on mae"),
        ("    answer: {compare: alike}\n" + QUIET, "answer.compare: expected exact, normalised, field:/POINTER or "
         "number:/POINTER (a JSON pointer into the text, which is JSON then)"),
        ("    answer: {prediction: x}\n" + QUIET, "answer: expected no answer.prediction and answer.rows, but "
         "answer.compare: predictions are texts"),
        ("    ready_path: health\n" + QUIET, "ready_path: expected a path such as /predict, percent-encoded as in a URL, not 'health'"),
        ("    ready_path: '/a b'\n" + QUIET, "ready_path: expected a path such as /predict, percent-encoded as in a URL, not '/a b'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(tmp_path, text, expected):
    assert problem(tmp_path, text) == expected


def test_other_protocols_compare_no_texts(tmp_path):
    path = tmp_path / "titleshot.yaml"
    path.write_text(HEAD.replace("openai", "mlflow") + "    answer: {compare: exact}\n")
    with pytest.raises(SettingsError, match=r"expected no answer.compare: it is of texts, which protocol openai has"):
        load_settings(path)


def test_how_a_body_calls_a_model(tmp_path):
    second = "  draft:\n    protocol: openai\n    endpoint: http://{name}-v{version}:8000\n" + QUIET
    made = settings(tmp_path, f"{QUIET}    served_as: org/chat-8B\n{second}route_by: body.model\n")
    assert made.route_by == "body.model"
    assert model_routes("chat", made.models["chat"], Serving(None)).served_as == "org/chat-8B"
    assert settings(tmp_path, QUIET).route_by == "path"
    assert problem(tmp_path, f"{QUIET}    served_as: draft\n{second}") == (
        "draft.served_as: expected another name: chat is served as draft, too"
    )
