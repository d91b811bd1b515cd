"""A model's skew as samples on the metrics page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.control import metric_skew as names
from router.control.metric_page import Page


def show_skew(page: Page, model: str, skew: Mapping[str, Any]) -> None:
    """What `SkewWatch.status` says."""
    for result, count in skew["requests"].items():
        page.add(names.SKEW_REQUESTS, count, model, result)
    for each in skew["answers"]:
        page.add(names.ANSWERS_DIFFER, each["answers"], model, each["role"], each["difference"])
    for role, found in skew["roles"].items():
        page.add(names.SKEW_ROWS, found["rows"], model, role)
        for each in found["contract"]:
            page.add(names.CONTRACT, each["requests"], model, role, each["column"], each["break"])
        for each in found["features"]:
            page.add(names.FEATURE_PSI, each["psi"], model, role, each["name"])
            page.add(names.FEATURE_SKEWED, each["skewed"] is True, model, role, each["name"])
        if any(each["skewed"] is not None for each in found["features"]):
            page.add(names.SKEWED_FEATURES, found["skewed"], model, role)
