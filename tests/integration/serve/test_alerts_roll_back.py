"""Alertmanager's notifications on real processes: what is on trial goes, once, and a title that was won stays."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, wait_for

from router.control.admin import ActorRole, new_token

MATCHERS = "    rollback_on: [{alertname: ErrorsOfModel, severity: page}]\n"


@pytest.fixture
def pager(world):
    """Sends a notification, with the pager's token; what was answered."""
    made = {name: new_token(name, [role]) for name, role in (("am", ActorRole.PAGER), ("tests", ActorRole.ADMIN))}
    (world.folder / "tokens.yaml").write_text("".join(f"{each.line}\n" for each in made.values()))
    world.more = "tokens: tokens.yaml\n"
    world.headers = {"authorization": f"Bearer {made['tests'].token}"}

    def send(began=None, status="firing", token=made["am"].token, **labels):
        began = began or datetime.now(UTC)
        alert = {"status": status, "labels": labels, "startsAt": began.isoformat(), "fingerprint": "1"}
        return httpx.post(
            f"{world.admin}/webhooks/alertmanager",
            json={"version": "4", "status": status, "groupKey": "{}", "alerts": [alert]},
            headers={"authorization": f"Bearer {token}"},
            timeout=10,
            trust_env=False,
        )

    return send


def told(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["models"].get("late-arrival", {}).get("did")


def rollbacks(world):
    return [decision for decision in world.history() if decision["kind"] == "roll_back"]


PAGE = {"alertname": "ErrorsOfModel", "severity": "page", "instance": "gpu-1"}


def test_an_alert_takes_the_challenger_out_once(world, pager):
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("for: 1s", "for: 10m") + MATCHERS)
    world.start()
    world.serving(1)
    assert told(pager(**PAGE)) == "nothing"  # on trial is nobody
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is on trial", 30)
    assert pager(**PAGE, token="wrong").status_code == 401
    assert pager(alertname="ErrorsOfModel", severity="ticket").status_code == 422  # of no model here
    assert told(pager(**PAGE, status="resolved")) is None
    assert told(pager(**PAGE, began=datetime.now(UTC) - timedelta(hours=1))) == "nothing"  # not about version 2
    assert world.phase() == "shadow"
    assert told(pager(**PAGE)) == "roll_back"
    assert world.status()["traffic"]["mode"] == "none"  # routes first
    assert told(pager(**PAGE)) == "nothing"
    wait_for(lambda: world.phase() == "rolled_back", "it is over")
    assert told(pager(**PAGE)) == "nothing"
    (decision,) = rollbacks(world)
    assert (decision["actor"], decision["trigger"]) == ("am", "alert")
    assert decision["reason"] == "alert ErrorsOfModel (instance=gpu-1, severity=page)"
    assert world.alias("champion") == 1
    wait_for(lambda: world.alias("challenger") is None, "@challenger is cleared")


def test_in_a_watch_an_alert_moves_the_title_back(world, pager):
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.rstrip() + "\n      - watch: 10m\n" + MATCHERS)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "watch", "version 2 is watched", 90)
    assert told(pager(**PAGE)) == "roll_back"
    wait_for(lambda: world.alias("champion") == 1, "the title goes back")
    wait_for(lambda: world.phase() == "rolled_back", "it is over")
    assert told(pager(**PAGE)) == "nothing"  # @previous is no target: nothing is on trial
    assert len(rollbacks(world)) == 1
    assert world.alias("champion") == 1
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}
