"""LitServe behind titleshot, one record a request, read without JSON pointers, in every mode."""

import httpx
import pytest
import requests
from matrix import LITSERVE, cells
from model_servers import litserve
from rest_world import both_versions, rest_world

ROW = {"truth": 1, "noise": 0.2}
VERSIONS = {0: 1, 1: 2}
"""By prediction."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(litserve, tmp_path_factory.mktemp("litserve")) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    more, folder = "    predict_path: /predict\n", tmp_path_factory.mktemp("titleshot")
    with rest_world(folder, registry_template, servers, "json", "/health", more) as found:
        yield found


def by_httpx(world, count):
    with httpx.Client(trust_env=False) as client:
        for _ in range(count):
            found = client.post(f"{world.url}/predict", json=ROW).raise_for_status().json()
            yield VERSIONS[found["prediction"]]


def by_requests(world, count):
    with requests.Session() as client:
        client.trust_env = False
        for _ in range(count):
            found = client.post(f"{world.url}/predict", json=ROW, timeout=10)
            found.raise_for_status()
            yield VERSIONS[found.json()["prediction"]]


ASK = {"httpx": by_httpx, "requests": by_requests}


@pytest.mark.parametrize(("client", "mode"), cells(LITSERVE))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client])


def test_all_else_passes(world, servers):
    info = [httpx.get(f"{url}/info", trust_env=False).content for url in (world.url, servers[1].url)]
    assert info[0] == info[1]
