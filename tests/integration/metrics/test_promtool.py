import json
import re
import subprocess
from pathlib import Path

import numpy as np
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


def test_promtool_takes_the_alerts():
    code, said = promtool("check", "rules", str(DEPLOY / "prometheus" / "alerts.yml"))
    assert code == 0, said.decode()


def test_every_name_in_the_alerts_is_one_of_ours():
    names = set(re.findall(r"\btitleshot_[a-z_]+\b", (DEPLOY / "prometheus" / "alerts.yml").read_text()))
    assert len(names) > 5
    assert names <= {family.name for family in TABLE}


def test_an_alert_says_that_there_is_no_way_back(tmp_path):
    series = "titleshot_endpoint_ready{model='m', alias='previous'}"
    rules = {
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": "1 1 0 0 0 0 0 0 0 0"}],
                "alert_rule_test": [
                    {"eval_time": "4m", "alertname": "TitleshotNoWayBack", "exp_alerts": []},
                    {
                        "eval_time": "8m",
                        "alertname": "TitleshotNoWayBack",
                        "exp_alerts": [
                            {
                                "exp_labels": {"model": "m", "alias": "previous", "severity": "page"},
                                "exp_annotations": {
                                    "summary": "m: the endpoint of @previous does not answer; "
                                    "a rollback would be refused",
                                    "description": "Start the model server of the version that @previous names "
                                    "(titleshot_version_info).",
                                },
                            }
                        ],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(rules))
    code, said = promtool("test", "rules", str(file))
    assert code == 0, said.decode()
