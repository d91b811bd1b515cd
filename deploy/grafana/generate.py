# ruff: noqa: INP001 - a script
"""Writes the dashboards: python deploy/grafana/generate.py. The JSON is committed; a test holds the two equal.

Plain Grafana 11 dashboard JSON, made with the standard library only. The names that it asks for are those of
docs/metrics.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from panels import DATASOURCE, WIDTH, Panel, graph, placed, row, stat, states, target
from router_dashboard import router_panels

FOLDER = Path(__file__).parent / "dashboards"

NO_EVIDENCE = "cancelled|lost_race"

M = 'model="$model"'


def per_second(name: str, by: str, more: str = "") -> str:
    """The rate of a counter of the model, summed by labels."""
    return f"sum by ({by}) (rate({name}{{{M}{more}}}[$__rate_interval]))"


def bounds_override() -> list[dict[str, Any]]:
    """Bounds are thin and dashed."""
    custom = [
        {"id": "custom.lineWidth", "value": 1},
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}},
    ]
    return [{"matcher": {"id": "byRegexp", "options": "/bound/"}, "properties": custom}]


def rollout_panels() -> list[tuple[Panel, int, int]]:
    """Panel, width, height; rows are filled from left to right."""
    requests = per_second("titleshot_requests_total", "role")
    good = per_second("titleshot_requests_total", "role", ', outcome="ok"')
    counted = per_second("titleshot_requests_total", "role", f', outcome!~"{NO_EVIDENCE}"')
    buckets = per_second("titleshot_request_duration_seconds_bucket", "role, le")
    quantile = f"titleshot_latency_quantile_seconds{{{M}, q="
    log = {"lineWidth": 2, "fillOpacity": 0, "showPoints": "never", "scaleDistribution": {"type": "log", "log": 10}}
    return [
        (row("Now"), WIDTH, 1),
        (stat("Phase", "Of the model's latest rollout.", f"titleshot_rollout_phase{{{M}}} == 1", "{{phase}}"), 5, 4),
        (stat("Step", "Counted from 1.", f"titleshot_rollout_step{{{M}}}"), 3, 4),
        (stat("Verdict", "On the present step.", f"titleshot_rollout_verdict{{{M}}} == 1", "{{verdict}}"), 4, 4),
        (
            stat(
                "Versions",
                "What the aliases name in the registry.",
                f"titleshot_version_info{{{M}}}",
                "{{alias}}: {{version}}",
            ),
            7,
            4,
        ),
        (
            stat("Predictions without label", "They wait for it.", f"titleshot_predictions_waiting{{{M}}}"),
            5,
            4,
        ),
        (row("Champion and challenger"), WIDTH, 1),
        (
            graph(
                "Live precision with bounds",
                "Of the version that holds the role. The bounds hold at all times at once.",
                [
                    target(f"titleshot_live_precision{{{M}}}", "{{role}}"),
                    target(f"titleshot_live_precision_lower{{{M}}}", "{{role}} lower bound"),
                    target(f"titleshot_live_precision_upper{{{M}}}", "{{role}} upper bound"),
                ],
                unit="percentunit",
                least=0,
                max=1,
                overrides=bounds_override(),
            ),
            12,
            9,
        ),
        (
            graph(
                "Evidence of harm",
                "Rolled back when the combined evidence reaches the threshold and the harm is more than trivial.",
                [
                    target(f"titleshot_evidence_combined{{{M}}}", "combined"),
                    target(f"titleshot_evidence{{{M}}}", "{{guardrail}}"),
                    target(f"titleshot_evidence_threshold{{{M}}}", "threshold"),
                ],
                custom=log,
            ),
            12,
            9,
        ),
        (
            graph(
                "Requests per second",
                "Exchanges with model servers; in the shadow and the watch the other role answers copies.",
                [target(requests, "{{role}}")],
                unit="reqps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Traffic share",
                "Of the clients answered, and of the traffic copied.",
                [
                    target(f"titleshot_traffic_share_ratio{{{M}}}", "{{role}} answers"),
                    target(f"titleshot_mirrored_share_ratio{{{M}}}", "{{role}} gets copies"),
                ],
                unit="percentunit",
                least=0,
                max=1,
            ),
            8,
            8,
        ),
        (
            graph(
                "Error ratio",
                "Error statuses, time-outs, failed connections, broken and unreadable answers.",
                [target(f"1 - {good} / {counted}", "{{role}}")],
                unit="percentunit",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Latency of the versions: p50, p99",
                "Of the last one or two minutes of the version that holds the role, within 1 %.",
                [target(f'{quantile}"0.5"}}', "{{role}} p50"), target(f'{quantile}"0.99"}}', "{{role}} p99")],
                unit="s",
                least=0,
            ),
            12,
            8,
        ),
        (
            graph(
                "Latency lately: p50, p99",
                "From the histogram: of the last few scrapes, within 5 %.",
                [
                    target(f"histogram_quantile(0.5, {buckets})", "{{role}} p50"),
                    target(f"histogram_quantile(0.99, {buckets})", "{{role}} p99"),
                ],
                unit="s",
                least=0,
            ),
            12,
            8,
        ),
        (row("The rollout"), WIDTH, 1),
        (states("Phase", "One line per phase.", [target(f"titleshot_rollout_phase{{{M}}}", "{{phase}}")]), 12, 9),
        (
            states(
                "Verdict of each guardrail",
                "pass, fail or inconclusive; none is yes while nothing is compared.",
                [target(f"titleshot_guardrail_verdict{{{M}}}", "{{guardrail}} {{verdict}}")],
            ),
            12,
            9,
        ),
        (
            graph(
                "Decisions",
                "Since the control process started, by kind and by what tipped them.",
                [target(f"sum by (kind, trigger) (titleshot_decisions_total{{{M}}}) > 0", "{{kind}} ({{trigger}})")],
                least=0,
                decimals=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Copies shed",
                "Copies that were not sent, or cut off: full, breaker_open, too_large, deadline.",
                [target(per_second("titleshot_shadow_dropped_total", "reason"), "{{reason}}")],
                unit="cps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Breaker",
                "Workers whose breaker keeps traffic from the version on trial.",
                [target(f"sum by (state) (titleshot_breaker_workers{{{M}}})", "{{state}}")],
                least=0,
                decimals=0,
            ),
            8,
            8,
        ),
        (row("Labels"), WIDTH, 1),
        (
            graph(
                "Labels by what became of them",
                "Per second.",
                [target(per_second("titleshot_labels_total", "result"), "{{result}}")],
                unit="cps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Labels joined",
                "Per second, by role and outcome.",
                [target(per_second("titleshot_labels_joined_total", "role, outcome"), "{{role}} {{outcome}}")],
                unit="cps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Waiting for each other",
                "Predictions without a label yet, and labels whose prediction is not known yet.",
                [
                    target(f"titleshot_predictions_waiting{{{M}}}", "predictions"),
                    target(f"titleshot_labels_waiting{{{M}}}", "labels"),
                ],
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Label coverage",
                "Labels joined per good answer, lately; a label comes after its answer.",
                [target(f"{per_second('titleshot_labels_joined_total', 'role')} / {good}", "{{role}}")],
                unit="percentunit",
                least=0,
            ),
            24,
            8,
        ),
        *skew_panels(),
        (row("Health"), WIDTH, 1),
        (
            states(
                "In order",
                "Registry, ledger and settings; endpoints by alias.",
                [
                    target(f"titleshot_registry_up{{{M}}}", "registry"),
                    target("titleshot_ledger_up", "ledger"),
                    target("titleshot_config_reload_success", "settings"),
                    target(f"titleshot_endpoint_ready{{{M}}}", "endpoint of @{{alias}}"),
                ],
                otherwise="red",
            ),
            12,
            8,
        ),
        (
            graph(
                "Seconds since",
                "The last good read of the registry, and the judge's last look at the evidence.",
                [
                    target(f"time() - titleshot_registry_read_timestamp_seconds{{{M}}}", "registry read"),
                    target(f"time() - titleshot_last_tick_timestamp_seconds{{{M}}}", "judge"),
                ],
                unit="s",
                least=0,
            ),
            12,
            8,
        ),
        (
            graph(
                "Answered by titleshot itself",
                "Refused requests and failed model servers per second, by reason; all models.",
                [target("sum by (reason) (rate(titleshot_refused_requests_total[$__rate_interval]))", "{{reason}}")],
                unit="reqps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Lost",
                "Observations that were dropped, and requests lost to a closing keep-alive connection, per second.",
                [
                    target(
                        "sum by (dropped_by) (rate(titleshot_observations_dropped_total[$__rate_interval]))",
                        "observations, by {{dropped_by}}",
                    ),
                    target("sum(rate(titleshot_lost_races_total[$__rate_interval]))", "lost races"),
                    target("sum(rate(titleshot_ledger_errors_total[$__rate_interval]))", "ledger errors"),
                    target(f"sum(rate(titleshot_unreadable_answers_total{{{M}}}[$__rate_interval]))", "answers unread"),
                ],
                unit="cps",
                least=0,
            ),
            8,
            8,
        ),
        (
            graph(
                "Proxies",
                "Linked workers, open connections, and routes that a worker has yet to take over.",
                [
                    target("titleshot_proxies_connected", "workers"),
                    target("titleshot_client_connections", "clients"),
                    target("titleshot_upstream_connections", "to model servers"),
                    target("titleshot_routes_revision - titleshot_routes_revision_in_use", "revisions behind"),
                ],
                least=0,
            ),
            8,
            8,
        ),
    ]


def skew_panels() -> list[tuple[Panel, int, int]]:
    """Traffic beside what the versions were trained on; empty where the model's settings have no `skew`."""
    broken = per_second("titleshot_contract_violations_total", "role, column, kind")
    return [
        (row("Traffic and training"), WIDTH, 1),
        (
            graph(
                "Feature drift",
                "Population stability index of the features that are farthest from their training.",
                [target(f"topk(10, titleshot_feature_psi{{{M}}})", "{{role}}: {{column}}")],
                least=0,
            ),
            9,
            8,
        ),
        (
            states(
                "Skewed features",
                "Those that exceed the PSI that matters and what chance explains, now or lately.",
                [target(f"titleshot_feature_skewed{{{M}}}", "{{role}}: {{column}}")],
            ),
            7,
            8,
        ),
        (
            graph(
                "Requests that break the signature",
                "Sampled ones per second, by column and how.",
                [target(broken, "{{role}}: {{column}} {{kind}}")],
                unit="reqps",
                least=0,
            ),
            8,
            8,
        ),
    ]


