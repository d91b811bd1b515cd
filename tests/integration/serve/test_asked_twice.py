"""The champion's own noise in a whole titleshot: measured, shown, kept over a restart, and no evidence."""

import itertools
import subprocess
import sys
from pathlib import Path

import httpx
from world import QUICK_POLICY, wait_for


def shown(world):
    return world.status()["agreement"]


def test_the_champions_noise_is_known_and_survives_a_restart(world):
    flips = itertools.count()
    world.stubs[1].predict = lambda row: float(next(flips) % 4 == 0)  # not even of one mind with itself
    # of latencies nothing is to be concluded: on a busy machine they end it before there are enough pairs
    policy = "".join(line for line in QUICK_POLICY.splitlines(True) if "p90_latency" not in line)
    world.write_settings(f"{policy}\n    asked_twice: 50\n    rollout: [{{shadow: 100, for: 1h}}]\n")
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "the shadow begins")

    def both():
        for _ in range(20):
            assert world.ask({"truth": 1, "noise": 1.0}).status_code == 200
        found = shown(world)
        return all(found[beside]["ratio"] and found[beside]["ratio"]["count"] >= 60 for beside in found) and found

    found = wait_for(both, "pairs of both kinds")
    assert found["itself"]["ratio"]["value"] < 0.9
    evidence = world.status()["rollout"]["evidence"]
    assert evidence["left_out"]["unpaired"] == evidence["left_out"]["repeated"] == 0
    assert evidence["left_out"]["other_mode"] >= 120
    page = httpx.get(f"{world.admin}/metrics", timeout=10, trust_env=False).text
    for beside in ("challenger", "itself"):
        assert f'titleshot_agreement_ratio{{model="late-arrival",with="{beside}"}}' in page
        assert f'titleshot_agreement_ratio_lower{{model="late-arrival",with="{beside}"}}' in page
    told = subprocess.run(
        [Path(sys.executable).parent / "titleshot", "status", "late-arrival", "--admin", world.admin],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nagreement:     0." in told.stdout
    assert "\nwith itself:   0." in told.stdout
    console = httpx.get(f"{world.admin}/console/models/late-arrival", timeout=10, trust_env=False)
    assert "the champion, asked twice" in console.text

    before = shown(world)
    world.stop()
    world.start()
    wait_for(lambda: shown(world) == before, "the same figures")
