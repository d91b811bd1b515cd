"""A real Prometheus scrapes a running titleshot under traffic, and every panel of every dashboard returns data."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import need_prometheus, panel_expressions, start_prometheus
from training_profiles import give_profile
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, Traffic, World, fair, free_port, good, wait_for


@dataclass
class Running:
    """Where /metrics is, the model that has traffic there, and what names its challenger."""

    target: str
    model: str
    name_challenger: Callable[[], None]
    world: World


@pytest.fixture(scope="module")
def running(tmp_path_factory, registry_template):
    folder = tmp_path_factory.mktemp("metrics")
    world = World(folder, registry_template, {1: fair, 2: good})
    skew = "    skew: {share: 100}\n"
    world.write_settings(QUICK_POLICY + QUICK_ROLLOUT.replace("promote: {}", "promote: {sign_off: true}") + skew)
    give_profile(world, 1, lambda draw: draw.random())
    try:
        world.start()
        world.serving(1)
        world.traffic = Traffic(world)
        yield Running(f"127.0.0.1:{world.admin_port}", MODEL, lambda: world.set_alias("challenger", 2), world)
    finally:
        world.close()
        sys.stdout.write((folder / "serve.log").read_text())  # shown when the test fails


def test_every_panel_has_data(running, tmp_path):
    need_prometheus()
    prometheus = start_prometheus(running.target, tmp_path, free_port())
    try:
        expressions = panel_expressions(running.model)
        assert len(expressions) > 30
        running.name_challenger()  # now that there is a scrape to compare with: decisions show as changes
        empty = dict(expressions)

        def all_have_data():
            for title, expr in list(empty.items()):
                if any(not math.isnan(float(sample["value"][1])) for sample in prometheus.query(expr)):
                    del empty[title]
            return not empty

        try:
            prometheus.wait_for(all_have_data, "every panel has data")
        except AssertionError as error:
            raise AssertionError(f"no data for {empty}") from error
        both = {sample["metric"]["role"] for sample in prometheus.query("titleshot_live_precision")}
        assert {"champion", "challenger"} <= both
    finally:
        prometheus.close()


def test_the_page_and_the_status_tell_the_same(running):
    world = running.world
    running.name_challenger()
    wait_for(lambda: world.phase() in ("canary", "sign_off"), "the challenger has answered clients", 90)
    world.traffic.stop()
    wait_for(lambda: _told_by_page(world) == _told_by_status(world), "the page and the status agree", 30)
    told = _told_by_page(world)
    assert {"precision champion", "precision challenger", "p99 challenger", "evidence precision"} <= told.keys()


def _told_by_status(world):
    status = world.status()
    told = {"phase": status["rollout"]["phase"], "step": status["rollout"]["step"] + 1}
    for role, score in status["roles"].items():
        told[f"p99 {role}"] = score["p99_seconds"]
        told[f"precision {role}"] = tuple(score["precision"][part] for part in ("value", "lower", "upper"))
    for guardrail in status["rollout"]["evidence"]["guardrails"]:
        told[f"evidence {guardrail['name']}"] = guardrail["harm_e"]
        told[f"verdict {guardrail['name']}"] = guardrail["verdict"]
    return told | {"combined": status["rollout"]["evidence"]["combined_e"], "matched": status["labels"]["matched"]}


def _told_by_page(world):
    page = httpx.get(f"{world.admin}/metrics", timeout=5, trust_env=False).raise_for_status().text
    told, precision = {}, {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            of = sample.labels
            match sample.name.removeprefix("titleshot_"):
                case "rollout_phase" if sample.value:
                    told["phase"] = of["phase"]
                case "rollout_step":
                    told["step"] = sample.value
                case "latency_quantile_seconds" if of["q"] == "0.99":
                    told[f"p99 {of['role']}"] = sample.value
                case "live_precision" | "live_precision_lower" | "live_precision_upper":
                    precision.setdefault(of["role"], []).append(sample.value)
                case "evidence":
                    told[f"evidence {of['guardrail']}"] = sample.value
                case "guardrail_verdict" if sample.value:
                    told[f"verdict {of['guardrail']}"] = of["verdict"]
                case "evidence_combined":
                    told["combined"] = sample.value
                case "labels_total" if of["result"] == "matched":
                    told["matched"] = sample.value
    return told | {f"precision {role}": tuple(values) for role, values in precision.items()}
