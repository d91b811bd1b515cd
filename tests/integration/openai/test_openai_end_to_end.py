"""Real language model servers (LitServe) behind titleshot, and the real client of the OpenAI API in front of it."""

import itertools
import json
import threading
import time

import httpx
import openai
import pytest
from asking import curled
from litserve_server import LitServe, interpreter
from world import MODEL, World, wait_for

PAUSE_SECONDS = 0.15  # of litserve_app.py, which only LitServe's Python can import

SERVED_AS = "org/small-8B"
LARGE = "large"

POLICY = """
    predicts: multiclass
    answer: {compare: normalised}
    gate: "off"
    alpha: 0.05
    guardrails:
      accuracy:    {margin: 25 points}
      error_rate:  {margin: 25 points}
    judge:
      bucket: 200ms
      bucket_min_answers: 3
      min_buckets: 5
      min_answers: 40
      min_labelled_positives: 30
      tau_window: 60s
      tau_lag: 200ms
    rollout:
      - {shadow: 100}
      - {canary: 50}
      - {promote: {}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Three versions: one, one that says the same in other letters, and one whose answers break off."""
    folder = tmp_path_factory.mktemp("litserve")
    python = interpreter()
    started = [LitServe(python, folder, late) for late in ("late", "LATE", "breaks")]
    try:
        yield started
    finally:
        for server in started:
            server.close()


class ChatWorld(World):
    """Titleshot in front of them, and of a second model, which the second server stands for."""

    def __init__(self, folder, registry_template, servers):
        self.servers = servers
        self.callers = []
        super().__init__(folder, registry_template, {})
        source = f"{folder.as_uri()}/v1"
        self.client.create_registered_model(LARGE)
        self.client.create_model_version(LARGE, source)
        self.client.set_registered_model_alias(LARGE, "champion", "1")

    def write_settings(self, policy):
        super().write_settings("")
        endpoints = ", ".join(f"{version}: {server.url!r}" for version, server in enumerate(self.servers, 1))
        written = self.settings_path.read_text().partition("models:")[0]
        self.settings_path.write_text(
            f"{written}route_by: body.model\nmodels:\n"
            f"  {MODEL}:\n    protocol: openai\n    served_as: {SERVED_AS}\n    endpoints: {{{endpoints}}}\n{POLICY}"
            f"  {LARGE}:\n    protocol: openai\n    endpoints: {{1: {self.servers[1].url!r}}}\n"
            "    guardrails: {error_rate: {margin: 1 point}}\n"
        )

    def caller(self, path="/v1", port=None):
        made = openai.OpenAI(
            base_url=f"http://127.0.0.1:{port or self.port}{path}",
            api_key="secret",
            max_retries=0,
            timeout=20,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )
        self.callers.append(made)
        return made

    def close(self):
        for each in self.callers:
            each.close()
        super().close()

    def ask(self, row=None):
        body = {"model": SERVED_AS, "messages": said("late")}
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/chat/completions", json=body, timeout=10, trust_env=False)

    def metrics(self):
        return httpx.get(f"{self.admin}/metrics", timeout=5, trust_env=False).text


def said(text):
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def chat(tmp_path_factory, registry_template, servers):
    made = ChatWorld(tmp_path_factory.mktemp("chat"), registry_template, servers)
    made.start()
    try:
        for server in servers:
            server.wait()
        made.serving(1)
        yield made
    finally:
        made.close()
        print((made.folder / "serve.log").read_text())  # noqa: T201 - shown when a test fails


def test_an_answer_passes_as_it_is(chat, servers):
    ours, theirs = chat.caller(), chat.caller(port=servers[0].port)
    for more in ({}, {"n": 2}, {"temperature": 0.5, "max_tokens": 5}):
        for text in ("is it late twice?", "calls late"):
            answers = [
                each.chat.completions.create(model=SERVED_AS, messages=said(text), **more) for each in (ours, theirs)
            ]
            told = [
                [
                    (choice.index, choice.message.content, len(choice.message.tool_calls or ()))
                    for choice in each.choices
                ]
                for each in answers
            ]
            assert told[0] == told[1]
            assert answers[0].usage == answers[1].usage
    raw = ours.chat.completions.with_raw_response.create(model=SERVED_AS, messages=said("late"))
    assert len(raw.headers["x-titleshot-id"]) == 36
    assert raw.parse().choices[0].message.content == "late "
    for each in (chat.caller(f"/models/{MODEL}/v1"), theirs):  # LitServe has no list of models, and says so itself
        with pytest.raises(openai.NotFoundError) as caught:
            each.models.list()
        assert caught.value.body == {"detail": "Not Found"}


def test_tokens_come_one_by_one_as_the_server_sends_them(chat):
    stream = chat.caller().chat.completions.create(
        model=SERVED_AS, messages=said("late, slowly, twice"), stream=True, stream_options={"include_usage": True}
    )
    came = [(time.monotonic(), chunk) for chunk in stream]
    texts = [(at, chunk.choices[0].delta.content) for at, chunk in came if chunk.choices[0].delta.content]
    assert [text for _, text in texts] == ["late ", "late "]
    assert texts[1][0] - texts[0][0] > PAUSE_SECONDS / 2  # in one piece it would be nothing
    assert came[-1][1].usage.completion_tokens == 2
    with chat.caller().chat.completions.with_streaming_response.create(
        model=SERVED_AS, messages=said("late, slowly"), stream=True
    ) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert b"".join(raw.iter_bytes()).endswith(b"data: [DONE]\n\n")


