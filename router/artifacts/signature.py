"""The columns of a signature, read from a version's MLmodel file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

NUMBERS = frozenset({"double", "float", "integer", "long"})
TYPES = NUMBERS | {"boolean", "string", "datetime"}
"""MLflow's types of columns that holdout rows can be read as."""

MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a signature: MLflow's type of each, and which may not be left out."""

    types: Mapping[str, str]
    required: frozenset[str]

    @property
    def names(self) -> list[str]:
        """In order."""
        return list(self.types)


def read_mlmodel(written: bytes) -> tuple[Columns | None, str, bool]:
    """The columns of a signature, why they cannot be checked, and whether there is an input example."""
    try:
        data = yaml.safe_load(written)
        signature = data.get("signature") or {}
        inputs = json.loads(signature.get("inputs") or "null")
        example = bool((data.get("saved_input_example_info") or {}).get("serving_input_path"))
    except (yaml.YAMLError, AttributeError, ValueError, TypeError, RecursionError):
        return None, "the version's MLmodel file cannot be read", False
    if not inputs:
        return None, "the version has no signature of its inputs: `titleshot register` asks for one", example
    types: dict[str, str] = {}
    required = set()
    for each in inputs if isinstance(inputs, list) else []:
        name, kind = (each.get("name"), each.get("type")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or str(kind) not in TYPES:
            told = f"column {name!r} of type {kind!r}" if isinstance(name, str) else "inputs without names"
            return None, f"the signature has {told}; checked are named columns of {', '.join(sorted(TYPES))}", example
        types[name] = str(kind)
        if each.get("required", True):
            required.add(name)
    if not types:
        return None, "the version's signature cannot be read", example
    return Columns(types, frozenset(required)), "", example
