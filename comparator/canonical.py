"""The text of a policy that its digest is of: canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comparator.outside import as_canonical

_LATER: Mapping[str, object] = {
    "split_alpha": 0.001,
    "incident_buckets": 4,
    "label_grace_seconds": 0.0,
    "restraint": {},
    "outside": {},
    "staging": {},
    "multiclass": False,
}
_LATER_OF_GUARDRAIL: Mapping[str, object] = {"range": None, "of": None, "classes": None}
_LATER_OF_STEP: Mapping[str, object] = {"within_seconds": None, "at_deadline": "notify"}
_RESTRAINT: Mapping[str, object] = {
    "warm_up_seconds": 0.0,
    "warm_up_answers": 0,
    "cool_down_seconds": 0.0,
    "max_rollbacks_per_day": None,
    "freeze": (),
    "no_data_seconds": None,
    "no_data_then": "notify",
}
_STAGING: Mapping[str, object] = {
    "minimum": (),
    "reproduce_tolerance": 0.05,
    "min_rows": 200,
    "rate": 10.0,
    "requests": 500,
    "p50_seconds": None,
    "p99_seconds": None,
}


def canonical_text(policy: Mapping[str, Any]) -> str:
    """Canonical JSON of a policy's fields: sorted keys, no spaces, defaults filled in but for fields that came later.

    Those are left out where they say what was true before there was the field, so that the text and the digest of an
    earlier policy stay as they were.
    """
    parts = {
        "restraint": _earlier(policy["restraint"], _RESTRAINT),
        "staging": _earlier(policy["staging"], _STAGING),
        "outside": as_canonical(policy["outside"], _earlier),
    }
    data = _earlier({**policy, **parts}, _LATER)
    data["steps"] = [_earlier(step, _LATER_OF_STEP) for step in policy["steps"]]
    data["guardrails"] = [_earlier(rail, _LATER_OF_GUARDRAIL) for rail in policy["guardrails"]]
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def read_canonical(text: str) -> dict[str, Any]:
    """The fields again, pairs as tuples; what was left out is left out. ValueError or TypeError: it is not one."""
    data: dict[str, Any] = json.loads(text)
    for rail in data["guardrails"]:
        for name in ("range", "classes"):
            if rail.get(name) is not None:
                rail[name] = tuple(rail[name])
    return data


def _earlier(data: Mapping[str, Any], later: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in later or value != later[name]}
