import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

from router.control.metric_family import Kind
from router.control.metric_table import TABLE

GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana"


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(GRAFANA))
    return importlib.import_module("generate").dashboards()


def test_the_committed_json_is_what_the_generator_writes(made):
    committed = {path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()}
    assert committed == made, "out of date: python deploy/grafana/generate.py"


def _expressions(dashboard):
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))
    yield from (each["expr"] for each in dashboard["annotations"]["list"])


def test_expressions_ask_only_for_names_of_the_table(made):
    known = {family.name for family in TABLE}
    parts = ("bucket", "sum", "count")
    known |= {f"{family.name}_{part}" for family in TABLE if family.kind is Kind.HISTOGRAM for part in parts}
    labels = {label for family in TABLE for label in family.labels}
    for text in made.values():
        for expr in _expressions(json.loads(text)):
            names = set(re.findall(r"titleshot_\w+", expr))
            assert names, expr
            assert names <= known, expr
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr))
            assert asked <= labels, expr


def test_panels_have_their_own_ids_and_places(made):
    for text in made.values():
        dashboard = json.loads(text)
        assert dashboard["uid"]
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        taken = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


def test_data_source_and_model_are_variables(made):
    for text in made.values():
        dashboard = json.loads(text)
        assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "model"]
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                assert target["datasource"]["uid"] == "${datasource}"


def test_provisioning_files_point_at_one_another():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/titleshot.yaml").read_text())["providers"]
    scrape = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scrape
    assert provider["options"]["path"] in (GRAFANA.parent / "README.md").read_text()
