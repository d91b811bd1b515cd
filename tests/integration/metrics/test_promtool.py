import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from judged_model import JudgedModel
from prometheus_server import need_prometheus

from router.control.metric_table import TABLE
from router.control.metrics import Metrics
from router.link.messages import Counters

DEPLOY = Path(__file__).parents[3] / "deploy"


def promtool(*arguments, page=b""):
    done = subprocess.run(
        [need_prometheus("promtool"), *arguments], input=page, capture_output=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_has_nothing_to_say_about_the_page():
    metrics = Metrics()
    model = JudgedModel(metrics)
    metrics.watch(
        {model.name: model.controlled}, ready=lambda _: frozenset({1}), proxies=lambda: [0], revision=lambda: 1
    )
    metrics.add_model(model.name)
    metrics.counters(0, Counters({}, {}, 0, 0, 1, 1, 1))
    for page, _ in (metrics.expose(""), _in_a_rollout(model)):
        assert promtool("check", "metrics", page=page) == (0, b"")


def _in_a_rollout(model):
    model.aliases()
    model.aliases(challenger=2)
    model.requests_of_step(50, np.random.default_rng(1))
    model.tick(model.at + 1)
    return model.metrics.expose("")


def test_promtool_takes_the_configuration():
    code, said = promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    assert code == 0, said.decode()


@pytest.mark.parametrize("rules", ["alerts.yml", "recording.yml"])
def test_promtool_takes_the_rules(rules):
    code, said = promtool("check", "rules", str(DEPLOY / "prometheus" / rules))
    assert code == 0, said.decode()


def test_every_name_in_the_alerts_is_one_of_ours():
    rules = [(DEPLOY / "prometheus" / name).read_text() for name in ("alerts.yml", "recording.yml")]
    names = {name for text in rules for name in re.findall(r"\btitleshot_[a-z_]+\b", text)} - {"titleshot_recording"}
    assert len(names) > 5
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in names} <= {family.name for family in TABLE}
    recorded = set(re.findall(r"record: (\S+)", rules[1]))
    assert set(re.findall(r"titleshot:[a-z_:0-9]+", rules[0])) <= recorded


def holds(tmp_path, series, values, name, silent, firing, **told):
    """Alert `name` is not there at `silent`, and is at `firing`, with these labels and annotations."""
    rules = {
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "alert_rule_test": [
                    {"eval_time": silent, "alertname": name, "exp_alerts": []},
                    {"eval_time": firing, "alertname": name, "exp_alerts": [told]},
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(rules))
    code, said = promtool("test", "rules", str(file))
    assert code == 0, said.decode()


def test_an_alert_says_that_there_is_no_way_back(tmp_path):
    holds(
        tmp_path,
        "titleshot_endpoint_ready{model='m', alias='previous'}",
        "1 1 0 0 0 0 0 0 0 0",
        "TitleshotNoWayBack",
        silent="4m",
        firing="8m",
        exp_labels={"model": "m", "alias": "previous", "severity": "page"},
        exp_annotations={
            "summary": "m: the endpoint of @previous does not answer; a rollback would be refused",
            "description": "Start the model server of the version that @previous names (titleshot_version_info).",
        },
    )


def test_an_alert_says_that_nobody_looks_at_the_evidence(tmp_path):
    holds(
        tmp_path,
        "titleshot_last_tick_timestamp_seconds{model='m'}",
        "0 60 120 120 120 120 120",
        "TitleshotJudgeStandsStill",
        silent="3m",
        firing="6m",
        exp_labels={"model": "m", "severity": "page"},
        exp_annotations={
            "summary": "m: nobody has looked at the evidence for 4m 0s",
            "description": "Nothing advances and the judge rolls nothing back; `titleshot status` and the log say why. "
            "The circuit breaker and `titleshot rollback` work.",
        },
    )
