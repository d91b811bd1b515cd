"""The record of a real rollout proves itself: explained without the traffic, and found out when it was touched."""

import json
import shutil
import sqlite3

import pytest
from click.testing import CliRunner
from world import MODEL, Traffic, wait_for

from router.cli.main import main


def titleshot(*arguments, code=0):
    """A command, in this process: what it printed."""
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def edited(world):
    """Runs SQL on a copy of the ledger; gives the options that name it."""

    def run(*statements):
        copy, settings = world.folder / "copy.db", world.folder / "copy.yaml"
        shutil.copy(world.folder / "titleshot.db", copy)
        with sqlite3.connect(copy) as ledger:
            for statement in statements:
                assert ledger.execute(statement).rowcount > 0
        ledger.close()
        settings.write_text(world.settings_path.read_text().replace("titleshot.db", "copy.db"))
        return "--settings", settings

    return run


def test_a_record_is_explained_and_any_change_to_it_is_found(world, edited):
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 90)
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")
    world.set_alias("challenger", 3)
    wait_for(lambda: world.phase() == "rolled_back", "version 3 is rolled back", 90)
    world.set_alias("champion", 1)
    wait_for(lambda: world.status()["champion"] == 1, "version 1 serves")
    settings = ("--settings", world.settings_path)

    # while it serves: what was in production when, by whom
    told = json.loads(titleshot("history", MODEL, "--json", "--admin", world.admin))
    decisions = {decision["id"]: decision for decision in told["decisions"]}
    assert [(reign["version"], reign["by"]) for reign in told["production"]] == [
        (1, "registry"),
        (2, "titleshot"),
        (1, ""),
    ]
    assert decisions[told["production"][1]["decision"]]["kind"] == "promote"
    assert f"{MODEL}/1" in titleshot("history", MODEL, "--admin", world.admin)
    assert "whole" in titleshot("audit", "verify", *settings)
    assert "registry agrees: version 2 at" in titleshot("audit", "verify", MODEL, "--registry", *settings)

    world.traffic.stop()
    world.stop()
    with sqlite3.connect(world.folder / "titleshot.db") as ledger:  # the traffic has aged out
        assert ledger.execute("DELETE FROM facts WHERE kind != 'decision'").rowcount > 0
        ledger.execute("DELETE FROM checkpoints")
    ledger.close()

    from_evidence = {
        name: decision
        for name, decision in decisions.items()
        if decision["kind"] in ("advance", "promote", "roll_back")
    }
    assert len(from_evidence) == 3
    for name, decision in from_evidence.items():
        assert "the same numbers" in titleshot("explain", name, *settings)
        again = json.loads(titleshot("explain", name, "--json", *settings))
        assert again["recomputed"]["same"]
        assert again["recomputed"]["decision"] == decision["kind"]
        assert again["recomputed"]["report"] == decision["evidence"]
        assert again["id"] == json.loads(titleshot("explain", again["hash"][:12], "--json", *settings))["id"]
    rollback = next(name for name, decision in decisions.items() if decision["kind"] == "roll_back")
    assert "tipped by:  the guardrail precision" in titleshot("explain", rollback, *settings)
    titleshot("explain", f"{MODEL}/99", *settings, code=1)

    # touched
    number = int(rollback.rsplit("/")[-1])
    row = f"seq = (SELECT seq FROM chain WHERE number = {number})"
    changed = edited(f"UPDATE facts SET decision = replace(decision, 'precision', 'recall') WHERE {row}")
    assert f"{rollback}: changed" in titleshot("audit", "verify", *changed, code=1)
    assert "RECORD" in titleshot("explain", rollback, *changed, code=1)
    missing = edited(f"DELETE FROM facts WHERE {row}", f"DELETE FROM chain WHERE {row}")
    assert f"{rollback}: missing" in titleshot("audit", "verify", *missing, code=1)
    state = edited("UPDATE evidence_states SET state = zeroblob(9)")
    assert f"{rollback}: missing: the evidence" in titleshot("audit", "verify", *state, code=1)
    assert "NOT recomputed" in titleshot("explain", rollback, *state, code=1)
    cut = edited(
        "DELETE FROM facts WHERE seq > (SELECT seq FROM chain WHERE number = 2)", "DELETE FROM chain WHERE number > 2"
    )
    assert "whole" in titleshot("audit", "verify", *cut)
    _what_is_cut_or_gone_is_missed(edited, cut)
    assert "whole" in titleshot("audit", "verify", "--registry", *settings)


def _what_is_cut_or_gone_is_missed(edited, cut):
    found = json.loads(titleshot("audit", "verify", "--registry", "--json", *cut, code=1))
    assert {finding["kind"] for finding in found["models"][0]["findings"]} == {"cut"}
    gone = edited("DELETE FROM chain", "DELETE FROM facts")
    assert "cut" in titleshot("audit", "verify", MODEL, "--registry", *gone, code=1)
    found = json.loads(titleshot("audit", "verify", "--registry", "--json", *gone, code=1))
    assert {finding["kind"] for finding in found["models"][0]["findings"]} == {"cut"}
    renamed = edited("UPDATE chain SET hash = hash")
    renamed[1].write_text(renamed[1].read_text().replace(f"  {MODEL}:", "  another-name:", 1))
    assert f"{MODEL}: NOT compared with the registry" in titleshot("audit", "verify", "--registry", *renamed, code=1)
