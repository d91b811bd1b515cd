"""`titleshot gate` against a running titleshot whose policy requires it: real processes, registry and model servers."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scoring_server import ScoringServer
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, World, bad, fair, good, wait_for

from router.control.admin import ActorRole, new_token

REQUIRED = QUICK_POLICY.replace('gate: "off"', "gate: required") + QUICK_ROLLOUT
STAGING = "    staging: {minimum: {precision: 0.7}, rate: 50, requests: 100, p50: 10s}\n"
COMMAND = [sys.executable, "-c", "from router.cli.main import main; main(prog_name='titleshot')"]


@pytest.fixture
def gated(tmp_path, registry_template):
    """Version 1 fair, 2 good, 3 bad, each with a scoring server; titleshot requires the gate. `tokens` by name."""
    world = World(tmp_path, registry_template, {1: fair, 2: good, 3: bad}, server=ScoringServer)
    roles = {"tests": ActorRole.ADMIN, "pipeline": ActorRole.GATE, "reader": ActorRole.VIEWER}
    made = {name: new_token(name, [role]) for name, role in roles.items()}
    (tmp_path / "tokens.yaml").write_text("".join(f"{each.line}\n" for each in made.values()))
    world.more = "tokens: tokens.yaml\n"
    world.tokens = {name: each.token for name, each in made.items()}
    world.headers = {"authorization": f"Bearer {made['tests'].token}"}
    world.write_settings(REQUIRED + STAGING)
    holdout(tmp_path / "holdout.csv")
    yield world
    world.close()
    for line in (tmp_path / "serve.log").read_text().splitlines() if (tmp_path / "serve.log").exists() else []:
        print(line)  # noqa: T201 - shown when the test fails


def holdout(path, rows=2000, seed=3):
    chance = random.Random(seed)
    lines = []
    for _ in range(rows):
        truth = int(chance.random() < 0.4)
        lines.append(f"{truth},{chance.random():.6f},{truth}\n")
    path.write_text("truth,noise,label\n" + "".join(lines))


def titleshot(world, *arguments, token="pipeline", expect=0):
    environment = {**os.environ, "TITLESHOT_ADMIN": world.admin, "TITLESHOT_TOKEN": world.tokens[token]}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment, cwd=world.folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def gate(world, version, *more, **how):
    return titleshot(
        world, "gate", MODEL, version, "--staging", world.stubs[version].url, "--data", "holdout.csv", *more, **how
    )


def challenge(world, version):
    """@challenger names a version; why its rollout does not start."""
    world.set_alias("challenger", version)
    wait_for(lambda: world.phase() == "held", "the rollout is held")
    return wait_for(lambda: world.status()["rollout"]["hold_reason"], "it says why")


def test_a_rollout_waits_for_the_report_and_starts_by_itself(gated):
    gated.start()
    gated.serving(1)
    assert "no report of the gate in staging against version 1" in challenge(gated, 2)
    done = gate(gated, 2, "--out", "reports")
    assert "the gate says PASS" in done.stdout
    wait_for(lambda: gated.phase() in ("shadow", "canary", "promoting", "promoted"), "the rollout starts")

    decisions = gated.history()
    (taken,) = (each for each in decisions if each["kind"] == "gated")
    assert (taken["version"], taken["actor"]) == (2, "pipeline")
    report = taken["evidence"]["report"]
    assert (report["verdict"], report["champion"]) == ("PASS", 1)
    started = next(each for each in decisions if each["kind"] == "start")
    assert "the gate in staging says PASS against version 1" in started["reason"]

    run = gated.client.get_model_version(MODEL, "2").run_id
    (page, data) = sorted(each.path for each in gated.client.list_artifacts(run, "titleshot"))[-2:]
    assert (page.endswith(".html"), data.endswith(".json")) == (True, True)
    assert json.loads(Path(gated.client.download_artifacts(run, data)).read_text()) == report
    assert [json.loads(each.read_text()) for each in (gated.folder / "reports").glob("*.json")] == [report]
    assert gated.client.get_model_version(MODEL, "2").tags["titleshot.gate"].startswith("PASS against version 1")

    listed = titleshot(gated, "history", MODEL, "--json")
    number = next(each["id"] for each in json.loads(listed.stdout)["decisions"] if each["kind"] == "gated")
    told = titleshot(gated, "explain", number)
    assert "precision.reproduced" in told.stdout
    assert "PASS" in told.stdout
    assert "whole" in titleshot(gated, "audit", "verify", MODEL).stdout


def test_a_report_survives_restarts_and_a_later_one_counts(gated):
    gated.start()
    gated.serving(1)
    gate(gated, 2)
    gated.stubs[2].predict = bad
    done = gate(gated, 2, expect=1)
    assert "precision.reproduced" in done.stdout
    _killed(gated)
    assert "the gate in staging says FAIL against version 1" in challenge(gated, 2)
    gated.stubs[2].predict = good
    gate(gated, 2)
    wait_for(lambda: gated.phase() not in (None, "held"), "it starts")
    _killed(gated)
    wait_for(lambda: gated.phase() not in (None, "held"), "and has started")


def _killed(world):
    control = world.children()["control"]
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: world.children().get("control", control) != control, "control is back")
    wait_for(lambda: world.status()["champion"] == 1, "version 1 serves")


def test_a_gated_version_goes_on_to_the_next_environment(gated):
    gated.start()
    gated.serving(1)
    to = f"prod.{MODEL}"
    refused = titleshot(gated, "promote-env", MODEL, 2, "--to", to, expect=1)
    assert "the ledger has no gate of version 2" in refused.stderr
    gate(gated, 2)
    for name, value in {"titleshot.state": "promoted", "titleshot.chain_head": "5:abc", "git_sha": "f" * 40}.items():
        gated.client.set_model_version_tag(MODEL, "2", name, value)
    done = titleshot(gated, "promote-env", MODEL, 2, "--to", to, "--by", "ann")
    assert f"version 2 of {MODEL} is now version 1 of {to}" in done.stdout
    copy, source = gated.client.get_model_version(to, "1"), gated.client.get_model_version(MODEL, "2")
    assert copy.run_id == source.run_id
    assert gated.client.get_model_version_download_uri(to, "1") == gated.client.get_model_version_download_uri(
        MODEL, "2"
    )
    assert copy.tags["git_sha"] == "f" * 40
    ours = {name for name in copy.tags if name.startswith("titleshot.")}
    assert ours == {f"titleshot.from{what}" for what in ("", "_gate", "_by", "_at")}
    assert copy.tags["titleshot.from"] == f"{MODEL}/2"
    assert f"{MODEL}/1, " in copy.tags["titleshot.from_gate"]
    assert "by pipeline: the gate in staging says PASS against version 1" in copy.tags["titleshot.from_gate"]
    again = titleshot(gated, "promote-env", MODEL, 2, "--to", to, "--by", "ben", "--json")
    assert {name: json.loads(again.stdout)[name] for name in ("version", "new")} == {"version": 1, "new": False}
    assert gated.client.get_model_version(to, "1").tags == copy.tags
    assert len(gated.client.search_model_versions(f"name='{to}'")) == 1
    gate(gated, 3, expect=1)
    refused = titleshot(gated, "promote-env", MODEL, 3, "--to", to, expect=1)
    assert "version 3 has not passed: the gate in staging says FAIL" in refused.stderr


def test_a_leaked_evaluation_fails_and_holds(gated):
    gated.start()
    gated.serving(1)
    done = gate(gated, 3, expect=1)
    assert "the evaluation in the registry does not hold" in done.stdout
    assert "the gate says FAIL" in done.stdout
    held = challenge(gated, 3)
    assert "the gate in staging says FAIL against version 1" in held
    assert "precision.reproduced" in held
    assert gated.alias("champion") == 1


def test_a_slow_server_fails_its_budget(gated):
    gated.start()
    gated.serving(1)
    gated.write_settings(REQUIRED + "    staging: {rate: 20, requests: 100, p50: 20ms, p99: 50ms}\n")
    gated.stubs[2].delay_seconds = 0.3
    wait_for(lambda: "another policy" not in gate_quietly(gated), "the new policy is taken")
    done = gate(gated, 2, "--json", expect=1)
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert checks["latency.p99"]["verdict"] == "FAIL"
    assert "the budget is 50.0 ms" in checks["latency.p99"]["reason"]
    assert {name for name, each in checks.items() if each["verdict"] != "PASS"} == {"latency.p50", "latency.p99"}


def gate_quietly(world):
    """What a look at the policy says, without a run: the data is not there."""
    environment = {**os.environ, "TITLESHOT_ADMIN": world.admin, "TITLESHOT_TOKEN": world.tokens["pipeline"]}
    asked = [*COMMAND, "gate", MODEL, "2", "--staging", world.stubs[2].url, "--data", "none.csv"]
    return subprocess.run(asked, env=environment, cwd=world.folder, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(("breaks_with", "verdict", "bad"), [(500, "PASS", 7), (503, "FAIL", 0)])
def test_the_champion_is_asked_bad_requests_only_where_that_can_excuse(gated, breaks_with, verdict, bad):
    gated.write_settings(REQUIRED)
    for version in (1, 2):
        gated.stubs[version].breaks_with = breaks_with
    done = gate(gated, 2, "--no-submit", "--json", expect=1)  # a column left out is no client error either
    checks = {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}
    assert {checks[f"contract.{name}"] for name in ("wrong_type", "malformed")} == {verdict}
    rows, living = 3, 2 if bad else 0
    assert gated.stubs[1].asked == rows + bad + living


def test_who_may_not_report_changes_nothing(gated):
    gated.start()
    gated.serving(1)
    done = gate(gated, 2, token="reader", expect=4)
    assert "does not have the right to report on the gate" in done.stderr
    assert [each for each in gated.history() if each["kind"] == "gated"] == []
    assert "no report of the gate" in challenge(gated, 2)
    answer = gated.command("rollback", gated.tokens["pipeline"])
    assert answer.status_code == 403, answer.text
    read_at = gated.status()["registry"]["read_at"]
    wait_for(lambda: gated.status()["registry"]["read_at"] > read_at, "the registry is read again")
    assert gated.phase() == "held"


def test_a_report_against_a_champion_of_before_does_not_count(gated):
    gated.start()
    gated.serving(1)
    gate(gated, 2)
    gated.set_alias("champion", 3)
    wait_for(lambda: gated.status()["champion"] == 3, "version 3 serves")
    assert "no report of the gate in staging against version 3" in challenge(gated, 2)


def test_a_server_that_is_not_there_makes_no_report(gated):
    gated.start()
    gated.serving(1)
    gated.stubs[2].ready = False
    done = gate(gated, 2, expect=3)
    assert "does not say that it is ready" in done.stderr
    assert gated.history() == []
