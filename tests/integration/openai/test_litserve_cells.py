"""LitServe in the OpenAI API's shape behind titleshot, by OpenAI's client and curl, in every mode."""

import chatting
import pytest
from litserve_server import LitServe, interpreter
from matrix import LITSERVE_CHAT, cells
from model_servers import SERVED_AS
from rest_world import rest_world

MORE = f"    served_as: {SERVED_AS}\n    answer: {{compare: normalised}}\n    positive: late\n"
VERSIONS = {"late": 1, "LATE": 2}
"""By what they say of it."""


class Lasting(LitServe):
    """It outlives one world: `end` ends it."""

    def close(self):
        pass

    def end(self):
        super().close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder, python = tmp_path_factory.mktemp("litserve"), interpreter()
    started = {version: Lasting(python, folder, late) for late, version in VERSIONS.items()}
    try:
        for server in started.values():
            server.wait()
        yield started
    finally:
        for server in started.values():
            server.end()


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    folder = tmp_path_factory.mktemp("titleshot")
    with rest_world(folder, registry_template, servers, "openai", "/health", MORE) as found:
        yield found


def by_openai(ask):
    def asked(world, count):
        with chatting.caller(world.url) as client:
            for _ in range(count):
                yield VERSIONS[ask(client).strip()]

    return asked


def by_curl(world, count):
    for _ in range(count):
        yield VERSIONS[chatting.curl_streamed(world.url).strip()]


ASK = {"whole": by_openai(chatting.whole), "streamed": by_openai(chatting.streamed), "curl": by_curl}


@pytest.mark.parametrize(("client", "mode"), cells(LITSERVE_CHAT))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client])
