"""Prometheus sees, Alertmanager tells, titleshot rolls back: the real ones, with the files that users copy."""

import subprocess

import httpx
import pytest
import yaml
from alertmanager_server import CONFIG, Alertmanager
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import need_prometheus, start_prometheus
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, Traffic, World, fair, free_port, good, wait_for

from router.control.admin import ActorRole, new_token

ROLLBACK_ON = "    rollback_on: [{alertname: ModelErrors, model: late-arrival}]\n"
RULES = """
groups:
  - name: test
    interval: 250ms
    rules:
      - alert: ModelErrors
        expr: sum by (model) (titleshot_mirrored_share_ratio{role="challenger"}) > 0
        labels: {rollback: titleshot, severity: page}
"""


@pytest.fixture
def running(tmp_path, registry_template):
    """A titleshot that asks for tokens, with version 2 on trial; and the tokens, by role."""
    need_prometheus()
    need_prometheus("prometheus-alertmanager")
    world = World(tmp_path, registry_template, {1: fair, 2: good})
    made = {role: new_token(role.value, [role]) for role in (ActorRole.ADMIN, ActorRole.PAGER, ActorRole.VIEWER)}
    (world.folder / "tokens.yaml").write_text("".join(f"{each.line}\n" for each in made.values()))
    world.more = "tokens: tokens.yaml\n"
    world.headers = {"authorization": f"Bearer {made[ActorRole.ADMIN].token}"}
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("for: 1s", "for: 10m") + ROLLBACK_ON)
    try:
        world.start()
        world.serving(1)
        yield world, {role: each.token for role, each in made.items()}
    finally:
        world.close()


@pytest.fixture
def alertmanager(tmp_path):
    """Starts one that sends to titleshot with a token."""
    started = []

    def start(world, token):
        made = Alertmanager(world.admin, token, tmp_path / f"alertmanager{len(started)}", free_port())
        started.append(made)
        wait_for(made.ready, "Alertmanager is up", 30)
        return made

    yield start
    for each in started:
        each.close()


def on_trial(world):
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is on trial", 30)


def counted(world, name, **labels):
    page = httpx.get(f"{world.admin}/metrics", headers=world.headers, timeout=5, trust_env=False).text
    (found,) = (
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )
    return found


def refused(world, reason):
    return counted(world, "titleshot_admin_refused_total", reason=reason)


def rollbacks(world):
    return [each for each in world.history() if each["kind"] == "roll_back"]


def test_an_alert_of_prometheus_rolls_the_challenger_back(running, alertmanager, tmp_path):
    world, tokens = running
    world.traffic = Traffic(world)
    manager = alertmanager(world, tokens[ActorRole.PAGER])
    prometheus = start_prometheus(
        f"127.0.0.1:{world.admin_port}",
        tmp_path,
        free_port(),
        token=tokens[ActorRole.VIEWER],
        rules=RULES,
        alertmanager=manager.address,
    )
    try:
        assert not rollbacks(world)
        on_trial(world)
        prometheus.wait_for(lambda: world.phase() == "rolled_back", "titleshot has rolled back")
    finally:
        prometheus.close()
    (decision,) = rollbacks(world)
    assert (decision["actor"], decision["trigger"], decision["version"]) == ("pager", "alert", 2)
    assert decision["reason"] == f"alert ModelErrors (model={MODEL}, rollback=titleshot, severity=page)"
    assert world.alias("champion") == 1
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_a_wrong_token_is_refused_and_counted(running, alertmanager):
    world, tokens = running
    on_trial(world)
    for token, reason in (("wrong", "unauthenticated"), (tokens[ActorRole.VIEWER], "forbidden")):
        before = refused(world, reason)
        manager = alertmanager(world, token)
        manager.fire(alertname="ModelErrors", model=MODEL, rollback="titleshot")
        wait_for(lambda of=manager: of.delivered()[1] > 0, "Alertmanager was refused", 30)
        assert refused(world, reason) > before
    assert world.phase() == "shadow"
    assert not rollbacks(world)


def test_an_alert_of_an_unknown_model_is_refused_counted_and_not_sent_again(running, alertmanager):
    world, tokens = running
    on_trial(world)
    manager = alertmanager(world, tokens[ActorRole.PAGER])
    manager.fire(alertname="ModelErrors", model="nobody", rollback="titleshot")
    wait_for(lambda: manager.delivered()[1] > 0, "titleshot has refused it", 30)
    assert manager.delivered() == (1, 1)
    assert counted(world, "titleshot_alerts_total", result="unknown_model") == 1
    assert world.phase() == "shadow"
    assert not rollbacks(world)
    manager.fire(alertname="ModelErrors", model=MODEL, rollback="titleshot")  # the same way leads there
    wait_for(lambda: world.phase() == "rolled_back", "an alert of the model rolls back", 30)


def test_the_committed_file_is_one_that_alertmanager_takes():
    done = subprocess.run(
        [need_prometheus("amtool"), "check-config", str(CONFIG)], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = yaml.safe_load(CONFIG.read_text())
    assert rules["route"]["routes"][0]["receiver"] == "titleshot"
