"""vLLM behind titleshot, on CPUs and with a tiny model: by OpenAI's client and curl, in every mode."""

import contextlib

import chatting
import httpx
import openai
import pytest
from matrix import VLLM, cells
from model_servers import SERVED_AS, vllm
from rest_world import both_versions, rest_world
from world import wait_for

pytestmark = pytest.mark.long

MORE = f"    served_as: {SERVED_AS}\n    answer: {{compare: normalised}}\n    positive: late\n"
START_SECONDS = 400
LONG = [{"role": "user", "content": "late " * 400}]
"""More than the model can take."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(vllm, tmp_path_factory.mktemp("vllm"), START_SECONDS) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    folder = tmp_path_factory.mktemp("titleshot")
    with rest_world(folder, registry_template, servers, "openai", "/health", MORE) as found:
        yield found


@pytest.fixture(scope="module")
def versions(servers):
    """Which version says a text, in a chat and after a prompt: at temperature 0 each says the same to the same."""
    found = {}
    for version, server in servers.items():
        with chatting.caller(server.url) as client:
            found |= {chatting.whole(client): version, chatting.completed(client): version}
    assert len(found) == 4
    return found


def by_openai(ask):
    def asked(world, count):
        with chatting.caller(world.url) as client:
            for _ in range(count):
                yield ask(client)

    return asked


def by_curl(world, count):
    for _ in range(count):
        yield chatting.curl_streamed(world.url)


ASK = {
    "whole": by_openai(chatting.whole),
    "streamed": by_openai(chatting.metered),
    "text": by_openai(chatting.completed),
    "curl": by_curl,
}


@pytest.mark.parametrize(("client", "mode"), cells(VLLM))
def test_cell(world, versions, client, mode):
    world.cell(mode, lambda world, count: [versions[said] for said in ASK[client](world, count)])


def test_tokens_are_counted(world):
    world.enter("canary")
    wanted = {(role, kind) for role in ("champion", "challenger") for kind in ("prompt", "completion")}

    def told():
        found = [
            name for name, value in world.samples().items() if name.startswith("titleshot_tokens_total{") and value
        ]
        return {
            (role, kind) for role, kind in wanted if any(f'"{role}"' in name and f'"{kind}"' in name for name in found)
        }

    with chatting.caller(world.url) as client:
        wait_for(lambda: chatting.metered(client) and told() == wanted, "the tokens of both versions are told")


def test_all_else_passes(world, servers):
    with httpx.Client(trust_env=False) as client:
        for path in ("/v1/models", "/version", "/health", "/nowhere"):
            ours, theirs = (client.get(url + path) for url in (world.url, servers[1].url))
            assert ours.status_code == theirs.status_code
            assert ours.headers.get("content-type") == theirs.headers.get("content-type")
        models = client.get(f"{world.url}/v1/models").json()["data"]
        assert [model["id"] for model in models] == [SERVED_AS]


def test_errors_are_vllms_own_and_count(world, servers):
    for ask, kind in (
        ({"model": SERVED_AS, "messages": LONG}, openai.BadRequestError),
        ({"model": SERVED_AS, "messages": LONG, "stream": True}, openai.BadRequestError),
        ({"model": "other", "messages": chatting.SAID}, openai.NotFoundError),
    ):
        told = []
        for url in (world.url, servers[1].url):
            with chatting.caller(url) as client, pytest.raises(kind) as caught:
                client.chat.completions.create(**ask)
            told.append(caught.value.body["message"])
        assert told[0] == told[1]
    wait_for(lambda: any(outcome == "client_error" for _, _, outcome in world.answers()), "they count")


def test_a_client_that_names_its_request_finds_the_name_in_the_answer(world):
    with chatting.caller(world.url) as client:
        said = client.chat.completions.with_raw_response.create(
            model=SERVED_AS, messages=chatting.SAID, max_tokens=2, extra_headers={"x-request-id": "order-4711"}
        )
        assert "order-4711" in said.parse().id
        unnamed = client.chat.completions.with_raw_response.create(
            model=SERVED_AS, messages=chatting.SAID, max_tokens=2
        )
        assert unnamed.headers["x-titleshot-id"] in unnamed.parse().id


def test_a_client_that_leaves_in_mid_answer_leaves_the_server_free(world):
    asked = {"model": SERVED_AS, "messages": chatting.SAID, "max_tokens": 200, "stream": True}
    for _ in range(8):
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("POST", f"{world.url}/v1/chat/completions", json=asked, timeout=30, trust_env=False) as answer,
        ):
            next(answer.iter_raw())

    def running():
        pages = [httpx.get(f"{server.url}/metrics", trust_env=False).text for server in world.stubs.values()]
        lines = [line for page in pages for line in page.splitlines() if line.startswith("vllm:num_requests_running")]
        assert lines
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    wait_for(lambda: running() == 0, "vLLM has dropped what nobody waits for")
