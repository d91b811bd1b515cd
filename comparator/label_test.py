"""Which test is behind a guardrail from labels."""

from __future__ import annotations

from comparator.calibration import CalibrationTest
from comparator.macro import MacroTest
from comparator.policy import Guardrail, Metric, Policy
from comparator.ratio import RatioTest


def label_test(policy: Policy, rail: Guardrail, versions: tuple[int, int], offline: float | None) -> RatioTest:
    """The test of a guardrail on a metric from labels; its arguments are those of `RatioTest`."""
    if rail.metric is Metric.CALIBRATION:
        return CalibrationTest(policy, rail, versions, offline)
    return (RatioTest if rail.classes is None else MacroTest)(policy, rail, versions, offline)
