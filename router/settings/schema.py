"""The JSON Schema of titleshot.yaml, for editors and for other people's checks."""

from __future__ import annotations

import json
from typing import Any

from router.settings.settings import Settings


def json_schema() -> dict[str, Any]:
    """The schema of what users write (draft 2020-12)."""
    schema = Settings.model_json_schema(by_alias=True, mode="validation")
    cleaned: dict[str, Any] = _without_noise(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "titleshot.yaml",
        **{key: value for key, value in cleaned.items() if key != "title"},
    }


def json_schema_text() -> str:
    """The same as the published file's text."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


def _without_noise(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """As users write it: no null (a key is left out instead), no titles that repeat keys, no keys of other patterns."""
    if isinstance(schema, list):
        return [_without_noise(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    match schema.get("anyOf"):
        case [dict() as only, {"type": "null"}]:
            rest = {key: value for key, value in schema.items() if key != "anyOf"}
            return _without_noise({**only, **rest})
    if "patternProperties" in schema:
        schema = {"additionalProperties": False, **schema}
    return {
        key: {name: _without_noise(field) for name, field in value.items()}
        if key in ("properties", "patternProperties", "$defs")
        else _without_noise(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
