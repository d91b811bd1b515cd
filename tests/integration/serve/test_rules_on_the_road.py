"""Rules in a whole titleshot: testers and tenants beside a rollout that goes its way without them."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, wait_for

RULES = """
    rules:
      - {when: header:x-tenant, is: [acme, initech], to: champion}
      - {when: query:titleshot, is: challenger, to: challenger}
"""
TESTER = "?titleshot=challenger"


def asked(world, query="", tenant=""):
    """Which versions were asked a request of one's own."""
    before = {version: len(stub.seen) for version, stub in world.stubs.items()}
    answer = httpx.post(
        f"http://127.0.0.1:{world.port}/invocations{query}",
        json={"inputs": [{"truth": 0, "noise": 1.0}]},
        headers={"x-tenant": tenant} if tenant else {},
        timeout=10,
        trust_env=False,
    )
    assert answer.status_code == 200
    return {version for version, stub in world.stubs.items() if len(stub.seen) > before[version]}


def forced(world) -> dict[str, float]:
    """Answers in mode forced, by role."""
    page = httpx.get(f"{world.admin}/metrics", timeout=10, trust_env=False).text
    lines = [
        line for line in page.splitlines() if line.startswith("titleshot_requests_total") and 'mode="forced"' in line
    ]
    return {role: sum(float(line.split()[-1]) for line in lines if f'role="{role}"' in line)
              for role in ("champion", "challenger")}  # fmt: skip


@pytest.mark.parametrize("step", ["shadow", "canary"])
def test_forced_requests_stay_out_of_the_trial(world, step):
    percent = {"shadow": 100, "canary": 50}[step]
    world.write_settings(f"{QUICK_POLICY}{RULES}\n    rollout: [{{{step}: {percent}, for: 1h}}]\n")
    world.start()
    world.serving(1)
    assert asked(world, TESTER) == {1}  # nobody challenges
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == step, "the trial begins")
    wait_for(lambda: asked(world, TESTER) == {2}, "a tester sees the challenger")
    before = forced(world)
    for _ in range(30):
        assert asked(world, TESTER, "acme") == {1}
        assert asked(world, TESTER) == {2}
    wait_for(
        lambda: forced(world) == {"champion": before["champion"] + 30, "challenger": before["challenger"] + 30},
        "they are counted as forced",
    )
    evidence = world.status()["rollout"]["evidence"]
    assert (evidence["answers"], evidence["left_out"]["unpaired"]) == (0, 0)
    assert world.status()["rules"] == [
        {"when": "header:x-tenant", "to": "champion"},
        {"when": "query:titleshot", "to": "challenger"},
    ]
    told = subprocess.run(
        [Path(sys.executable).parent / "titleshot", "status", "late-arrival", "--admin", world.admin],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rules:         header:x-tenant to champion; query:titleshot to challenger" in told.stdout


def test_testers_that_fail_on_the_challenger_do_not_end_its_trial(world):
    world.write_settings(QUICK_POLICY + RULES + QUICK_ROLLOUT)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() in ("shadow", "canary"), "the trial begins")
    url = f"http://127.0.0.1:{world.port}/invocations{TESTER}"
    with httpx.Client(trust_env=False, timeout=10) as tester:
        for _ in range(5):  # fewer than the breaker takes
            assert tester.post(url, content=b"{}").status_code >= 500
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 90)
    world.traffic.stop()
    assert [each["kind"] for each in world.history() if each["kind"] != "hold"][:3] == ["start", "advance", "promote"]
