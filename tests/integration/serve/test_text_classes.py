"""A model whose answers and labels are texts, of several classes or of two: judged end to end on real processes."""

import httpx
import pytest
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, World, wait_for

RAILS = """      precision:   {margin: 10 points, offline_tolerance: 15 points}
"""
SEVERAL = """      precision:
        - {of: cancel, margin: 15 points}
        - {of: keep, margin: 15 points}
      accuracy: {margin: 15 points}
"""


def truth(row):
    if row["truth"]:
        return "cancel"
    return "keep" if int(row["noise"] * 1000) % 2 else "refund"


def right(often):
    """Right so often, else it says refund or keep."""
    return lambda row: truth(row) if row["noise"] < often else ("keep" if truth(row) == "refund" else "refund")


@pytest.fixture
def world(tmp_path, registry_template):
    made = World(tmp_path, registry_template, {1: right(0.7), 2: right(0.95), 3: lambda _: "cancel"})
    yield made
    made.close()
    print((tmp_path / "serve.log").read_text())  # noqa: T201 - shown when the test fails


def label(world, value):
    item = {"request_id": "nobody's", "label": value}
    answer = httpx.post(f"{world.admin}/labels", json=[item], timeout=10, trust_env=False).json()
    return answer["rejected"][0]["error"] if answer["rejected"] else None


def test_one_of_several_classes(world):
    world.write_settings(QUICK_POLICY.replace(RAILS, SEVERAL) + QUICK_ROLLOUT)
    world.start()
    world.serving(1)
    assert label(world, 1) == "label: expected a text, as the classes are texts, not 1"
    world.traffic = Traffic(world, label=truth)

    world.set_alias("challenger", 2)
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 90)
    promote = next(decision for decision in world.history() if decision["kind"] == "promote")
    rails = {rail["name"]: rail for rail in promote["evidence"]["guardrails"]}
    assert {"precision_of_cancel", "precision_of_keep", "accuracy", "p90_latency", "error_rate"} == set(rails)
    assert "precision of keep 0." in rails["precision_of_keep"]["reason"]
    assert rails["accuracy"]["challenger"]["value"] == pytest.approx(0.95, abs=0.05)

    said = {value for each in world.status()["disagreements"] for value in each["predicted"]}
    assert said <= {"cancel", "keep", "another class"}  # refund has no guardrail
    assert len(said) > 1

    world.set_alias("challenger", 3)
    wait_for(lambda: world.phase() == "rolled_back", "version 3 is rolled back", 90)
    rollback = next(decision for decision in world.history() if decision["kind"] == "roll_back")
    assert rollback["trigger"] in ("precision_of_cancel", "accuracy")
    world.traffic.stop()
    assert world.traffic.rejected == []
    metrics = httpx.get(f"{world.admin}/metrics", timeout=10, trust_env=False).text
    assert 'trigger="precision_of_cancel"' in metrics
    joined = [line for line in metrics.splitlines() if line.startswith("titleshot_labels_joined_total")]
    assert all(line.endswith(" 0.0") for line in joined if 'outcome="tn"' in line or 'outcome="fn"' in line)
    assert any(not line.endswith(" 0.0") for line in joined if 'outcome="tp"' in line)


def test_a_positive_class_that_is_a_text(world):
    world.write_settings("    positive: cancel\n" + QUICK_POLICY + QUICK_ROLLOUT)
    world.stubs[3].predict = lambda row: "cancel" if row["noise"] > 0.3 else truth(row)
    world.start()
    world.serving(1)
    assert label(world, True) == "label: expected a text, as the positive class is a text, not true"
    world.traffic = Traffic(world, label=truth)
    world.set_alias("challenger", 3)
    wait_for(lambda: world.phase() == "rolled_back", "version 3 is rolled back", 90)
    (rollback,) = (decision for decision in world.history() if decision["kind"] == "roll_back")
    assert rollback["trigger"] == "precision"
    assert world.alias("champion") == 1
