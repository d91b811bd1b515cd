"""People sign off on real processes: two of them, not whoever registered the version, under the evidence they saw."""

import os
import pty
import signal
import subprocess
import sys

import pytest
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, Traffic, wait_for

from router.control.admin import ActorRole, new_token

RULES = "{sign_off: {people: 2, not_registrant: true}}"


@pytest.fixture
def people(world):
    """Name -> token: two who may sign, whoever registered version 2, and the test itself."""
    roles = {name: [ActorRole.APPROVER] for name in ("ann", "ben", "reg")} | {"tests": [ActorRole.ADMIN]}
    made = {name: new_token(name, of) for name, of in roles.items()}
    (world.folder / "tokens.yaml").write_text("".join(f"{each.line}\n" for each in made.values()))
    world.more = "tokens: tokens.yaml\n"
    world.headers = {"authorization": f"Bearer {made['tests'].token}"}
    return {name: each.token for name, each in made.items()}


def waiting(world, promote=RULES):
    """A rollout of version 2 that waits for its sign-off."""
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("promote: {}", f"promote: {promote}"))
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "sign_off", "the rollout waits for people", 90)


def shown(world):
    return world.status()["rollout"]["evidence_digest"]


def refused_acts(world):
    kept = world._read("/refused").json()["refused"]
    assert all(each["origin"] == "this machine" and each["why"] for each in kept)
    assert "nobodys-token" not in str(kept)
    return [(each["actor"], each["act"]) for each in kept]


def refused(answer):
    assert answer.status_code == 409, answer.text
    return answer.json()["error"]["message"]


def test_two_people_sign_and_none_of_them_registered_it(world, people):
    world.client.set_model_version_tag(MODEL, "2", "titleshot.registered_by", "reg")
    waiting(world)
    assert "reg registered the version" in refused(world.command("sign-off", people["reg"], evidence=shown(world)))
    assert "look again" in refused(world.command("sign-off", people["ann"], evidence="0" * 64))
    assert "the policy says who signs off" in refused(world.command("promote", people["ann"]))
    digest = shown(world)
    first = world.command("sign-off", people["ann"], evidence=digest, reason="fewer false alarms")
    assert (first.status_code, first.json()["kind"], first.json()["phase"]) == (200, "signed", "sign_off")
    assert "ann has signed already" in refused(world.command("sign-off", people["ann"], evidence=shown(world)))
    assert world.command("rollback", "titleshot_nobodys-token").status_code == 401
    tried = [("", "rollback"), ("ann", "sign-off"), ("ann", "promote"), ("reg", "sign-off")]
    wait_for(lambda: refused_acts(world) == tried, "the refused attempts are in the ledger")

    control = world.children()["control"]
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: world.children().get("control", control) != control, "control is back")
    kept = wait_for(lambda: world.status()["rollout"]["sign_off"]["signatures"], "the signature is there again")
    assert [(each["name"], each["evidence_digest"]) for each in kept] == [("ann", digest)]
    assert world.alias("champion") == 1
    assert refused_acts(world) == tried

    second = wait_for(lambda: _signed(world, people["ben"]), "ben signs", 30)
    assert (second["kind"], second["actor"]) == ("promote", "ben")
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title")
    (promote,) = (decision for decision in world.history() if decision["kind"] == "promote")
    signatures = promote["evidence"]["sign_off"]["signatures"]
    assert [each["name"] for each in signatures] == ["ann", "ben"]
    assert promote["evidence"]["verdict"] == "pass"


def _signed(world, token):
    """The decision, once the endpoints have been probed again."""
    answer = world.command("sign-off", token, evidence=shown(world))
    return answer.json() if answer.status_code == 200 else None


def test_unknown_registrant_and_a_rejection(world, people):
    waiting(world)
    assert "unknown who registered" in refused(world.command("sign-off", people["ann"], evidence=shown(world)))
    answer = world.command("reject", people["ann"], reason="nobody knows whose it is")
    assert answer.status_code == 200, answer.text
    wait_for(lambda: world.phase() == "rolled_back", "it is over")
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")
    assert world.client.get_model_version(MODEL, "2").tags["titleshot.state"] == "rejected"
    assert world.alias("champion") == 1


def test_evidence_that_has_turned_is_not_signed(world, people):
    waiting(world, "{sign_off: true}")
    digest = shown(world)
    world.stubs[2].status = 500  # harm while it waits: the guardrails are there
    wait_for(lambda: world.phase() in ("rolling_back", "rolled_back"), "it is rolled back", 60)
    assert "cannot sign off" in refused(world.command("sign-off", people["ann"], evidence=digest))
    assert world.alias("champion") == 1


def test_the_command_shows_the_evidence_and_asks(world, people):
    waiting(world, "{sign_off: true}")
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TITLESHOT_TOKEN": people["ann"], "TITLESHOT_ADMIN": world.admin}
    command = [sys.executable, "-c", "from router.cli.main import main; main()", "sign-off", MODEL, "--reason", "good"]
    without = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert without.returncode == 2
    assert "expected --evidence DIGEST" in without.stderr
    asked = subprocess.Popen(command, env=environment, stdin=theirs, stdout=subprocess.PIPE, text=True)
    os.write(mine, b"y\n")
    printed, _ = asked.communicate(timeout=90)
    assert asked.returncode == 0, printed
    assert "precision:" in printed
    assert "Sign off under this evidence?" in printed
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title")
    (promote,) = (decision for decision in world.history() if decision["kind"] == "promote")
    assert promote["evidence"]["sign_off"]["signatures"][0]["evidence_digest"] in printed
    assert promote["reason"] == "good"
