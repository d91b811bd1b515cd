"""What a guardrail says: three verdicts, with the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """No evidence is never a pass: it is INCONCLUSIVE."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


PRECEDENCE: dict[tuple[bool, bool], Verdict] = {
    (True, True): Verdict.FAIL,
    (True, False): Verdict.FAIL,
    (False, True): Verdict.INCONCLUSIVE,
    (False, False): Verdict.PASS,
}
"""(harm is shown, something is missing) -> verdict. Harm outranks what is missing; what is missing outranks a pass."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with bounds that hold at all times together (a confidence sequence), and what it rests on.

    `upper` is infinite where there is no upper bound yet.
    """

    value: float
    lower: float
    upper: float
    count: int

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Estimate:
        """What `as_data` wrote."""
        return cls(data["value"], data["lower"], math.inf if data["upper"] is None else data["upper"], data["count"])

    def as_data(self) -> dict[str, object]:
        """Plain data; None: no upper bound yet."""
        return {
            "value": self.value,
            "lower": self.lower,
            "upper": self.upper if math.isfinite(self.upper) else None,
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class GuardrailReport:
    """One guardrail at one moment.

    Args:
        name: as people write it: precision, error_rate, p99_latency.
        verdict: by PRECEDENCE.
        reason: one plain sentence with the numbers.
        champion: the reference version's figure; None: nothing to tell it from yet. Latency in seconds, mae and reward
            in label units, else ratios.
        challenger: the trial version's.
        margin: as in the policy.
        harm_e: the e-value against "the trial version is no worse", over the whole rollout, mixed over restarts.
        harm_threshold: what it would need to roll back alone: (number of guardrails) / alpha.
        harm: the harm estimated, in the margin's units; None: nothing to tell it from. Latency: of this mode as a whole
            (a late harm may not show in it). Else: since the leading restart.
        proven: no harm beyond the margin is proven, in this mode.
        missing: what a pass still needs, a sentence part each.
        seconds_left: about how long that takes at the present rate; None: nothing is missing, or it cannot be told.
    """

    name: str
    verdict: Verdict
    reason: str
    champion: Estimate | None
    challenger: Estimate | None
    margin: float
    harm_e: float
    harm_threshold: float
    harm: float | None
    proven: bool
    missing: tuple[str, ...] = ()
    seconds_left: float | None = None

    def as_data(self) -> dict[str, object]:
        """Plain data: no NaN, no infinity."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "champion": self.champion.as_data() if self.champion is not None else None,
            "challenger": self.challenger.as_data() if self.challenger is not None else None,
            "margin": self.margin,
            "harm_e": self.harm_e,
            "harm_threshold": self.harm_threshold,
            "harm": self.harm,
            "proven": self.proven,
            "missing": list(self.missing),
            "seconds_left": self.seconds_left,
        }


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several: any FAIL fails, all must PASS to pass, and nothing at all is INCONCLUSIVE."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.PASS if seen == {Verdict.PASS} else Verdict.INCONCLUSIVE
