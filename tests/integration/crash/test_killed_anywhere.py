"""kill -9 of a real control process around a promotion and a rollback, at moments that a seed chooses."""

import json
import os
import random
import signal
import sqlite3
import time

import pytest
from world import MODEL, QUICK_POLICY, wait_for

from router.control.ledger.archive import Archive
from router.control.ledger.audit import read, tagged
from router.control.registry import CHAIN_TAG
from router.link.messages import routes_from_file

SAMPLE = (11, 12, 13)
LONG = range(100, 200)
ROLLOUT = """
    rollout:
      - shadow: 100
        for: 1s
      - promote: {}
      - watch: 1h
"""
TOLD = {f"titleshot.{ending}_{what}" for ending in ("promoted", "rejected") for what in ("at", "by", "evidence")}
SPREAD_SECONDS = 0.15
"""A promotion takes the registry's file about so long, from the record to the confirmation."""
RESTART_SECONDS = 2.0
"""From the start of the next process to where it has carried out what it found."""


def decisions(world):
    """As they stand in the ledger's file."""
    with sqlite3.connect(f"file:{world.folder / 'titleshot.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("select decision from facts where kind = 'decision' order by seq").fetchall()
    return [json.loads(text) for (text,) in rows]


def killed_at(world, kind, seed, chance):
    """Kill the control process some time after a decision of this kind is recorded, and perhaps the next one."""
    wait_for(lambda: any(each["kind"] == kind for each in decisions(world)), f"a decision: {kind}", 90)
    for spread in chance.choice([[SPREAD_SECONDS], [SPREAD_SECONDS], [SPREAD_SECONDS, RESTART_SECONDS]]):
        pid = wait_for(lambda: world.children().get("control"), "a control process", 90)
        time.sleep(chance.random() * spread)  # the schedule itself; whatever it hits is checked below
        os.kill(pid, signal.SIGKILL)
        print(f"seed {seed}: killed after {kind}: {left(world, kind)}")  # noqa: T201 - docs/crashes.md counts these
        wait_for(lambda dead=pid: world.children().get("control") != dead, "it is gone", 90)


def left(world, kind):
    """What the dead process had done of it; the next one takes a second to start."""
    champion, previous = (2, 1) if kind == "promote" else (1, 2)
    if [each["kind"] for each in decisions(world)].count("moved") == (1 if kind == "promote" else 2):
        return "confirmed"
    if world.alias("champion") != champion:
        return "decided, not moved"
    return "moved, not confirmed" if world.alias("previous") == previous else "moved, @previous not yet"


def agreed(world, moves):
    """Registry, routes and ledger name the same champion, nothing is outstanding, and so many moves are recorded."""
    status = world.status()
    (model,) = routes_from_file((world.folder / ".titleshot" / "routes.json").read_bytes()).models
    champion = world.alias("champion")
    same = status["champion"] == champion and model.champion is not None and model.champion.version == champion
    # in force first, as it has happened: the record follows
    recorded = [each["kind"] for each in decisions(world)].count("moved") == moves
    return champion if same and recorded and status["pending"] is None else None


def killed(world, seed):
    chance = random.Random(seed)
    world.write_settings(QUICK_POLICY + ROLLOUT)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "the rollout")
    world.command("promote")
    killed_at(world, "promote", seed, chance)
    wait_for(lambda: agreed(world, 1) == 2, "version 2 has the title everywhere", 90)
    made = [each["kind"] for each in decisions(world)]
    assert (made.count("promote"), made.count("moved")) == (1, 1)
    assert world.alias("previous") == 1

    wait_for(lambda: world.phase() == "watch", "the watch")
    world.command("rollback")
    killed_at(world, "roll_back", seed, chance)
    wait_for(lambda: agreed(world, 2) == 1, "version 1 has it back everywhere", 90)
    made = [each["kind"] for each in decisions(world)]
    assert (made.count("promote"), made.count("roll_back")) == (1, 1)
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared", 90)
    assert world.ask().status_code == 200
    wait_for(lambda: tags_of(world, 2).keys() >= TOLD, "its tags tell of both", 90)
    tags = {version: tags_of(world, version).get(CHAIN_TAG) for version in (1, 2)}
    with Archive.open(f"sqlite:///{world.folder / 'titleshot.db'}") as archive:
        record = read(archive, MODEL)
    named, findings = tagged(record, {version: text for version, text in tags.items() if text is not None})
    assert (record.findings, findings) == ((), [])
    assert 2 in named  # it had the title by a promotion


def tags_of(world, version):
    return world.client.get_model_version(MODEL, str(version)).tags


@pytest.mark.parametrize("seed", SAMPLE)
def test_a_sample_of_kills(world, seed):
    killed(world, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG)
def test_many_kills(world, seed):
    killed(world, seed)
