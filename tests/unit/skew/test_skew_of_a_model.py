"""One model: requests in, plain data out; windows and answers."""

import json
import struct

import numpy as np
import pytest

from comparator.events import OBSERVATION, Outcome, Role
from router.artifacts.profile import Profile
from router.artifacts.signature import Columns
from router.control.skew.answers import LEAST_HABIT, MOST_WAITING, Answers
from router.control.skew.drift import feature
from router.control.skew.model import MOST_BODY_BYTES, MOST_SHOWN, ModelSkew
from router.control.skew.names import NOT_OURS, OTHERS, Difference
from router.control.skew.trained import Trained, legal_place
from router.control.skew.window import SLICES, Window
from router.link.messages import GRPC_CONTENT, SampledRequest
from router.protocols.protocol import Asking, Table
from router.protocols.select import protocol
from router.protocols.wire import LENGTH, text_field, written
from router.settings.skew import SkewSettings

SETTINGS = SkewSettings(min_rows=10)


def request(data, content_type=b"application/json", coding=b"", header_length=b"", number=1, *, over_grpc=False):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    head = (b"POST", b"/invocations", content_type, coding, header_length)
    return SampledRequest(0.0, 0, number, *head, body, over_grpc)


def profile(**columns):
    made = Profile()
    made.take(columns)
    return made.data()


def trained(names=("a", "b"), **columns):
    types = Columns(dict.fromkeys(names, "double"), frozenset(names))
    return Trained(types, profile=profile(**(columns or {name: list(range(100)) for name in names})))


def looking(training=None, settings=SETTINGS, spoken="mlflow"):
    made = ModelSkew(settings, protocol(spoken).tables(Asking()))
    made.serve({Role.CHAMPION: (1, training or trained())})
    return made


def role(model, name="champion", at=1.0):
    return model.report(at)["roles"][name]


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (request({"inputs": [{"a": 1, "b": 2}]}), "checked"),
        (request({"inputs": [[1, 2]]}), "unnamed"),
        (request(b"nothing"), "unreadable"),
        (request(b" " * (MOST_BODY_BYTES + 1)), "too_large"),
        (request(b"...", coding=b"gzip"), "encoded"),
        (request({"inputs": [{"a": 1, "b": 2}]}, coding=b"Identity"), "checked"),
    ],
)
def test_what_becomes_of_a_request(asked, result):
    model = looking()
    model.request(asked, 1.0)
    assert {name: count for name, count in model.report(1.0)["requests"].items() if count} == {result: 1}


def field(number, data):
    return bytes((number << 3 | LENGTH,)) + written(len(data)) + data


def infer_request(**columns):
    """A ModelInferRequest: a tensor of FP64 for each column, in typed contents."""
    body = text_field(1, "m")
    for name, values in columns.items():
        typed = field(5, field(7, struct.pack(f"<{len(values)}d", *values)))
        body += field(5, text_field(1, name) + text_field(2, "FP64") + field(3, written(len(values))) + typed)
    return request(body, content_type=GRPC_CONTENT, over_grpc=True)


@pytest.mark.parametrize("spoken", ["mlflow", "openai"])
def test_a_request_over_grpc_is_read_as_such_whatever_is_spoken_over_http(spoken):
    model = looking(spoken=spoken)
    model.request(infer_request(a=[1.0, 2.0], c=[3.0, 4.0]), 1.0)
    model.request(request(b"\xff", content_type=GRPC_CONTENT, over_grpc=True), 1.0)
    assert {name: count for name, count in model.report(1.0)["requests"].items() if count} == {
        "checked": 1,
        "unreadable": 1,
    }
    broken = {(each["column"], each["break"]): each["requests"] for each in role(model)["contract"]}
    assert (broken["b", "missing"], broken[NOT_OURS, "extra"], role(model)["extra"]) == (1, 1, ["c"])
    model.observed(observed((1, Role.CHAMPION, 0, 1.0, NAN, OK)))
    assert differences(model.answers) == {("champion", "rows"): 1}


def test_a_request_over_http_is_not_read_as_grpc_on_its_clients_word():
    model = looking(spoken="kserve_v1")
    model.request(request({"instances": [{"a": 1, "b": 2}]}, content_type=GRPC_CONTENT), 1.0)
    assert model.report(1.0)["requests"]["checked"] == 1


