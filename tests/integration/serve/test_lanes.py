"""Several challengers in a whole titleshot: @challenger on the road, two lanes in shadow beside it."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from stub_model import StubModel
from world import MODEL, QUICK_POLICY, Traffic, good, wait_for

GOOD, BAD = f"{MODEL}@challenger-b", f"{MODEL}@challenger-c"
ROAD = """
    rollout: [{shadow: 100, for: 1s}, {canary: 30, for: 1h}, {promote: {}}]
    challengers: [challenger-b, challenger-c]
"""


def read(world, name, path=""):
    return httpx.get(f"{world.admin}/models/{name}{path}", timeout=5, trust_env=False).raise_for_status().json()


def history(world, name):
    return [(each["kind"], each["version"], each["reason"]) for each in read(world, name, "/history")["decisions"]]


def act(world, name, verb, **body):
    return httpx.post(
        f"{world.admin}/models/{name}/{verb}", json={"reason": "test", **body}, timeout=10, trust_env=False
    )


def phase(world, name):
    return (read(world, name)["rollout"] or {}).get("phase")


def passing(world):
    return (read(world, GOOD)["rollout"]["evidence"] or {}).get("verdict") == "pass"


@pytest.fixture
def lanes(world):
    """Version 2 is on the road, 4 (good) and 3 (bad) are in lanes."""
    world.stubs[1].predict = good
    world.stubs[4] = StubModel(good)
    like = world.client.get_model_version(MODEL, "2")
    world.client.create_model_version(MODEL, like.source, like.run_id)
    world.write_settings(QUICK_POLICY + ROAD)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    for alias, version in (("challenger", 2), ("challenger-b", 4), ("challenger-c", 3)):
        world.set_alias(alias, version)
    return world


def aliases(world):
    found = world.client.get_registered_model(MODEL).aliases
    return {name: int(version) for name, version in found.items()}


def _titleshot(*words):
    done = subprocess.run(
        [Path(sys.executable).parent / "titleshot", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _shown(world):
    """What the command line, the console and the metrics say of lanes."""
    settings = ("--settings", world.settings_path)
    assert GOOD in _titleshot("status", "--admin", world.admin)
    assert "never promoted" in _titleshot("status", GOOD, "--admin", world.admin)
    page = httpx.get(f"{world.admin}/console/models/{MODEL}", timeout=10, trust_env=False).text
    assert f'href="/console/models/{MODEL}%40challenger-b"' in page
    page = httpx.get(f"{world.admin}/console/models/{GOOD}", timeout=10, trust_env=False).text
    assert f'href="/console/models/{MODEL}"' in page
    assert "Promote now" not in page
    assert f'model="{GOOD}"' in httpx.get(f"{world.admin}/metrics", timeout=10, trust_env=False).text
    assert f"{GOOD}: whole" in _titleshot("audit", "verify", "--registry", *settings)
    entry = next(each["id"] for each in read(world, BAD, "/history")["decisions"] if each["kind"] == "roll_back")
    assert "1.66667 %" in _titleshot("explain", entry, *settings)  # a third of alpha


def test_a_bad_lane_ends_and_a_good_one_passes_beside_a_canary(lanes):
    world, named = lanes, aliases(lanes)
    wait_for(lambda: phase(world, MODEL) == "canary", "@challenger is in its canary")
    wait_for(lambda: phase(world, BAD) == "rolled_back", "the bad one is taken out")
    wait_for(lambda: passing(world), "the good one passes")
    assert (phase(world, MODEL), phase(world, GOOD)) == ("canary", "shadow")
    lane = read(world, GOOD)
    assert lane["lane"] == {"of": MODEL, "alias": "challenger-b"}
    assert lane["labels"]["matched"] > 50
    assert (lane["champion"], lane["challenger"], lane["traffic"]["mode"]) == (1, 4, "shadow")
    assert read(world, MODEL)["lanes"] == [GOOD, BAD]
    left_out = lane["rollout"]["evidence"]["left_out"]
    assert left_out["other_version"] == left_out["other_mode"] == left_out["repeated"] == 0
    assert aliases(world) == named  # lanes move none, nor does a canary
    tags = wait_for(
        lambda: (
            found if "titleshot.rejected_by" in (found := world.client.get_model_version(MODEL, "3").tags) else None
        ),
        "the version says how its shot ended",
    )
    assert tags["titleshot.state"] == "rejected"
    assert "titleshot.chain_head" not in tags  # that is of the chain over the model's own decisions

    asked = {version: len(world.stubs[version].seen) for version in (3, 4)}
    wait_for(lambda: len(world.stubs[4].seen) > asked[4] + 50, "the good one gets copies")
    assert len(world.stubs[3].seen) == asked[3]  # the bad one gets none any more

    refused = act(world, GOOD, "promote")
    assert refused.status_code == 409
    assert "set @challenger" in refused.json()["error"]["message"]
    assert act(world, GOOD, "sign-off", evidence="x").status_code == 409
    assert act(world, GOOD, "rollback", to=2).status_code == 409
    assert act(world, BAD, "rollback").status_code == 409  # nothing is on trial
    assert act(world, f"{MODEL}@nobody", "abort").status_code == 404
    assert act(world, GOOD, "pause").status_code == 200
    assert act(world, GOOD, "resume").status_code == 200

    before = {name: history(world, name) for name in (MODEL, GOOD, BAD)}
    counted = read(world, GOOD)["roles"]["challenger"]["answers"]
    world.stop()
    world.start()
    wait_for(lambda: phase(world, GOOD) == "shadow" and phase(world, MODEL) == "canary", "all go on")
    assert {name: history(world, name) for name in (MODEL, GOOD, BAD)} == before
    assert phase(world, BAD) == "rolled_back"
    assert read(world, GOOD)["roles"]["challenger"]["answers"] >= counted
    wait_for(lambda: read(world, GOOD)["roles"]["challenger"]["answers"] > counted + 50, "copies go on")
    assert passing(world)

    _shown(world)


def test_a_lane_begins_anew_when_the_champion_changes_and_is_judged_again_when_a_person_says_so(lanes):
    world = lanes
    wait_for(lambda: phase(world, MODEL) == "canary", "@challenger is in its canary")
    wait_for(lambda: phase(world, BAD) == "rolled_back", "the bad one is taken out")
    assert act(world, MODEL, "promote").status_code == 200
    wait_for(lambda: world.alias("champion") == 2, "the title moves")

    def anew():
        rollout = read(world, GOOD)["rollout"]
        return rollout["phase"] == "shadow" and (rollout["version"], rollout["reference"]) == (4, 2)

    wait_for(anew, "the lane is compared with the new champion")
    kinds = [kind for kind, _, _ in history(world, GOOD)]
    assert kinds[:2] == ["start", "foreign_move"]
    wait_for(lambda: passing(world), "it passes against that one")
    assert phase(world, BAD) == "rolled_back"  # it has had its shot
    assert act(world, BAD, "start", to=3).status_code == 200
    wait_for(lambda: len([1 for kind, _, _ in history(world, BAD) if kind == "start"]) == 2, "another shot")
    wait_for(lambda: phase(world, BAD) == "rolled_back", "which ends as the first did")
    assert world.alias("challenger-c") == 3
    assert world.alias("previous") == 1
    reasons = world.traffic.outcomes
    assert set(reasons) == {200}


def test_lanes_come_and_go_with_the_settings(lanes):
    world = lanes
    wait_for(lambda: phase(world, GOOD) == "shadow", "a lane is there")
    world.write_settings(QUICK_POLICY + ROAD.replace("challenger-b, ", ""))
    wait_for(lambda: read(world, MODEL)["lanes"] == [BAD], "it is gone")
    assert httpx.get(f"{world.admin}/models/{GOOD}", timeout=5, trust_env=False).status_code == 404
    world.write_settings(QUICK_POLICY + ROAD)
    wait_for(lambda: read(world, MODEL)["lanes"] == [GOOD, BAD], "it is back, with its record")
    assert history(world, GOOD)[0][0] == "start"  # the same rollout goes on
    wait_for(lambda: passing(world), "it passes")
