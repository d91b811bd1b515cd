"""One check of the gate, and what all of them come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from comparator.gated import LONGEST_REASON
from comparator.guardrail import Verdict, overall


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: as in `contract.columns` or `precision.no_regression`.
        verdict: PASS, FAIL, or INCONCLUSIVE where it could not be told.
        reason: what was found, in words.
        numbers: the figures behind it.
    """

    name: str
    verdict: Verdict
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def as_data(self) -> dict[str, object]:
        """Plain data for the report: one printable line, and numbers that JSON has."""
        line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in self.reason)
        return {
            "name": self.name,
            "verdict": self.verdict.name,
            "reason": line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}...",
            "numbers": {name: value for name, value in self.numbers.items() if math.isfinite(value)},
        }


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """FAIL before INCONCLUSIVE before PASS; without any check INCONCLUSIVE."""
    return overall(check.verdict for check in checks)