def test_without_signature_features_are_compared_and_nothing_is_checked():
    model = looking(Trained(no_columns="no signature", profile=profile(a=[1.0] * 50, label=[1] * 50)))
    for number in range(20):
        model.request(request({"inputs": [{"a": 9, "more": 1}]}, number=number), 1.0)
    assert model.report(1.0)["requests"]["unsigned"] == 20
    found = role(model)
    assert [(each["name"], each["skewed"]) for each in found["features"]] == [("a", True)]  # no request has a label
    assert found["no_signature"] == "no signature"


def test_a_column_that_requests_lack_has_no_values():
    model = looking()
    for number in range(20):
        model.request(request({"inputs": [{"a": number % 100}]}, number=number), 1.0)
    (gone,) = (each for each in role(model)["features"] if each["name"] == "b")
    assert (gone["skewed"], gone["where"], gone["live"]) == (True, "no number", 1.0)
    broken = {(each["column"], each["break"]): each["requests"] for each in role(model)["contract"]}
    assert broken["b", "missing"] == 20


def test_columns_that_are_not_ours_are_counted_together_and_their_names_bounded():
    model = looking()
    for number in range(50):
        model.request(request({"inputs": [{"a": 1, "b": 2, f"x{number}": 1, "\n": 1, "y" * 200: 1}]}), 1.0)
    found = role(model)
    extra = [each for each in found["contract"] if each["break"] == "extra"]
    assert extra == [{"column": NOT_OURS, "break": "extra", "requests": 50}]
    assert found["extra"] == [f"x{number}" for number in range(10)]


def test_of_many_columns_the_first_have_names():
    names = [f"c{number}" for number in range(MOST_SHOWN + 10)]
    model = looking(trained(names))
    before = {(each["column"], each["break"]) for each in role(model)["contract"]}
    model.request(request({"inputs": [dict.fromkeys(names, "x")]}), 1.0)
    found = role(model)
    assert {(each["column"], each["break"]) for each in found["contract"]} == before
    assert len(before) == 4 * (MOST_SHOWN + 1) + 1
    counts = {(each["column"], each["break"]): each["requests"] for each in found["contract"]}
    assert (counts["c0", "wrong_type"], counts[OTHERS, "wrong_type"]) == (1, 10)
    assert len(found["features"]) == MOST_SHOWN
    assert found["compared"] == len(names)


def test_names_that_cannot_be_labels_are_left_out():
    names = ("ok", "bad\nname", "\ud800", "z" * 500)
    model = looking(trained(names))
    model.request(request({"inputs": [dict.fromkeys(("ok", "bad\nname"), "x")]}), 1.0)
    found = role(model)
    assert {each["name"] for each in found["features"]} == {"ok"}
    assert {each["column"] for each in found["contract"]} == {"ok", OTHERS, NOT_OURS}
    assert found["not_compared"] == ["a name that cannot be shown"] * 3
    json.dumps(model.report(1.0)).encode()


def test_ignored_columns_are_not_compared():
    model = looking(settings=SkewSettings(min_rows=10, ignore=("b",)))
    for number in range(20):
        model.request(request({"inputs": [{"a": 1, "b": 10**6}]}, number=number), 1.0)
    found = role(model)
    assert [each["name"] for each in found["features"]] == ["a"]
    assert found["not_compared"] == []


def test_a_version_that_stays_keeps_what_was_counted():
    model, one, two = looking(), trained(), trained()
    model.serve({Role.CHAMPION: (1, one), Role.CHALLENGER: (2, two)})
    model.request(request({"inputs": [{"a": "x", "b": 1}]}), 1.0)
    model.serve({Role.CHAMPION: (2, two)})  # promoted
    assert (role(model)["version"], role(model)["rows"]) == (2, 1)
    model.serve({Role.CHAMPION: (3, trained())})
    assert role(model)["rows"] == 0
    counts = {(each["column"], each["break"]): each["requests"] for each in role(model)["contract"]}
    assert counts["a", "wrong_type"] == 1  # a counter of the role goes on


def test_a_window_forgets():
    made = profile(a=list(range(100)))
    window = Window([feature("a", 100, made["columns"]["a"])], 120.0, known=True)
    for second in range(0, 600, 10):
        window.take(Table({"a": [1]}, 1), float(second))
    (counts,) = window.counts(599.0)
    assert 120 / 10 <= counts.sum() <= (120 + 120 / SLICES) / 10
    assert window.counts(10_000.0)[0].sum() == 0


