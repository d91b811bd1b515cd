"""From a proxy's message to observations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import OBSERVATION, Mode, Outcome, Role
from router.control.extract import EXCHANGE, MOST_ROWS, extract
from router.link.messages import BODY_NONE, BODY_PROTO, BODY_UNREAD, BODY_WHOLE, COPY_FIRST, EXCHANGE_ROW, Exchanges
from router.protocols.coding import Coding, Predicts
from router.protocols.open_inference_grpc import reader
from router.protocols.protocol import Reading
from router.protocols.select import protocol

MLFLOW = protocol("mlflow").reader(Reading())
_ids = itertools.count(1)


def exchange(body=b"", *, outcome=Outcome.OK, state=BODY_WHOLE, length=None, **columns):
    given = {
        "at": 1000.5,
        "rollout_id": 2**60,
        "request_hi": 2**63 + 5,
        "request_lo": next(_ids),
        "version": 7,
        "body_length": len(body) if length is None else length,
        "first_byte": 0.5,
        "latency": 0.75,
        "flags": 0,
        "status": 200,
        "role": Role.CHALLENGER,
        "mode": Mode.SHADOW,
        "attempted_both": True,
        "outcome": outcome,
        "body_state": state,
        **columns,
    }
    return EXCHANGE_ROW.pack(*given.values()), body


def extracted(*exchanges, positive=1.0, coding=None):
    rows, bodies = zip(*exchanges, strict=True) if exchanges else ((), ())
    return extract(Exchanges("late", b"".join(rows), b"".join(bodies)), MLFLOW, coding or Coding(positive=positive))


def test_the_columns_are_those_of_the_packed_row():
    values = (1.5, 2, 3, 4, 5, 6, 7.5, 8.5, 9, 10, 1, 2, 1, 4, 5)
    (row,) = np.frombuffer(EXCHANGE_ROW.pack(*values), EXCHANGE)
    assert tuple(row.tolist()) == values
    assert EXCHANGE.itemsize == EXCHANGE_ROW.size


def test_one_row_carries_everything_over():
    (row,) = extracted(exchange(b'{"predictions": [[0.2, 0.8]]}', flags=COPY_FIRST)).columns
    found = dict(zip(OBSERVATION.names, row.tolist(), strict=True))
    assert found.pop("request_lo") > 0
    assert found.pop("score") == 0.8
    assert found == {
        "at": 1000.5,
        "rollout_id": 2**60,
        "request_hi": 2**63 + 5,
        "row": 0,
        "version": 7,
        "role": Role.CHALLENGER,
        "mode": Mode.SHADOW,
        "shed": False,
        "copy_first": True,
        "attempted_both": True,
        "outcome": Outcome.OK,
        "first_byte": 0.5,
        "latency": 0.75,
        "prediction": 1.0,
    }


def test_answers_over_grpc_have_a_reader_of_their_own():
    body = b"".join((b"\x2a\x0b", b"\x0a\x01y", b"\x12\x04BOOL", b"\x18\x02", b"\x32\x02\x01\x00"))  # [true, false]
    rows, bodies = zip(exchange(body, state=BODY_PROTO), exchange(b'{"predictions": [1]}'), strict=True)
    both = Exchanges("late", b"".join(rows), b"".join(bodies))
    found = extract(both, MLFLOW, Coding(), reader(Reading()))
    assert found.columns["prediction"].tolist() == [1.0, 0.0, 1.0]
    assert (found.unreadable, found.unread) == (0, 0)
    unread = extract(both, MLFLOW, Coding())  # the model has no gRPC endpoints any more
    assert (unread.unreadable, unread.unread) == (0, 1)
    assert unread.columns["prediction"].tolist()[1:] == [1.0]
    assert unread.columns["outcome"].tolist() == [Outcome.OK, Outcome.OK]


def test_the_rows_of_a_request_follow_one_another():
    columns = extracted(
        exchange(b'{"predictions": [1, 0, 1]}', request_lo=11),
        exchange(outcome=Outcome.TIMEOUT, state=BODY_NONE, request_lo=12),
        exchange(b'{"predictions": [0, 1]}', request_lo=13),
    ).columns
    assert columns["request_lo"].tolist() == [11, 11, 11, 12, 13, 13]
    assert columns["row"].tolist() == [0, 1, 2, 0, 0, 1]
    np.testing.assert_array_equal(columns["prediction"], [1, 0, 1, math.nan, 0, 1])
    assert columns["outcome"].tolist() == [0, 0, 0, Outcome.TIMEOUT, 0, 0]


@pytest.mark.parametrize(
    ("positive", "predictions", "expected"),
    [
        (1.0, b"[1, 1.0, true, 0, false, 2, 0.99]", [1, 1, 1, 0, 0, 0, 0]),
        (True, b"[1, true, 0]", [1, 1, 0]),
        (2.0, b"[1, 2, null, NaN, Infinity]", [0, 1, math.nan, math.nan, 0]),
        ("late", b'["late", "Late", "", null]', [1, 0, 0, math.nan]),
        (1.0, b'[1, "1"]', [1, math.nan]),
        ("1", b'[1, "1"]', [math.nan, 1]),
    ],
)
def test_a_prediction_is_whether_the_value_is_the_positive_one(positive, predictions, expected):
    found = extracted(exchange(b'{"predictions": ' + predictions + b"}"), positive=positive)
    np.testing.assert_array_equal(found.columns["prediction"], expected)
    assert found.unreadable == 0


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ("[1, 2.5, -3]", [1.0, 2.5, -3.0]),
        ('[1e3, "high"]', [1000.0, math.nan]),
    ],
)
def test_predictions_of_a_regression_are_kept_as_numbers(predictions, expected):
    columns = extracted(exchange(f'{{"predictions": {predictions}}}'.encode()), coding=Coding(Predicts.NUMBER)).columns
    np.testing.assert_array_equal(columns["prediction"], expected)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"predictions": []}', b'{"predictions": [NaN]}', b'{"predictions": ["late"]}']
)
def test_a_good_answer_without_a_prediction_is_garbage(body):
    found = extracted(exchange(body), exchange(b'{"predictions": [1]}'))
    assert found.columns["outcome"].tolist() == [Outcome.GARBAGE, Outcome.OK]
    np.testing.assert_array_equal(found.columns["prediction"], [math.nan, 1])
    assert (found.unreadable, found.unread) == (1, 0)


def test_an_answer_that_was_not_kept_is_no_garbage():
    found = extracted(exchange(state=BODY_UNREAD), exchange(b'{"predictions": [1]}'))
    assert found.columns["outcome"].tolist() == [Outcome.OK, Outcome.OK]
    np.testing.assert_array_equal(found.columns["prediction"], [math.nan, 1])
    assert (found.unreadable, found.unread) == (0, 1)


def test_the_body_of_a_failure_is_not_looked_at():
    found = extracted(
        exchange(b"not JSON", outcome=Outcome.SERVER_ERROR, status=500), exchange(b'{"predictions": [1]}')
    )
    assert found.columns["outcome"].tolist() == [Outcome.SERVER_ERROR, Outcome.OK]
    np.testing.assert_array_equal(found.columns["prediction"], [math.nan, 1])
    assert found.unreadable == 0


def test_a_huge_answer_is_left_unread():
    body = b'{"predictions": [' + b",".join([b"1"] * (MOST_ROWS + 1)) + b"]}"
    found = extracted(exchange(body))
    assert len(found.columns) == 1
    assert (found.unreadable, found.unread) == (0, 1)
    assert found.columns["outcome"].tolist() == [Outcome.OK]


def test_a_fault_over_one_body_is_not_worth_the_others(caplog):
    def read(body):
        if body == b"bad":
            raise ZeroDivisionError
        return MLFLOW(body)

    rows, bodies = zip(exchange(b"bad"), exchange(b'{"predictions": [1]}'), strict=True)
    found = extract(Exchanges("late", b"".join(rows), b"".join(bodies)), read, Coding())
    assert found.columns["outcome"].tolist() == [Outcome.GARBAGE, Outcome.OK]
    assert found.unreadable == 1
    assert "ZeroDivisionError" in caplog.text


def test_lengths_that_do_not_add_up_blame_no_version():
    found = extracted(exchange(b'{"predictions": [1]}', length=1000))
    assert found.columns["outcome"].tolist() == [Outcome.OK]
    assert np.isnan(found.columns["prediction"]).all()
    assert found.unread == 1


def test_nothing_in_nothing_out():
    found = extracted()
    assert found.columns.dtype == OBSERVATION
    assert len(found.columns) == 0


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40) | st.sampled_from([b'{"predictions": [1, 0]}', b'{"predictions": [NaN]}']),
            st.sampled_from(list(Outcome)),
            st.sampled_from([BODY_WHOLE, BODY_UNREAD, BODY_NONE]),
        )
    ),
    st.sampled_from([1.0, True, "late"]),
)
def test_every_exchange_is_observed_whatever_its_body(exchanges, positive):
    sent = [exchange(body, outcome=outcome, state=state) for body, outcome, state in exchanges]
    columns = extracted(*sent, positive=positive).columns
    first = columns[columns["row"] == 0]
    assert len(first) == len(exchanges)
    for row, (_, outcome, _) in zip(first, exchanges, strict=True):
        assert row["outcome"] == outcome or (outcome is Outcome.OK and row["outcome"] == Outcome.GARBAGE)
    assert set(columns["prediction"][~np.isnan(columns["prediction"])]) <= {0.0, 1.0}
