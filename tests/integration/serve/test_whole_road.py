"""A challenger's whole life on real processes: promoted by evidence, rolled back by evidence, moved by hand."""

import os
import signal
import sqlite3
from pathlib import Path

import httpx
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, wait_for


def kinds(world):
    return [decision["kind"] for decision in world.history()]


def test_a_better_challenger_is_promoted_and_a_worse_one_rolled_back(world):
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)

    world.set_alias("challenger", 2)
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title", 90)
    wait_for(lambda: world.alias("previous") == 1, "the champion before is kept")
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")
    assert [kind for kind in kinds(world) if kind != "hold"] == ["start", "advance", "promote", "moved"]
    assert world.client.get_model_version("late-arrival", "2").tags["titleshot.state"] == "promoted"

    world.set_alias("challenger", 3)
    wait_for(lambda: world.phase() == "rolled_back", "version 3 is rolled back", 90)
    rollback = next(decision for decision in world.history() if decision["kind"] == "roll_back")
    assert rollback["version"] == 3
    assert rollback["trigger"] == "precision"
    assert rollback["actor"] == "titleshot"
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")
    assert world.alias("champion") == 2

    assert world.command("rollback").status_code == 409  # it may be meant for version 3, which is out already
    answer = world.command("rollback", champion=2, on_trial=0)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: world.alias("champion") == 1, "version 1 has the title back")
    wait_for(lambda: world.status()["champion"] == 1, "version 1 serves")
    wait_for(lambda: world.alias("previous") == 2, "the champion before is kept")  # told after the title
    assert world.command("rollback").status_code == 409  # @previous was rejected: never an automatic target

    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}
    assert world.traffic.rejected == []
    assert world.traffic.labels_refused == 0


def test_a_dead_challenger_never_reaches_a_client(world):
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("shadow: 100", "shadow: 50"))
    world.stubs[2].status = 500
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "rolled_back", "the challenger is rolled back", 90)
    assert world.alias("champion") == 1
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_the_registry_is_the_switch_once_the_endpoint_is_ready(world):
    world.stubs[2].ready = False
    world.start()
    world.serving(1)
    world.set_alias("champion", 2)
    wait_for(lambda: world.status()["awaited"] == 2, "the new champion is awaited")
    assert world.status()["champion"] == 1
    world.stubs[2].ready = True
    wait_for(lambda: world.status()["champion"] == 2, "the router follows")
    (decision,) = world.history()
    assert (decision["kind"], decision["actor"]) == ("foreign_move", "registry")


def test_a_sign_off_is_waited_for_and_given(world):
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("promote: {}", "promote: {sign_off: true}"))
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "sign_off", "the rollout waits for a person", 90)
    assert world.alias("champion") == 1
    shown = world.status()["rollout"]["evidence_digest"]
    answer = world.command("sign-off", reason="looked at the evidence", evidence=shown)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: world.alias("champion") == 2, "version 2 has the title")
    promote = next(decision for decision in world.history() if decision["kind"] == "promote")
    assert promote["reason"] == "looked at the evidence"
    assert promote["actor"] != "titleshot"


def test_a_watch_rolls_back_a_regression_after_promotion(world):
    watched = QUICK_ROLLOUT.rstrip() + "\n      - watch: 10m\n"
    world.write_settings(QUICK_POLICY + watched)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "watch", "version 2 is watched", 90)
    assert world.alias("champion") == 2
    world.stubs[2].predict = world.stubs[3].predict  # it turns bad
    wait_for(lambda: world.alias("champion") == 1, "the title goes back by itself", 90)
    wait_for(lambda: world.phase() == "rolled_back", "and the rollout is over")
    assert world.client.get_model_version("late-arrival", "2").tags["titleshot.state"] == "rejected"