def rollout() -> dict[str, Any]:
    """The dashboard "titleshot rollout"."""
    decisions = f'sum by (kind, trigger) (changes(titleshot_decisions_total{{{M}, kind!="hold"}}[1m])) > 0'
    return {
        "uid": "titleshot-rollout",
        "title": "titleshot rollout",
        "description": "One model: its champion against its challenger, and what was decided.",
        "tags": ["titleshot"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "model",
                    "label": "Model",
                    "type": "query",
                    "datasource": DATASOURCE,
                    "definition": "label_values(titleshot_rollout_step, model)",
                    "query": {"query": "label_values(titleshot_rollout_step, model)", "refId": "model"},
                    "refresh": 2,
                    "sort": 1,
                },
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "Decisions",
                    "enable": True,
                    "datasource": DATASOURCE,
                    "iconColor": "purple",
                    "expr": decisions,
                    "step": "15s",
                    "titleFormat": "{{kind}}",
                    "textFormat": "{{trigger}}",
                }
            ]
        },
        "panels": placed(rollout_panels()),
    }


def router() -> dict[str, Any]:
    """The dashboard "titleshot router"."""
    return {
        **rollout(),
        "uid": "titleshot-router",
        "title": "titleshot router",
        "description": "What titleshot itself costs, sheds and holds.",
        "panels": placed(router_panels()),
    }


def dashboards() -> dict[str, str]:
    """File name -> the JSON as committed."""
    made = {"rollout.json": rollout(), "router.json": router()}
    return {name: json.dumps(dashboard, indent=2) + "\n" for name, dashboard in made.items()}


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
