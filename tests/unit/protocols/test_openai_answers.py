"""What is read of answers of the OpenAI API: whole, streamed, failed."""

import json

import pytest

from router.protocols.comparing import REFUSED
from router.protocols.protocol import Failed, Metered, Reading, Unreadable, Usage
from router.protocols.select import protocol, reader

OPENAI = protocol("openai")
EXACT = OPENAI.reader(Reading(compare="exact"))


def whole(*messages, **more):
    choices = [{"index": index, "message": message, "finish_reason": "stop"} for index, message in enumerate(messages)]
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": choices, **more}).encode()


def said(text):
    return {"role": "assistant", "content": text}


def event(data):
    return b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode())


def chunk(delta, index=0, **more):
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta}], "usage": None, **more}


def stream(*chunks, end=b"data: [DONE]\n\n"):
    return b"".join(map(event, chunks)) + end


def classes(body, read=EXACT):
    return [prediction.value for prediction in read(body)]


CALL = {"id": "call_7", "type": "function", "function": {"name": "late", "arguments": '{"by": 15, "a": [1]}'}}
CALLS = '[{"arguments":{"a":[1],"by":15},"name":"late"}]'


@pytest.mark.parametrize(
    ("method", "path", "predicts"),
    [
        (b"POST", b"/v1/chat/completions", True),
        (b"POST", b"/v1/completions", True),
        (b"POST", b"/v1/embeddings", True),
        (b"POST", b"/v1/responses", True),
        (b"POST", b"/openai/deployments/m/chat/completions", True),
        (b"GET", b"/v1/models", False),
        (b"GET", b"/v1/chat/completions", False),
        (b"POST", b"/v1/responses/resp_1/cancel", False),
        (b"POST", b"/tokenize", False),
    ],
)
def test_what_is_a_prediction(method, path, predicts):
    assert OPENAI.calls_for_prediction(method, path) is predicts
    assert OPENAI.model_in_path(path) is None


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (whole(said("late")), ["late"]),
        (whole(said("late"), said("on time")), ["late", "on time"]),
        (json.dumps({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]}).encode(), ["a", "b"]),
        (whole({"content": None, "tool_calls": [CALL]}), [CALLS]),
        (whole({"content": None, "function_call": CALL["function"]}), [CALLS]),
        (whole({"content": [{"type": "text", "text": "la"}, {"type": "text", "text": "te"}]}), ["late"]),
        (whole({"content": None}), [""]),
        (b"\n \n" + whole(said("late")), ["late"]),
        (stream(chunk({"content": ""}), chunk({"content": "la"}), chunk({"content": "te"})), ["late"]),
        (stream(chunk({"content": "b"}, 1), chunk({"content": "a"}), chunk({"content": "B"}, 1)), ["a", "bB"]),
        (stream({"choices": [{"index": 0, "text": "la"}]}, {"choices": [{"index": 0, "text": "te"}]}), ["late"]),
        (
            stream(
                chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "late", "arguments": ""}}]}),
                chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"by": 15,'}}]}),
                chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "a": [1]}'}}]}),
            ),
            [CALLS],
        ),
        (b": a comment\r\n\r\n" + stream(chunk({"content": "late"})).replace(b"\n", b"\r\n"), ["late"]),
        (b"event: x\ndata: " + json.dumps(chunk({"content": "late"}), indent=1).replace("\n", "\ndata:").encode()
         + b"\n\ndata:[DONE]", ["late"]),
    ],
)  # fmt: skip
def test_each_choice_is_a_row(body, texts):
    assert classes(body) == texts


def test_a_stream_says_what_the_whole_answer_says():
    text = 'naïve ☂ \n\n data: [DONE] \\ " '
    pieces = stream(*(chunk({"content": letter}) for letter in text))
    assert classes(pieces) == classes(whole(said(text)))


