"""What the tests of language model servers ask in every mode, by the clients that users have."""

import contextlib
import json

import openai
from asking import curled
from model_servers import SERVED_AS

SAID = [{"role": "user", "content": "is it late?"}]
SAME = {"temperature": 0, "max_tokens": 24}
"""At this temperature a model says the same to the same."""


@contextlib.contextmanager
def caller(url):
    """OpenAI's client."""
    plain = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0, timeout=60, http_client=plain) as client:
        yield client


def whole(client):
    """Its text."""
    return client.chat.completions.create(model=SERVED_AS, messages=SAID, **SAME).choices[0].message.content


def streamed(client):
    """Its text, from its pieces."""
    with client.chat.completions.create(model=SERVED_AS, messages=SAID, stream=True, **SAME) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def metered(client):
    """Its text, from its pieces, the last of which says how many they were."""
    asked = {"model": SERVED_AS, "messages": SAID, "stream": True, "stream_options": {"include_usage": True}, **SAME}
    chunks = list(client.chat.completions.create(**asked))
    assert chunks[-1].usage.completion_tokens > 0
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def completed(client):
    """What comes after a prompt."""
    return client.completions.create(model=SERVED_AS, prompt="is it late?", **SAME).choices[0].text


def curl_streamed(url):
    """Its text, from its pieces as they are on the wire."""
    body = json.dumps({"model": SERVED_AS, "messages": SAID, "stream": True, **SAME})
    said = curled(f"{url}/v1/chat/completions", body, "-N", "-H", "content-type: application/json")
    events = [line.removeprefix("data: ") for line in said.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
