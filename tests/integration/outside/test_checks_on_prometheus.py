"""Checks on real processes: a real Prometheus that scrapes something real, and servers that are no good answer."""

import gzip
import json
import os
import signal
import threading

import httpx
import pytest
from answering import Answering
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_server import start_prometheus
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, free_port, wait_for

from router.cli.main import main

CHECK = """
    checks:
      queue_time:
        query: '%s'
        worse_by: 20%%
        every: 1s
        for: 2
"""
FIGURES = 'max(queue_seconds{role="{role}",version="{version}",model="{model}"})'


class Queue:
    """Somebody's exporter: how long requests wait behind each version."""

    def __init__(self):
        registry = CollectorRegistry()
        self._gauge = Gauge("queue_seconds", "Waiting.", ["model", "role", "version"], registry=registry)
        self.port = free_port()
        self._server, self._thread = start_http_server(self.port, "127.0.0.1", registry)

    def set(self, seconds, role, version):
        self._gauge.labels("late-arrival", role, str(version)).set(seconds)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


@pytest.fixture
def queue():
    made = Queue()
    yield made
    made.close()


@pytest.fixture
def prometheus(queue, tmp_path):
    port = free_port()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    running = start_prometheus(f"127.0.0.1:{queue.port}", folder, port)
    running.url = f"http://127.0.0.1:{port}"
    yield running
    running.close()


def on_trial(world, url, query=FIGURES, timeout="2s", rollout=QUICK_ROLLOUT):
    world.more = f"prometheus: {{url: {url!r}, timeout: {timeout}}}\n"
    world.write_settings(QUICK_POLICY + rollout + CHECK % query)
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() in ("shadow", "canary"), "version 2 is on trial", 30)


def check_of(world):
    evidence = (world.status()["rollout"] or {}).get("evidence") or {}
    return next(iter(evidence.get("checks", [])), None)


def restart_control(world):
    before = world.children()["control"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: world.children().get("control") not in (None, before), "the control process is replaced")
    wait_for(lambda: world.status()["rollout"], "it answers")


def test_a_queue_that_only_prometheus_knows_of_rolls_back(world, queue, prometheus):
    queue.set(0.2, "champion", 1)
    queue.set(0.21, "challenger", 2)
    queue.set(9.0, "challenger", 3)
    on_trial(world, prometheus.url, rollout=QUICK_ROLLOUT.replace("for: 1s", "for: 10m"))
    check = wait_for(lambda: (found := check_of(world)) and found["verdict"] == "pass" and found, "the check passes")
    assert (check["champion"], check["challenger"], check["in_a_row"]) == (0.2, 0.21, 2)
    assert "not any-time-valid" in check["reason"]
    restart_control(world)
    wait_for(lambda: (found := check_of(world)) and found["verdict"] == "pass", "the check passes again")
    assert world.phase() == "shadow"
    queue.set(0.5, "challenger", 2)
    wait_for(lambda: world.phase() in ("rolling_back", "rolled_back"), "it is rolled back", 30)
    (decision,) = [each for each in world.history() if each["kind"] == "roll_back"]
    assert (decision["trigger"], decision["actor"]) == ("queue_time", "titleshot")
    assert decision["reason"].startswith("queue_time: 0.5 against the champion's 0.2 (+150 %), beyond at most 20 %")
    page = httpx.get(f"{world.admin}/metrics", trust_env=False).text
    counted = 'titleshot_decisions_total{kind="roll_back",model="late-arrival",trigger="queue_time"} 1.0'
    assert counted in page
    ledger = ["--ledger", f"sqlite:///{world.folder / 'titleshot.db'}"]
    told = CliRunner().invoke(main, ["explain", decision["id"], *ledger])
    assert told.exit_code == 0, told.output
    assert "tipped by:  the check queue_time" in told.output
    assert "verdict FAIL, and the same decision" in told.output
    verified = CliRunner().invoke(main, ["audit", "verify", *ledger])
    assert verified.exit_code == 0, verified.output
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_it_goes_all_the_way_with_good_figures(world, queue, prometheus):
    for role, version in (("champion", 1), ("challenger", 2)):
        queue.set(0.2, role, version)
    on_trial(world, prometheus.url)
    wait_for(lambda: world.phase() == "promoted", "version 2 is promoted", 90)
    promotion = next(each for each in world.history() if each["kind"] == "promote")
    told = CliRunner().invoke(
        main, ["explain", promotion["id"], "--ledger", f"sqlite:///{world.folder / 'titleshot.db'}"]
    )
    assert "verdict PASS, and the same decision" in told.output
    forward = [each for each in world.history() if each["kind"] in ("advance", "promote")]
    assert ["queue_time: 0.2 against the champion's 0.2" in each["reason"] for each in forward] == [True, True]