def test_a_killed_control_process_resumes_in_mid_rollout(world):
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("promote: {}", "promote: {sign_off: true}"))
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "canary", "the canary", 90)
    before = world.status()["rollout"]["id"]
    children = world.children()
    os.kill(children["control"], signal.SIGKILL)
    wait_for(lambda: world.children().get("control", children["control"]) != children["control"], "control is back")
    wait_for(lambda: world.status()["rollout"]["id"] == before, "the same rollout goes on", 30)
    wait_for(lambda: world.phase() == "sign_off", "and arrives", 90)
    assert kinds(world).count("start") == 1
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_proxies_serve_on_without_supervisor_and_control(world):
    world.start()
    world.serving(1)
    children = world.children()
    world.process.kill()
    world.process.wait()
    wait_for(lambda: not _alive(children["control"]), "control ends with its supervisor")
    assert world.ask().status_code == 200
    world.registry_file.rename(world.registry_file.with_suffix(".away"))  # MLflow is down, too
    assert world.ask().status_code == 200

    world.start()  # the registry stays away: the new proxies serve from the routes file
    wait_for(lambda: not _alive(children["proxy 0"]), "the old proxy retires", 60)
    for _ in range(20):
        assert world.ask().status_code == 200


def test_a_killed_proxy_is_replaced_and_loses_no_queued_connection(world):
    world.start()
    world.serving(1)
    before = world.children()["proxy 0"]
    os.kill(before, signal.SIGKILL)
    assert world.ask().status_code == 200  # waits in the supervisor's socket until the new proxy takes it
    assert world.children()["proxy 0"] != before


def test_settings_are_reloaded_and_bad_ones_are_not(world):
    world.start()
    world.serving(1)
    before = world.status()["policy_digest"]
    world.settings_path.write_text(world.settings_path.read_text().replace("10 points", "11 points"))
    wait_for(lambda: world.status()["policy_digest"] != before, "the new policy")
    after = world.status()["policy_digest"]
    world.settings_path.write_text(world.settings_path.read_text().replace("gate:", "gaet:"))

    def counted():
        page = httpx.get(f"{world.admin}/metrics", trust_env=False).text
        return "titleshot_config_reload_success 0.0" in page

    wait_for(counted, "the metric says that the last reload failed")
    assert world.status()["policy_digest"] == after
    assert world.ask().status_code == 200
    assert "gaet" in (world.folder / "serve.log").read_text()


def test_no_champion_is_503_and_not_ready(world):
    world.client.delete_registered_model_alias("late-arrival", "champion")
    world.start()
    wait_for(lambda: httpx.get(f"{world.admin}/health/ready", trust_env=False).status_code == 503, "not ready")
    wait_for(lambda: "champion" in world.ask().text, "a clear text once the registry has been read")
    assert world.ask().status_code == 503


def test_a_ledger_that_is_away_refuses_labels_and_lets_traffic_and_rollback_go_on(world):
    world.start()
    world.serving(1)
    world.set_alias("previous", 2)
    wait_for(lambda: 2 in world.status()["ready"], "the previous champion is probed")
    _break_ledger(world)
    request_id = world.ask().headers["x-titleshot-id"]
    label = {"request_id": request_id, "label": 1}
    answer = httpx.post(f"{world.admin}/labels", json=label, timeout=30, trust_env=False)
    assert answer.status_code == 503
    assert world.ask().status_code == 200
    assert world.command("rollback").status_code == 200
    wait_for(lambda: world.alias("champion") == 2, "rollback works without the ledger")
    assert (world.folder / ".titleshot" / "spool.jsonl").exists()
    _mend_ledger(world)
    wait_for(lambda: not (world.folder / ".titleshot" / "spool.jsonl").exists(), "the spool is drained", 30)
    assert "roll_back" in kinds(world)


def _break_ledger(world):
    """Hold SQLite's write lock: every write of titleshot runs into its busy timeout."""
    world.blocker = sqlite3.connect(world.folder / "titleshot.db", isolation_level=None)
    world.blocker.execute("BEGIN EXCLUSIVE")


def _mend_ledger(world):
    world.blocker.execute("ROLLBACK")
    world.blocker.close()


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