# ---- answers


def observed(*rows):
    """(request, role, row, prediction, score, outcome)."""
    columns = np.zeros(len(rows), OBSERVATION)
    for name, values in zip(
        ("request_lo", "role", "row", "prediction", "score", "outcome"), zip(*rows, strict=True), strict=True
    ):
        columns[name] = values
    return columns


NAN = float("nan")
OK = Outcome.OK


def differences(answers):
    return {(role.name.lower(), each.value): count for (role, each), count in answers.counts.items() if count}


@pytest.mark.parametrize("order", ["asked first", "answered first"])
def test_rows_are_as_many_as_asked(order):
    answers = Answers()
    rows = observed(
        (1, Role.CHAMPION, 0, 1.0, NAN, OK), (1, Role.CHAMPION, 1, 0.0, NAN, OK), (1, Role.CHALLENGER, 0, 1.0, NAN, OK)
    )
    steps = [lambda: answers.asked((0, 1), 2), lambda: answers.observed(rows)]
    for step in steps if order == "asked first" else steps[::-1]:
        step()
    assert differences(answers) == {("challenger", "rows"): 1}


def test_scores_are_as_the_champions():
    answers = Answers()
    champion = [(number, Role.CHAMPION, 0, 1.0, 0.7, OK) for number in range(LEAST_HABIT)]
    answers.observed(
        observed(*champion, (99, Role.CHALLENGER, 0, 1.0, 0.5, OK), (98, Role.CHALLENGER, 0, 1.0, NAN, OK))
    )
    assert differences(answers) == {("challenger", "score"): 1}
    answers.observed(observed((50, Role.CHAMPION, 0, 1.0, NAN, OK), (97, Role.CHALLENGER, 0, 1.0, NAN, OK)))
    assert differences(answers) == {("challenger", "score"): 1}  # the champion's own differ: nothing is said


def test_an_answer_without_a_prediction_differs_and_one_that_was_not_read_says_nothing():
    answers = Answers()
    answers.asked((0, 2), 5)
    answers.observed(
        observed((1, Role.CHALLENGER, 0, NAN, NAN, Outcome.GARBAGE), (2, Role.CHALLENGER, 0, NAN, NAN, OK))
    )
    answers.observed(observed((3, Role.CHAMPION, 0, NAN, NAN, Outcome.TIMEOUT)))
    answers.observed(observed((3, Role.CHAMPION, 0, NAN, NAN, Outcome.TIMEOUT))[:0])
    assert differences(answers) == {("challenger", "prediction"): 1}


def test_what_waits_is_bounded():
    answers = Answers()
    for number in range(MOST_WAITING + 10):
        answers.asked((0, number), 1)
        answers.observed(observed((10**6 + number, Role.CHAMPION, 0, 1.0, NAN, OK)))
    assert len(answers._asked) == len(answers._heard) == MOST_WAITING
    assert answers.counts[Role.CHAMPION, Difference.ROWS] == 0


# ---- where artifacts may be


@pytest.mark.parametrize(
    ("place", "registry", "legal"),
    [
        ("/mlruns/1", "sqlite:///mlflow.db", True),
        ("file:///mlruns/1", "http://mlflow:5000", True),
        ("file://elsewhere/mlruns/1", "http://mlflow:5000", False),
        ("s3://bucket/1", "http://mlflow:5000", True),
        ("mlflow-artifacts:/1", "http://mlflow:5000", True),
        ("mlflow-artifacts:/1", "sqlite:///mlflow.db", False),
        ("mlflow-artifacts://mlflow:5000/1", "https://user:secret@mlflow:5000", True),
        ("mlflow-artifacts://evil/1", "http://mlflow:5000", False),
        ("http://mlflow:5000/api/2.0/mlflow-artifacts/artifacts/1", "http://mlflow:5000", True),
        ("http://169.254.169.254/latest", "http://mlflow:5000", False),
        ("http://mlflow:5000@evil/1", "http://mlflow:5000", False),
        ("ftp://evil/1", "http://mlflow:5000", False),
        ("http://[", "http://mlflow:5000", False),
    ],
)
def test_artifacts_are_read_only_where_they_may_be(place, registry, legal):
    assert legal_place(place, registry) is legal
