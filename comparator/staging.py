"""What a staged version must show before its rollout may start: the policy's part of the gate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comparator.policy_error import PolicyError

LEAST_COUNTING = 30
"""Holdout rows that a metric has to count before anything is said of it, on either side."""

MOST_RATE = 1000.0
"""Requests/s that one sender can keep up, and time."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The requirements.

    Args:
        minimum: (metric from labels, figure that the staged server must reach on the holdout rows); of a loss the most.
        reproduce_tolerance: so much worse than the registry's offline figure the measured one may be, in the metric's
            units.
        min_rows: labelled holdout rows.
        rate: requests/s at which latency is measured, one row each.
        requests: so many of them, after the warm-up.
        p50_seconds: at that rate; None: not asked.
        p99_seconds: the same.
    """

    minimum: tuple[tuple[str, float], ...] = ()
    reproduce_tolerance: float = 0.05
    min_rows: int = 200
    rate: float = 10.0
    requests: int = 500
    p50_seconds: float | None = None
    p99_seconds: float | None = None

    def __post_init__(self) -> None:
        names = [name for name, _ in self.minimum]
        if len(set(names)) != len(names):
            raise PolicyError("minimum", "expected each metric once")
        for name, figure in self.minimum:
            if not math.isfinite(figure):
                raise PolicyError(f"minimum.{name}", f"expected a number, not {figure}")
        object.__setattr__(self, "minimum", tuple(sorted(self.minimum)))  # their order means nothing, nor in the digest
        if not 0 < self.reproduce_tolerance < math.inf:
            raise PolicyError("reproduce_tolerance", f"expected more than 0, not {self.reproduce_tolerance}")
        if self.min_rows < LEAST_COUNTING:
            raise PolicyError("min_rows", f"expected at least {LEAST_COUNTING}, not {self.min_rows}")
        if not 0 < self.rate <= MOST_RATE:
            raise PolicyError("rate", f"expected more than 0 and at most {MOST_RATE:g} requests/s, not {self.rate}")
        if not 100 <= self.requests <= 100_000:
            raise PolicyError("requests", f"expected 100 to 100000, not {self.requests}")
        for field in ("p50_seconds", "p99_seconds"):
            most = getattr(self, field)
            if most is not None and not 0 < most < math.inf:
                raise PolicyError(field, f"expected a duration of more than 0, not {most}")

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Staging:
        """What canonical JSON says of it. Raises PolicyError, TypeError, ValueError."""
        return cls(**{**data, "minimum": tuple((name, figure) for name, figure in data.get("minimum", ()))})
