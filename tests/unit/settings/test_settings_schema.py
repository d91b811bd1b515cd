import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from router.settings import SettingsError, load_settings
from router.settings.schema import json_schema, json_schema_text

ROOT = Path(__file__).parents[3]


def check(text):
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(json.dumps(yaml.safe_load(text))))


def test_the_published_schema_is_the_one_that_the_settings_make():
    published = ROOT / "docs" / "titleshot.schema.json"
    assert published.read_text() == json_schema_text(), "titleshot config schema > docs/titleshot.schema.json"


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_example_is_valid_by_the_schema():
    check((ROOT / "deploy" / "titleshot.example.yaml").read_text())


def test_every_option_is_in_the_documentation():
    documentation = (ROOT / "docs" / "configuration.md").read_text()
    options = {
        name for block in (json_schema(), *json_schema()["$defs"].values()) for name in block.get("properties", {})
    }
    assert {name for name in options if f"`{name}`" not in documentation} == set()


def test_the_documentation_names_the_default_of_every_option():
    documentation = (ROOT / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", documentation, re.MULTILINE))
    blocks = [
        json_schema(),
        *(json_schema()["$defs"][name] for name in ("ModelSettings", "StagingSettings", "Judge", "LimitsSettings")),
    ]
    for block in blocks:
        for name, field in block["properties"].items():
            if (default := field.get("default")) not in (None, {}, []):
                written = f"{default:g}" if isinstance(default, float) else str(default)
                if isinstance(default, bool):
                    written = written.lower()
                assert rows[name].strip().strip("`") == written, name


def test_every_option_says_what_it_is_for():
    blocks = (json_schema(), *json_schema()["$defs"].values())
    assert [name for block in blocks for name, field in block["properties"].items() if "description" not in field] == []


HEAD = "registry: r\nmodels:\n  m:\n    endpoint: http://m-v{version}:1\n"


@pytest.mark.parametrize(
    "wrong",
    [
        "models: {}",
        HEAD + "    unknown: 1",
        HEAD + "    rollout: [{shadow: 100, for: 10}]",
        HEAD + "    rollout: [{shadow: 100, canary: 10}]",
        HEAD + "    rollout: [{canary: 100}]",
        HEAD + "    rollout: [{canary: '10%'}]",
        HEAD + "    guardrails: {p99_latency: {margin: 2 points}}",
        HEAD + "    guardrails: {precision: {margin: 10%}}",
        HEAD + "    guardrails: {auc: {margin: 2 points}}",
        HEAD + "    guardrails: {precision: null}",
        HEAD + "    endpoints: {one: http://m:1}",
        HEAD + "    alpha: 0",
        HEAD + "    assign_by: x-user-id",
        HEAD + "workers: 0",
        HEAD + "limits: {max_body: 10MB}",
        HEAD + "poll: 1",
    ],
)
def test_what_the_schema_refuses_the_settings_refuse(tmp_path, wrong):
    with pytest.raises(jsonschema.ValidationError):
        check(wrong)
    path = tmp_path / "titleshot.yaml"
    path.write_text(wrong)
    with pytest.raises(SettingsError):
        load_settings(path)
