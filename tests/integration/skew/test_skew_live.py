"""A version registered with its training profile in a real MLflow; traffic that drifts and breaks its signature."""

import json
import random

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from world import MODEL, QUICK_POLICY, World, wait_for

from router.artifacts.profile import Profile, as_text
from router.registering.versions import Lineage, Versions

SKEW = "    skew: {share: 100, window: 5m, min_rows: 300}\n"
SHADOW = """
    rollout:
      - shadow: 100
        for: 1h
      - promote: {}
"""


def trained(seed=1, count=2000, scale=1.0):
    draw = random.Random(seed)
    made = Profile()
    made.take(
        {
            "truth": [int(draw.random() < 0.4) for _ in range(count)],
            "noise": [scale * draw.gauss(0, 1) for _ in range(count)],
            "label": [int(draw.random() < 0.4) for _ in range(count)],  # no feature: the signature does not have it
        }
    )
    return as_text(made.data())


@pytest.fixture
def world(tmp_path, registry_template):
    made = World(tmp_path, registry_template, {1: lambda _: 1.0, 2: lambda _: 1.0})
    registry = Versions(f"sqlite:///{made.registry_file}")
    registry.annotate(MODEL, 1, Lineage(profile=trained()), by="ann", replace=None)
    registry.annotate(MODEL, 2, Lineage(profile=trained(scale=1000.0)), by="ann", replace=None)
    made.write_settings(QUICK_POLICY + SHADOW + SKEW)
    yield made
    made.close()
    print((tmp_path / "serve.log").read_text())  # noqa: T201 - shown when the test fails


def send(world, rows):
    answer = httpx.post(
        f"http://127.0.0.1:{world.port}/invocations", json={"inputs": rows}, timeout=10, trust_env=False
    )
    assert answer.status_code == 200
    return answer.json()["predictions"]


def rows(count, scale, seed=2):
    draw = random.Random(seed)
    return [{"truth": int(draw.random() < 0.4), "noise": scale * draw.gauss(0, 1)} for _ in range(count)]


def samples(world, name):
    page = httpx.get(f"{world.admin}/metrics", timeout=5, trust_env=False).raise_for_status().text
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label != "model"): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


def test_what_drifts_and_what_breaks_the_signature_is_named(world):
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is in shadow")

    def both_known():
        roles = world.status()["skew"]["roles"]
        return {each["no_profile"] for each in roles.values()} == {""} and len(roles) == 2

    wait_for(both_known, "signature and profile of both are read", 30)
    sent = rows(600, scale=1.0)
    for begin in range(0, 600, 20):
        assert len(send(world, sent[begin : begin + 20])) == 20
    send(world, [{"truth": True, "noise": "loud"}])
    send(world, [{"noise": 0.5, "more": 1}])

    def roles():
        return world.status()["skew"]["roles"]

    # version 1 was trained on what comes; version 2 on the same in another unit
    wait_for(lambda: roles()["challenger"]["skewed"] == 1, "the challenger's feature is named", 30)
    skew = world.status()["skew"]
    champion, challenger = skew["roles"]["champion"], skew["roles"]["challenger"]
    assert champion["skewed"] == 0
    assert {each["name"]: each["skewed"] for each in challenger["features"]} == {"noise": True, "truth": False}
    (noise,) = (each for each in challenger["features"] if each["name"] == "noise")
    assert noise["psi"] > noise["threshold"] >= 0.1
    assert champion["compared"] == 2
    broken = {(each["column"], each["break"]): each["requests"] for each in champion["contract"] if each["requests"]}
    assert broken == {
        ("truth", "coerced"): 1,
        ("noise", "wrong_type"): 1,
        ("truth", "missing"): 1,
        ("(not in the signature)", "extra"): 1,
    }
    assert champion["extra"] == ["more"]
    assert skew["requests"]["unreadable"] == skew["requests"]["dropped"] == 0
    answered = {(each["role"], each["difference"]): each["answers"] for each in skew["answers"]}
    assert not any(answered.values()), answered

    assert samples(world, "titleshot_feature_skewed") == {
        ("noise", "champion"): 0, ("truth", "champion"): 0, ("noise", "challenger"): 1, ("truth", "challenger"): 0,
    }  # fmt: skip
    assert samples(world, "titleshot_skewed_features") == {("champion",): 0, ("challenger",): 1}
    assert samples(world, "titleshot_contract_violations_total")["noise", "wrong_type", "champion"] == 1

    # what clients send from now on drifts for the champion, too
    drifted = rows(1200, scale=5.0, seed=3)
    for begin in range(0, 1200, 20):
        send(world, drifted[begin : begin + 20])
    wait_for(lambda: roles()["champion"]["skewed"] == 1, "the champion's feature is named", 30)
    page = httpx.get(f"{world.admin}/console/models/{MODEL}", timeout=10, trust_env=False)
    assert page.status_code == 200
    assert json.loads(json.dumps(world.status()["skew"])) is not None
