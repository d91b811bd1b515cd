"""Every alert has series with which it fires, and some with which it does not (alert_cases.yaml)."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_server import need_prometheus

RULES = Path(__file__).parents[3] / "deploy" / "prometheus"
CASES = yaml.safe_load(Path(__file__).with_name("alert_cases.yaml").read_text())
ALERTS = {rule["alert"]: rule for rule in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"][0]["rules"]}


def fired(tmp_path, alert, series, expected):
    """promtool's exit code and words: whether the alert was firing at any time was as expected."""
    ever = f'count(max_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[2h]))'
    test = {
        "rule_files": [str(RULES / "recording.yml"), str(RULES / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": ever,
                        "eval_time": "70m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if expected else [],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))
    done = subprocess.run(
        [need_prometheus("promtool"), "test", "rules", str(file)], capture_output=True, timeout=30, check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_every_alert_has_cases_of_both_kinds_and_a_severity():
    assert CASES.keys() == ALERTS.keys()
    for alert, cases in CASES.items():
        assert cases["fires"], alert
        assert cases["silent"], alert
        assert ALERTS[alert]["labels"]["severity"] in ("page", "ticket")
        assert ALERTS[alert]["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize(
    ("alert", "expected", "series"),
    [
        pytest.param(alert, kind == "fires", series, id=f"{alert}-{kind}-{number}")
        for alert, cases in CASES.items()
        for kind in ("fires", "silent")
        for number, series in enumerate(cases[kind])
    ],
)
def test_it_fires_when_it_must_and_only_then(tmp_path, alert, expected, series):
    code, said = fired(tmp_path, alert, series, expected)
    assert code == 0, said