def holds(world, reason):
    """All else passes, the check has no answer for this reason, and so it stays."""
    told = wait_for(
        lambda: (
            (evidence := (world.status()["rollout"] or {}).get("evidence"))
            and evidence["reason"].startswith("waiting for checks: queue_time: no answer")
            and evidence
        ),
        "only the check is missing",
        60,
    )
    assert told["verdict"] == "inconclusive"
    assert reason in told["reason"]
    assert world.phase() == "shadow"
    assert not [each for each in world.history() if each["kind"] in ("advance", "promote", "roll_back")]


def test_an_unreachable_prometheus_holds(world):
    on_trial(world, f"http://127.0.0.1:{free_port()}")
    holds(world, "no connection")


def test_a_query_without_samples_holds(world, prometheus):
    on_trial(world, prometheus.url)
    holds(world, "expected one sample, got none")


NUMBER = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}).encode()


def test_hanging_and_hostile_answers_hold_and_cost_nobody_anything(world, tmp_path):
    hang = threading.Event()
    answers = {
        "hang": lambda: (hang.wait(30), (200, NUMBER))[1],
        "500": lambda: (500, NUMBER),
        "401": lambda: (401, NUMBER),
        "redirect": lambda: (302, NUMBER, {"location": "/elsewhere"}),
        "large": lambda: (200, NUMBER + b" " * (2 << 20)),
        "packed": lambda: (200, gzip.compress(NUMBER), {"content-encoding": "gzip"}),
        "html": lambda: (200, b"<html>"),
    }
    reasons = {
        "hang": "no answer within 1 s",
        "500": "the answer was 500",
        "401": "the answer was 401",
        "redirect": "the answer was 302",
        "large": "expected an answer of at most 1048576 bytes",
        "packed": "expected an answer of Prometheus's query API",
        "html": "expected an answer of Prometheus's query API",
    }
    now = "hang"
    server = Answering(lambda _: answers[now]())
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    try:
        on_trial(world, server.url, timeout="1s", rollout=QUICK_ROLLOUT.replace("for: 1s", "for: 2s"))
        for now, reason in reasons.items():
            wait_for(lambda reason=reason: reason in check_of(world)["reason"], f"{now}: {reason}", 30)
            assert check_of(world)["verdict"] == "inconclusive"
        assert world.phase() == "shadow"
        assert all(each.path == "/api/v1/query" for each in server.asked)
        assert "authorization" not in server.asked[-1].headers
        world.more = world.more.replace("timeout", "token_file: token, timeout")
        world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("for: 1s", "for: 2s") + CHECK % FIGURES)
        sent = "Bearer a-token-that-is-long-enough"
        wait_for(lambda: server.asked[-1].headers.get("authorization") == sent, "the token is sent")
        answers["html"] = lambda: (200, NUMBER)
        wait_for(lambda: world.phase() != "shadow", "with an answer it goes on", 30)
    finally:
        hang.set()
        server.close()
    assert "a-token-that-is" not in (tmp_path / "serve.log").read_text()
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}
