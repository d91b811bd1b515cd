"""What answers say of a server's contract."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.guardrail import Verdict
from router.artifacts.signature import Columns
from router.protocols.protocol import Prediction
from router.protocols.questions import MlflowQuestions
from router.staging import contract
from router.staging.contract import Answer

MLFLOW = MlflowQuestions()
P, F, Q = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
COLUMNS = Columns({"x": "double", "n": "long", "s": "string", "t": "datetime"}, frozenset({"x", "n", "s"}))
ROW = {"x": 1.0, "n": 2, "s": "a", "t": "2024-01-01"}
REFUSED, BROKEN, NOTHING = Answer(400), Answer(500), Answer(None)


def good(*values, body=b"{}"):
    return Answer(200, body, tuple(Prediction(value) for value in values))


UNREADABLE = Answer(200, b"<html>", None)


@pytest.mark.parametrize(
    ("answer", "rows", "verdict", "says"),
    [
        (good(1.0), 1, P, "a good request of 1 row is answered"),
        (good(1.0), 2, F, "got 1 row"),
        (UNREADABLE, 1, F, "an answer without readable predictions"),
        (REFUSED, 1, F, "status 400"),
        (NOTHING, 1, F, "no answer in time"),
    ],
)
def test_a_good_request(answer, rows, verdict, says):
    check = contract.answered("contract.one_row", answer, rows)
    assert (check.verdict, says in check.reason) == (verdict, True)


def test_every_shape_is_answered_alike():
    like = [Prediction(1.0), Prediction(0.0)]
    shapes = MLFLOW.shapes(["x"], [{"x": 1.0}, {"x": 2.0}])
    assert {name: json.loads(body) for name, body in shapes.items()} == {
        "dataframe_records": {"dataframe_records": [{"x": 1.0}, {"x": 2.0}]},
        "instances": {"instances": [{"x": 1.0}, {"x": 2.0}]},
        "inputs": {"inputs": [{"x": 1.0}, {"x": 2.0}]},
        "inputs by column": {"inputs": {"x": [1.0, 2.0]}},
    }
    answers = dict.fromkeys(shapes, good(1.0, 0.0))
    assert contract.all_answered("contract.shapes", "shapes", answers, like).verdict is P
    other = contract.all_answered("contract.shapes", "shapes", {**answers, "inputs": good(1.0, 1.0)}, like)
    assert (other.verdict, "other predictions for the same rows as inputs" in other.reason) == (F, True)
    wrong = contract.all_answered("contract.shapes", "shapes", {**answers, "instances": BROKEN}, like)
    assert (wrong.verdict, "instances got status 500" in wrong.reason) == (F, True)
    assert contract.all_answered("contract.shapes", "shapes", answers, None).verdict is Q


def test_each_column_is_left_out_once():
    requests = {name: json.loads(body)["dataframe_split"] for name, body in contract.without_each(MLFLOW, COLUMNS, ROW)}
    assert {name: set(COLUMNS.names) - set(each["columns"]) for name, each in requests.items()} == {
        name: {name} for name in COLUMNS.names
    }


@pytest.mark.parametrize(
    ("changed", "verdict", "says"),
    [
        ({}, P, "each of 3 required columns left out is a client error, each of 1 optional ones is not missed"),
        ({"n": good(1.0)}, F, "expected a client error (4xx): n (1 row)"),
        ({"n": BROKEN}, F, "n (status 500)"),
        ({"n": NOTHING}, F, "n (no answer in time)"),
        ({"t": REFUSED}, F, "optional columns left out, expected an answer: t (status 400)"),
    ],
)
def test_columns_matter_as_the_signature_says(changed, verdict, says):
    answers = {"x": REFUSED, "n": Answer(422), "s": REFUSED, "t": good(1.0), **changed}
    check = contract.columns_matter(COLUMNS, answers)
    assert (check.verdict, says in check.reason) == (verdict, True), check.reason


def test_nothing_asked_is_no_pass():
    assert contract.columns_matter(COLUMNS, {}).verdict is Q
    assert contract.refused("contract.wrong_type", "values", {}).verdict is Q
    assert contract.all_answered("contract.shapes", "shapes", {}, [Prediction(1.0)]).verdict is Q
    assert contract.batches_agree([], [Prediction(1.0)]).verdict is Q
    assert contract.batches_agree([None], [Prediction(1.0)]).verdict is Q
    assert contract.batches_agree([Prediction(1.0)], None).verdict is Q


def test_wrong_values_are_of_the_types_that_can_be_wrong():
    asked = dict(contract.wrong_types(MLFLOW, COLUMNS, ROW))
    assert list(asked) == ["x", "n", "t", "rows that are a text"]
    assert json.loads(asked["n"])["dataframe_split"]["data"] == [[1.0, "no long", "a", "2024-01-01"]]
    assert contract.refused("contract.wrong_type", "values", dict.fromkeys(asked, REFUSED)).verdict is P
    check = contract.refused("contract.wrong_type", "values", {**dict.fromkeys(asked, REFUSED), "x": good(0.0)})
    assert (check.verdict, "x got 1 row" in check.reason) == (F, True)


def test_a_server_that_takes_bad_requests_for_its_own_errors_is_no_worse_than_the_champions():
    asked = {"broken JSON": BROKEN, "a list": REFUSED, "no body": BROKEN}
    assert contract.excusable(asked) == ["broken JSON", "no body"]

    def check(theirs):
        return contract.refused("contract.malformed", "malformed requests", asked, theirs)

    assert check({}).verdict is F
    assert check({"broken JSON": BROKEN, "no body": REFUSED}).verdict is F
    assert check({"broken JSON": BROKEN, "no body": Answer(None)}).verdict is F
    alike = check({"broken JSON": BROKEN, "no body": BROKEN})
    assert alike.verdict is P
    assert alike.reason == (
        "malformed requests: 1 bad request is a client error, 2 are errors of the server, as of the champion's: "
        "broken JSON got status 500, no body got status 500"
    )


@pytest.mark.parametrize("answer", [good(0.0), NOTHING, *map(Answer, (502, 503, 504))])
def test_an_answer_that_guesses_or_is_no_servers_is_no_refusal_whatever_the_champion_does(answer):
    assert contract.excusable({"x": answer, "y": BROKEN}) == []
    assert contract.refused("contract.wrong_type", "values", {"x": answer}, {"x": answer}).verdict is F


def test_an_extra_column_is_refused_or_changes_nothing():
    assert contract.extra_column(REFUSED, good(1.0)).verdict is P
    assert contract.extra_column(good(1.0), good(1.0)).verdict is P
    assert contract.extra_column(good(0.0), good(1.0)).verdict is F
    assert contract.extra_column(BROKEN, good(1.0)).verdict is F
    assert contract.extra_column(good(1.0), BROKEN).verdict is Q
    odd = Columns({"not_in_the_signature": "double"}, frozenset())
    (columns,) = [json.loads(contract.with_extra_column(MLFLOW, odd, {}))["dataframe_split"]["columns"]]
    assert len(set(columns)) == 2


def test_an_empty_batch():
    assert contract.empty_batch(Answer(200, b'{"predictions": []}', None)).verdict is P
    assert contract.empty_batch(REFUSED).verdict is P
    assert contract.empty_batch(good(1.0)).verdict is F
    assert contract.empty_batch(BROKEN).verdict is F
    assert contract.empty_batch(NOTHING).verdict is F


def test_the_input_example():
    assert contract.example_answered(good(1.0)).verdict is P
    assert contract.example_answered(UNREADABLE).verdict is F
    assert contract.example_answered(REFUSED).verdict is F


def test_alone_and_in_a_batch():
    together = [Prediction(1.0, 0.9), Prediction(float("nan")), Prediction("late")]
    assert contract.batches_agree(together, together).verdict is P
    other = [Prediction(1.0, 0.8), *together[1:]]
    check = contract.batches_agree(other, together)
    assert (check.verdict, "1 of 3 rows" in check.reason) == (F, True)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (b'{"predictions": [1, 0]}', b'{"predictions": [0.5]}', P),
        (b'{"predictions": [1, null]}', b'{"predictions": [0.5]}', P),
        (b'{"predictions": [NaN]}', b'{"predictions": [0.5]}', P),
        (b'{"predictions": ["late"]}', b'{"predictions": [0.5]}', F),
        (b'{"predictions": [{"label": 1, "score": 0.5}]}', b'{"predictions": [{"label": 1}]}', F),
        (b'{"predictions": [{"label": 1}]}', b'{"predictions": [{"label": 1, "score": 0.5}]}', F),
        (b'{"predictions": [1], "version": 2}', b'{"predictions": [1]}', F),
        (b"<html>", b'{"predictions": [1]}', F),
        (b'{"predictions": [1]}', b"<html>", Q),
    ],
)
def test_the_schema_of_answers_is_the_champions(ours, theirs, verdict):
    assert contract.same_schema(Answer(200, ours), Answer(200, theirs)).verdict is verdict


def test_without_a_champion_the_schema_cannot_be_compared():
    assert contract.same_schema(good(1.0), None).verdict is Q
    assert contract.same_schema(good(1.0), BROKEN).verdict is Q
    assert contract.same_schema(BROKEN, good(1.0)).verdict is F


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body):
    contract.shape(body)


def test_a_deep_body_has_no_shape():
    assert contract.shape(b"[" * 100_000) is None
