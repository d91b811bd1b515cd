"""From recorded answers of language models to observations, and what they took."""

import json
import math

import numpy as np
import pytest
from test_extract import exchange

from comparator.class_code import class_code
from comparator.events import Outcome, Role
from router.control.extract import extract
from router.control.metrics import Metrics
from router.control.tokens import TOKENS, TokenTally
from router.link.messages import BODY_UNREAD, Exchanges
from router.protocols.coding import Coding, Predicts
from router.protocols.protocol import Reading
from router.protocols.select import reader

CLASSES = Coding(Predicts.MULTICLASS)


def extracted(*exchanges, compare="exact", coding=CLASSES):
    rows, bodies = zip(*exchanges, strict=True)
    read = reader("openai", Reading(compare=compare))
    return extract(Exchanges("chat", b"".join(rows), b"".join(bodies)), read, coding)


def whole(*texts, **more):
    choices = [{"index": index, "message": {"content": text}} for index, text in enumerate(texts)]
    return json.dumps({"choices": choices, **more}).encode()


def stream(*pieces, end=b"data: [DONE]\n\n"):
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + end


def test_texts_become_codes_row_by_row():
    columns = extracted(exchange(whole("late", "on time")), exchange(stream("la", "te"))).columns
    assert columns["prediction"].tolist() == [class_code("late"), class_code("on time"), class_code("late")]
    assert columns["row"].tolist() == [0, 1, 0]
    assert (columns["outcome"] == Outcome.OK).all()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (stream("la", end=b""), Outcome.BROKEN),
        (stream("la", end=b'data: {"error": {"message": "no"}}\n\n'), Outcome.SERVER_ERROR),
        (b'{"error": {"code": 400}}', Outcome.CLIENT_ERROR),
        (b"<html>", Outcome.GARBAGE),
    ],
)
@pytest.mark.parametrize("compare", ["", "exact"])
def test_failures_inside_of_200(body, outcome, compare):
    found = extracted(exchange(body), exchange(whole("late")), compare=compare)
    assert found.columns["outcome"].tolist() == [outcome, Outcome.OK]
    assert math.isnan(found.columns["prediction"][0])
    assert found.unreadable == (outcome is Outcome.GARBAGE)


def test_what_predicts_nothing_is_good_and_what_should_predict_and_does_not_is_garbage():
    plain = extracted(exchange(whole("late")), compare="")
    assert plain.columns["outcome"].tolist() == [Outcome.OK]
    assert math.isnan(plain.columns["prediction"][0])
    assert (plain.unreadable, plain.unread) == (0, 0)
    field = extracted(exchange(whole("no JSON")), exchange(whole("no JSON", '{"x": 1}')), compare="field:/x")
    assert field.columns["outcome"].tolist() == [Outcome.GARBAGE, Outcome.OK, Outcome.OK]
    assert np.isnan(field.columns["prediction"]).tolist() == [True, True, False]


def test_a_number_is_compared_with_the_positive_one_and_is_its_score():
    columns = extracted(
        exchange(whole('{"p": 1}')), exchange(whole('{"p": 0.5}')), compare="number:/p", coding=Coding()
    )
    assert columns.columns["prediction"].tolist() == [1.0, 0.0]
    assert columns.columns["score"].tolist() == [1.0, 0.5]


USAGE = {"prompt_tokens": 7, "completion_tokens": 11}


def test_tokens_by_role_and_time_for_each_after_the_first():
    found = extracted(
        exchange(whole("a", usage=USAGE), role=Role.CHAMPION),
        exchange(whole("a"), role=Role.CHAMPION),
        exchange(stream("a", "b", "c"), role=Role.CHALLENGER, first_byte=0.5, latency=1.5),
        exchange(stream("a"), role=Role.CHALLENGER, first_byte=0.5, latency=1.5),
        exchange(stream("a", end=b""), role=Role.CHALLENGER),
        exchange(role=Role.CHALLENGER, state=BODY_UNREAD),
    ).tokens
    assert found.dtype == TOKENS
    rows = [tuple(None if cell != cell else cell for cell in row) for row in found.tolist()]  # noqa: PLR0124
    assert rows == [(0, 7, 11, None), (1, 0, 3, 0.5), (1, 0, 1, None)]
    assert extracted(exchange(whole("a"))).tokens is None


def test_no_count_of_a_server_is_too_large_to_be_counted():
    tally = TokenTally()
    for _ in range(3):
        tokens = {"prompt_tokens": 10**40, "completion_tokens": 10**40}
        tally.observe(extracted(exchange(whole("a", usage=tokens), role=Role.CHAMPION)).tokens)
    assert (tally.tokens[Role.CHAMPION] > 0).all()


def test_metrics_show_them_from_the_first_on():
    metrics = Metrics()
    metrics.add_model("chat")
    assert b"titleshot_tokens_total" not in metrics.expose("")[0]
    found = extracted(
        exchange(whole("a", usage=USAGE), role=Role.CHAMPION),
        exchange(stream("a", "b", "c"), role=Role.CHALLENGER, first_byte=0.5, latency=0.9),
    )
    for _ in range(2):
        metrics.tokens("chat", found.tokens)
    page = metrics.expose("")[0].decode()
    assert 'titleshot_tokens_total{kind="prompt",model="chat",role="champion"} 14.0' in page
    assert 'titleshot_tokens_total{kind="completion",model="chat",role="challenger"} 6.0' in page
    assert 'titleshot_time_per_output_token_seconds_count{model="chat",role="challenger"} 2.0' in page
    assert 'titleshot_time_per_output_token_seconds_count{model="chat",role="champion"} 0.0' in page
    (total,) = [
        line
        for line in page.splitlines()
        if line.startswith("titleshot_time_per_output_token_seconds_sum") and "challenger" in line
    ]
    assert float(total.split()[1]) == pytest.approx(0.4, rel=1e-5)
