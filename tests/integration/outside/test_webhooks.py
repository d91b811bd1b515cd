"""Webhooks on real processes: who is asked signs nothing off by silence, and no rollback waits for anybody."""

import contextlib
import hashlib
import hmac
import json
import os
import signal
import threading
import time

import httpx
import pytest
from answering import Answering
from click.testing import CliRunner
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, free_port, wait_for

from router.cli.main import main

SECRET = "a-secret-of-the-change-desk"
SLOW = QUICK_ROLLOUT.replace("for: 1s", "for: 10m")


class Desk(Answering):
    """A receiver that believes only what is signed, and says what it is told to."""

    def __init__(self):
        self.says = {}  # event -> (status, body), or a function that gives them
        self.forged = 0
        super().__init__(self._answer)

    def _answer(self, request):
        stamp, mark = request.headers["titleshot-timestamp"], request.headers["titleshot-signature"]
        expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mark, f"v1={expected}") or abs(time.time() - int(stamp)) > 60:
            self.forged += 1
            return 403, b""
        said = self.says.get(json.loads(request.body)["event"], (503, b""))
        return said() if callable(said) else said

    def of(self, event):
        """The bodies of what it was asked."""
        return [body for each in self.asked if (body := json.loads(each.body))["event"] == event]


def verdict(said, reason="because"):
    return 200, json.dumps({"verdict": said, "reason": reason}).encode()


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.close()
    assert made.forged == 0


def started(world, desk, policy, timeout="2s", rollout=QUICK_ROLLOUT, url=None):
    (world.folder / "desk.secret").write_text(SECRET + "\n")
    address = url or f"{desk.url}/hooks/T0P-SECRET-PATH"
    world.more = f"webhooks: {{desk: {{url: {address!r}, secret_file: desk.secret, timeout: {timeout}}}}}\n"
    world.write_settings(QUICK_POLICY + rollout + policy)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)


def said(world, what):
    found = (world.status()["rollout"] or {}).get("confirmations") or []
    return next((each["reason"] for each in found if each["what"] == what), "")


def restart_control(world):
    before = world.children()["control"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: world.children().get("control") not in (None, before), "the control process is replaced")
    wait_for(lambda: world.status()["rollout"], "it answers")


def kinds(world):
    return [each["kind"] for each in world.history()]


def test_confirmed_it_starts_and_is_promoted_and_until_then_it_holds(world, desk):
    started(world, desk, "    confirm_start: [desk]\n    confirm_promote: [desk]\n")
    holds = {
        "the answer was 500": (500, verdict("pass")[1]),
        "expected {": (200, b'{"verdict": "sure"}'),
        "freeze until Monday": verdict("inconclusive", "freeze until Monday"),
    }
    for reason, answer in holds.items():
        desk.says["confirm_start"] = answer
        wait_for(lambda reason=reason: reason in said(world, "confirm_start"), reason, 30)
        assert world.phase() == "held"
    assert world.status()["rollout"]["hold_reason"] == "waiting for desk to confirm the start"
    shown = CliRunner().invoke(main, ["status", "late-arrival", "--admin", world.admin])
    assert "confirm_start: desk: inconclusive: freeze until Monday" in shown.output
    restart_control(world)
    desk.says["confirm_start"] = verdict("pass")
    wait_for(lambda: world.phase() not in (None, "held"), "it starts", 30)
    wait_for(lambda: "the answer was 503" in said(world, "confirm_promote"), "all else is there", 60)
    assert world.phase() == "canary"
    restart_control(world)
    wait_for(lambda: "the answer was 503" in said(world, "confirm_promote"), "it is asked again", 60)
    assert world.status()["rollout"]["evidence"]["verdict"] == "pass"
    assert world.alias("champion") == 1
    desk.says["confirm_promote"] = verdict("pass", "all quiet\nhere")
    wait_for(lambda: world.phase() == "promoted", "it is promoted", 60)
    assert kinds(world).count("confirmed") == 2
    (confirmed,) = [each for each in world.history() if each["kind"] == "confirmed"][1:]
    assert (confirmed["actor"], confirmed["trigger"]) == ("webhook:desk", "webhook")
    assert confirmed["reason"] == "desk confirmed the promotion: all quiet here"
    assert {body["id"] for body in desk.of("confirm_start")} == {desk.of("confirm_start")[0]["id"]}
    question = desk.of("confirm_promote")[-1]
    assert (question["model"], question["version"], question["champion"]) == ("late-arrival", 2, 1)
    assert (question["phase"], question["evidence_verdict"], len(question["evidence_digest"])) == ("canary", "pass", 64)
    assert question["policy_digest"] == world.status()["rollout"]["policy_digest"]
    assert question["rollout_id"] == world.status()["rollout"]["id"]
    starts = len(desk.of("confirm_start"))
    restart_control(world)
    wait_for(lambda: world.phase() == "promoted", "a restart knows")
    assert len(desk.of("confirm_start")) == starts
    log = (world.folder / "serve.log").read_text()
    assert SECRET not in log
    assert "T0P-SECRET-PATH" not in log + json.dumps(world.status()) + json.dumps(world.history())
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_turned_down_the_version_is_rejected(world, desk):
    desk.says["confirm_start"] = verdict("fail", "no change ticket")
    desk.says["on_rollback"] = (204, b"")
    started(world, desk, "    confirm_start: [desk]\n    on_rollback: [desk]\n")
    wait_for(lambda: world.phase() == "rolled_back", "it is over", 30)
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")
    (rejected,) = [each for each in world.history() if each["kind"] == "reject"]
    assert (rejected["actor"], rejected["reason"]) == ("webhook:desk", "desk turned the start down: no change ticket")
    wait_for(lambda: "told" in kinds(world), "it is told of that", 30)
    (told,) = desk.of("on_rollback")
    assert (told["decision"], told["by"], told["version"], told["champion"]) == ("reject", "webhook:desk", 2, 1)
    assert "start" not in kinds(world)
    assert world.client.get_model_version("late-arrival", "2").tags["titleshot.state"] == "rejected"