def test_an_error_inside_of_a_stream_reaches_the_client_and_counts(chat, servers):
    bodies = []
    for each in (chat.caller(), chat.caller(port=servers[0].port)):
        with each.chat.completions.with_streaming_response.create(
            model=SERVED_AS, messages=said("late, breaks"), stream=True
        ) as raw:
            assert raw.status_code == 200
            bodies.append(b"".join(raw.iter_bytes()).partition(b'data: {"error"')[2])
    assert bodies[0] == bodies[1]
    assert b"out of memory" in bodies[0]

    def failed():
        return samples(chat.metrics(), "titleshot_requests_total", role="champion", outcome="server_error") == 1

    wait_for(failed, "it is counted as an error, although its status is 200")


def test_curl(chat):
    body = json.dumps({"model": SERVED_AS, "messages": said("late"), "stream": True})
    url = f"http://127.0.0.1:{chat.port}/models/{MODEL}/v1/chat/completions"
    printed = curled(url, body, "-N", "-H", "content-type: application/json")
    assert printed.startswith("data: {")
    assert printed.endswith("data: [DONE]\n\n")


def test_the_body_names_the_model(chat):
    client = chat.caller()

    def answer(model, text="late"):
        return client.chat.completions.create(messages=said(text), model=model).choices[0].message.content

    wait_for(lambda: answer(LARGE) == "LATE ", "the other model answers")
    long = "late " * 20_000  # 100 kB before the name: several reads
    assert answer(LARGE, long) == "LATE "
    with pytest.raises(openai.NotFoundError) as unknown:
        answer(MODEL)  # clients know it by another name
    assert unknown.value.code == "unknown_model"
    with pytest.raises(openai.BadRequestError) as unnamed:
        client.post("/chat/completions", body={"messages": said(long)}, cast_to=object)
    assert unnamed.value.code == "unnamed_model"
    assert {each.id for each in client.models.list()} == {SERVED_AS, LARGE}
    prefixed = chat.caller(f"/models/{LARGE}/v1")
    assert prefixed.chat.completions.create(messages=said("late"), model="x").choices[0].message.content == "LATE "


class Chatter:
    """Clients in threads, streamed and not; labels are texts."""

    def __init__(self, chat, threads=3):
        self.chat = chat
        self.answered = self.failed = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._talk, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _talk(self):
        client = self.chat.caller()
        labels = []
        for turn in itertools.count():
            if self._stop.is_set():
                return
            late = turn % 3 == 0
            try:
                stream = client.chat.completions.create(
                    model=SERVED_AS, messages=said(f"is it {'late' if late else 'early'}? {turn}"), stream=True
                )
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            except openai.APIError:
                self.failed += 1
                continue
            self.answered += 1
            assert text.strip().lower() == ("late" if late else "on time")
            request_id = stream.response.headers["x-titleshot-id"]
            labels.append({"model": MODEL, "request_id": request_id, "label": "Late" if late else "on time"})
            if len(labels) >= 10:
                url = f"{self.chat.admin}/labels"
                assert httpx.post(url, json=labels, timeout=10, trust_env=False).json()["rejected"] == []
                labels = []


def test_shadow_and_canary_promote_a_version_that_says_the_same_and_roll_back_one_that_breaks_off(chat):
    chatter = Chatter(chat)
    try:
        chat.set_alias("challenger", 2)
        wait_for(lambda: chat.alias("champion") == 2, "the same in other letters is promoted", 120)
        told = {decision["kind"] for decision in chat.history()}
        assert {"start", "advance", "promote"} <= told
        assert chatter.failed == 0
        page = chat.metrics()
        for role in ("champion", "challenger"):
            assert samples(page, "titleshot_tokens_total", role=role, kind="completion") > 100
            assert samples(page, "titleshot_tokens_total", role=role, kind="prompt") > 100
            assert samples(page, "titleshot_time_per_output_token_seconds_count", role=role) > 10
        wait_for(lambda: chat.phase() == "promoted", "the rollout is over")
        before = chatter.answered
        chat.set_alias("challenger", 3)
        wait_for(lambda: chat.phase() == "rolled_back", "a version whose answers are errors with status 200", 120)
        assert chat.alias("champion") == 2
        assert chatter.failed == 0  # in shadow no client saw one
        wait_for(lambda: chatter.answered > before, "clients are answered")
        outcomes = chat.metrics()
        assert (
            samples(outcomes, "titleshot_requests_total", role="challenger", mode="shadow", outcome="server_error") > 5
        )
    finally:
        chatter.stop()


def samples(page, name, **labels):
    """The sum of the samples with these labels."""
    found = [
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items())
    ]
    assert found, (name, labels)
    return sum(found)