@pytest.mark.parametrize(
    "body",
    [
        whole({"content": None, "refusal": "I cannot."}),
        stream(chunk({"refusal": "I "}), chunk({"refusal": "cannot."})),
        json.dumps({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}).encode(),
    ],
)
def test_refusals_are_one_class(body):
    assert EXACT(body) == [REFUSED]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (stream(chunk({"content": "la"}), end=b""), 0),
        (stream(chunk({"content": "la"}), end=b'data: {"choices": [{"in'), 0),
        (stream(chunk({"content": "la"}), {"error": {"message": "out of memory", "code": None}}), 500),
        (stream(chunk({"content": "la"}), {"error": {"message": "too long", "code": 400}}, end=b""), 400),
        (stream({"error": "broken"}), 500),
        (stream({"error": {"message": "busy", "code": "503"}}), 503),
        (json.dumps({"error": {"message": "no", "code": 99}}).encode(), 500),
        (b'{"object": "error", "message": "no", "type": "BadRequestError", "code": 422}', 422),
        (b'{"id": "resp_1", "object": "response", "status": "failed", "output": []}', 500),
        (b'event: error\ndata: {"type": "error", "code": "server_error", "message": "no"}\n\n', 500),
        (stream({"type": "response.failed", "response": {"status": "failed", "error": {"code": "x"}}}), 500),
        (stream({"type": "response.output_text.delta", "delta": "la"}, end=b""), 0),
    ],
)
def test_failed_although_the_status_is_200(body, status):
    with pytest.raises(Failed) as caught:
        EXACT(body)
    assert caught.value.status == status
    with pytest.raises(Failed):  # whether or not anything is compared
        OPENAI.reader(Reading())(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[1]",
        b"{",
        b'{"choices": []}',
        b'{"predictions": [1]}',
        b'{"choices": [{"index": "no"}]}',
        b"data: [DONE]\n\n",
        b"data: no JSON\n\ndata: [DONE]\n\n",
        b'{"choices": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_answer(body):
    with pytest.raises(Unreadable) as caught:
        EXACT(body)
    assert type(caught.value) is Unreadable


def test_responses_whole_and_streamed():
    response = {
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "late"}]},
        ],
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    streamed = stream(
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "delta": "late"},
        {"type": "response.completed", "response": response},
        end=b"",
    )
    read = EXACT(json.dumps(response).encode())
    assert [each.value for each in read] == classes(streamed) == ["late"]
    assert read.usage == Usage(5, 2)
    assert EXACT(streamed).usage == Usage(5, 2, streamed=True)
    called = {"output": [{"type": "function_call", "call_id": "x", **CALL["function"]}]}
    assert classes(json.dumps(called).encode()) == [CALLS]


def test_embeddings_and_texts_that_are_not_compared_predict_nothing():
    embeddings = b'{"object": "list", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}'
    for read in (EXACT, OPENAI.reader(Reading())):
        answer = read(embeddings)
        assert answer == []
        assert answer.usage == Usage(3, 0)
    assert OPENAI.reader(Reading())(whole(said("late"))) == []


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (whole(said("a"), usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}), Usage(9, 4)),
        (
            stream(chunk({"content": "a"}), {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}),
            Usage(9, 4, streamed=True),
        ),
        (
            stream(
                chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": 1}),
                chunk({"content": "b"}, usage={"prompt_tokens": 9, "completion_tokens": 2}),
            ),
            Usage(9, 2, streamed=True),
        ),
        (
            stream(chunk({"role": "assistant", "content": ""}), *[chunk({"content": "a"})] * 3),
            Usage(0, 3, streamed=True),
        ),
        (whole(said("a"), usage={"prompt_tokens": -4, "completion_tokens": 10**30}), Usage(0, 10**30)),
    ],
)
def test_what_an_answer_took(body, usage):
    answer = EXACT(body)
    assert type(answer) is Metered
    assert answer.usage == usage


def test_what_says_nothing_of_tokens_is_a_plain_list():
    assert type(EXACT(whole(said("a")))) is list


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading(prediction="x"), "expected no answer.prediction and answer.rows"),
        (Reading(rows="x"), "expected no answer.prediction and answer.rows"),
        (Reading(score="/x"), "expected no answer.score, or answer.compare"),
        (Reading(compare="alike"), "expected exact, normalised"),
        (Reading(compare="exact", score="/x"), "expected no answer.score, or texts that are JSON"),
        (Reading(compare="field:/x", score="x"), "expected a JSON pointer"),
    ],
)
def test_settings_that_make_no_sense(reading, expected):
    with pytest.raises(ValueError, match=expected):
        OPENAI.reader(reading)


def test_only_texts_are_compared():
    with pytest.raises(ValueError, match=r"expected no answer.compare"):
        reader("mlflow", Reading(compare="exact"))