def test_nobody_there_holds(world, desk):
    started(world, desk, "    confirm_promote: [desk]\n", url=f"http://127.0.0.1:{free_port()}/x")
    wait_for(lambda: "no connection" in said(world, "confirm_promote"), "all else is there", 60)
    assert world.phase() == "canary"
    assert {"start", "advance"} <= set(kinds(world)) <= {"hold", "start", "advance"}


def test_a_rollback_waits_for_nobody_and_is_told_later(world, desk):
    hang = threading.Event()
    desk.says["confirm_promote"] = lambda: (hang.wait(60), verdict("pass"))[1]
    desk.says["on_rollback"] = lambda: (hang.wait(60), (503, b""))[1]
    started(world, desk, "    confirm_promote: [desk]\n    on_rollback: [desk]\n", timeout="30s")
    wait_for(lambda: desk.of("confirm_promote"), "it is asked", 60)
    began = time.monotonic()
    assert world.command("rollback").status_code == 200
    assert time.monotonic() - began < 3
    assert world.status()["traffic"]["mode"] == "none"
    wait_for(lambda: world.phase() == "rolled_back", "it is over", 30)
    wait_for(lambda: desk.of("on_rollback"), "the desk is being told")
    assert "told" not in kinds(world)
    restart_control(world)
    (untold,) = world.status()["untold"]
    assert (untold["webhook"], untold["kind"], untold["version"]) == ("desk", "roll_back", 2)
    hang.set()
    wait_for(lambda: (world.status()["untold"] or [{}])[0].get("problem") == "the answer was 503", "it fails", 30)
    shown = CliRunner().invoke(main, ["status", "late-arrival", "--admin", world.admin])
    assert "on_rollback: desk has yet to be told of the roll back of v2: the answer was 503" in shown.output
    desk.says["on_rollback"] = (200, b"")
    wait_for(lambda: "told" in kinds(world), "the desk is told", 60)
    assert world.status()["untold"] == []
    assert {body["id"] for body in desk.of("on_rollback")} == {desk.of("on_rollback")[0]["id"]}
    calls = len(desk.of("on_rollback"))
    restart_control(world)
    wait_for(lambda: world.phase() == "rolled_back", "a restart knows")
    assert (len(desk.of("on_rollback")), world.status()["untold"]) == (calls, [])
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_an_answer_lost_in_a_crash_is_asked_for_again_under_the_same_id(world, desk):
    killed = []

    def crash(event, answer):
        if event not in killed:
            killed.append(event)
            os.kill(world.children()["control"], signal.SIGKILL)
        return answer

    desk.says["confirm_start"] = lambda: crash("confirm_start", verdict("pass"))
    desk.says["on_rollback"] = lambda: crash("on_rollback", (200, b""))
    started(world, desk, "    confirm_start: [desk]\n    on_rollback: [desk]\n", rollout=SLOW)
    wait_for(lambda: world.phase() == "shadow", "it starts", 60)
    with contextlib.suppress(httpx.HTTPError):  # the crash may come before the answer
        world.command("rollback")
    wait_for(lambda: "told" in kinds(world) and world.phase() == "rolled_back", "the desk is told", 60)
    assert killed == ["confirm_start", "on_rollback"]
    for event, kind in (("confirm_start", "confirmed"), ("on_rollback", "told")):
        ids = [body["id"] for body in desk.of(event)]
        assert (len(ids), len(set(ids)), kinds(world).count(kind)) == (2, 1, 1)
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}
