"""A version with its training profile in a real MLflow; traffic that drifts and breaks its signature."""

import random

import httpx
import pytest
from chromium import need_chromium
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import need_prometheus, start_prometheus
from training_profiles import give_profile
from world import MODEL, QUICK_POLICY, World, free_port, wait_for

from router.cli.main import main

SKEW = "    skew: {share: 100, window: 5m, min_rows: 300}\n"
SHADOW = """
    rollout:
      - shadow: 100
        for: 1h
      - promote: {}
"""
HOLDS = """
    checks:
      skew:
        query: 'titleshot_skewed_features{model="{model}",role="{role}"}'
        at_most: 0
        every: 1s
        for: 2
"""


@pytest.fixture
def world(tmp_path, registry_template):
    """Version 2 was trained on the same as version 1, in another unit."""
    made = World(tmp_path, registry_template, {1: lambda _: 1.0, 2: lambda _: 1.0})
    give_profile(made, 1, lambda draw: draw.gauss(0, 1))
    give_profile(made, 2, lambda draw: draw.gauss(0, 1000))
    yield made
    made.close()
    print((tmp_path / "serve.log").read_text())  # noqa: T201 - shown when the test fails


def in_shadow(world, settings):
    world.write_settings(QUICK_POLICY + SHADOW + settings)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is in shadow")
    wait_for(lambda: [each["no_profile"] for each in roles(world).values()] == ["", ""], "both profiles are read", 30)


def roles(world):
    return world.status()["skew"]["roles"]


def send(world, count, scale, seed):
    """So many rows, 20 a request."""
    draw = random.Random(seed)
    for _ in range(count // 20):
        ask(world, [{"truth": int(draw.random() < 0.4), "noise": draw.gauss(0, scale)} for _ in range(20)])


def ask(world, rows):
    url = f"http://127.0.0.1:{world.port}/invocations"
    answer = httpx.post(url, json={"inputs": rows}, timeout=10, trust_env=False)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == len(rows)


def samples(world, name):
    """Without the model's label, the values in the order of their labels."""
    page = httpx.get(f"{world.admin}/metrics", timeout=5, trust_env=False).raise_for_status().text
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label != "model"): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


def test_what_drifts_and_what_breaks_the_signature_is_named(world):
    in_shadow(world, SKEW)
    send(world, 600, scale=1.0, seed=2)
    ask(world, [{"truth": True, "noise": "loud"}])
    ask(world, [{"noise": 0.5, "more": 1}])
    wait_for(lambda: roles(world)["challenger"]["skewed"] == 1, "the challenger's feature is named", 30)
    wait_for(lambda: roles(world)["champion"]["extra"] == ["more"], "the latest request is looked at", 30)
    skew = world.status()["skew"]
    champion, challenger = skew["roles"]["champion"], skew["roles"]["challenger"]
    assert (champion["skewed"], champion["compared"]) == (0, 2)
    assert {each["name"]: each["skewed"] for each in challenger["features"]} == {"noise": True, "truth": False}
    noise = challenger["features"][0]
    assert noise["name"] == "noise"
    assert noise["psi"] > noise["threshold"] >= 0.1
    broken = {(each["column"], each["break"]): each["requests"] for each in champion["contract"]}
    assert broken == {
        ("truth", "coerced"): 1,
        ("noise", "wrong_type"): 1,
        ("truth", "missing"): 1,
        ("(not in the signature)", "extra"): 1,
    }
    assert skew["requests"]["unreadable"] == skew["requests"]["dropped"] == 0
    assert skew["answers"] == []

    assert samples(world, "titleshot_feature_skewed") == {
        ("noise", "champion"): 0, ("truth", "champion"): 0, ("noise", "challenger"): 1, ("truth", "challenger"): 0,
    }  # fmt: skip
    assert samples(world, "titleshot_skewed_features") == {("champion",): 0, ("challenger",): 1}
    assert samples(world, "titleshot_contract_violations_total")["noise", "wrong_type", "champion"] == 1

    send(world, 1200, scale=5.0, seed=3)  # what clients send from now on drifts for the champion, too
    wait_for(lambda: roles(world)["champion"]["skewed"] == 1, "the champion's feature is named", 30)
    page = httpx.get(f"{world.admin}/console/models/{MODEL}", timeout=10, trust_env=False).raise_for_status().text
    assert "champion, version 1: 1 of 2 features skewed" in page
    assert "traffic is not what the champion, version 1, was trained on: noise" in page
    told = CliRunner().invoke(main, ["status", MODEL, "--admin", world.admin])
    assert "champion: 1 of 2 features: noise; challenger: 1 of 2 features: noise" in told.output


def test_the_table_is_accessible(world):
    path = need_chromium()
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    in_shadow(world, SKEW)
    send(world, 400, scale=1.0, seed=2)
    ask(world, [{"truth": True, "noise": "loud"}])
    wait_for(lambda: roles(world)["challenger"]["skewed"] == 1, "the challenger's feature is named", 30)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.goto(f"{world.admin}/console/models/{MODEL}")
        page.get_by_role("region", name="Features of challenger").wait_for()
        found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
        assert found == []
        browser.close()


FIGURE = """
    checks:
      skew: {figure: skewed_features, at_most: 0, every: 1s, for: 2, then: THEN}
"""


@pytest.mark.parametrize(("then", "phase"), [("roll_back", "rolled_back"), ("hold", "shadow")])
def test_as_a_guardrail_it_needs_nobody_else(world, then, phase):
    in_shadow(world, SKEW + FIGURE.replace("THEN", then))
    wait_for(lambda: "no request had a feature" in checked(world)["reason"], "there is no figure yet")
    send(world, 200, scale=1.0, seed=2)
    wait_for(lambda: "200 of the 300 rows that it takes" in checked(world)["reason"], "there are too few rows", 30)
    assert checked(world)["verdict"] == "inconclusive"
    send(world, 400, scale=1.0, seed=3)
    if then == "hold":
        wait_for(lambda: "beyond at most 0 (which holds), 2 of 2" in checked(world)["reason"], "it holds", 30)
        assert checked(world)["verdict"] == "inconclusive"
    wait_for(lambda: world.phase() == phase, "what was asked for is done", 60)
    decisions = [each for each in world.history() if each["kind"] == "roll_back"]
    assert [each["trigger"] for each in decisions] == (["skew"] if then == "roll_back" else [])


def checked(world):
    (found,) = (world.status()["rollout"].get("evidence") or {"checks": [{"reason": ""}]})["checks"]
    return found


def test_as_a_check_it_takes_a_challenger_out(world, tmp_path):
    need_prometheus()
    folder, port = tmp_path / "prometheus", free_port()
    folder.mkdir()
    world.more = f"prometheus: {{url: 'http://127.0.0.1:{port}'}}\n"
    in_shadow(world, SKEW + HOLDS)
    prometheus = start_prometheus(f"127.0.0.1:{world.admin_port}", folder, port)
    try:
        send(world, 400, scale=1.0, seed=2)
        wait_for(lambda: world.phase() == "rolled_back", "the challenger is rolled back", 60)
        (decision,) = [each for each in world.history() if each["kind"] == "roll_back"]
        assert decision["trigger"] == "skew"
        assert decision["reason"].startswith("skew: 1, beyond at most 0")
    finally:
        prometheus.close()
