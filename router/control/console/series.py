"""What the charts of the console are drawn from: a few figures of each model, sampled now and then. In memory only."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLE_SECONDS = 5.0
KEPT = 720
"""An hour of samples."""


@dataclass(frozen=True, slots=True)
class Side:
    """One role at one moment; None: not known.

    Args:
        p50: seconds.
        p99: seconds.
        precision: (value, lower bound, upper bound).
    """

    p50: float | None = None
    p99: float | None = None
    precision: tuple[float | None, float | None, float | None] = (None, None, None)


@dataclass(frozen=True, slots=True)
class Sample:
    """One model at one moment.

    Args:
        at: seconds since the epoch.
        share: of the requests that the challenger answers, in percent.
        mirror: of the requests that it answers as a copy, in percent.
        champion: whose answers clients got.
        other: the version beside it.
        evidence: the e-value of harm of all guardrails; None: nothing is on trial.
        threshold: from which on it rolls back.
    """

    at: float
    share: float
    mirror: float
    champion: Side
    other: Side
    evidence: float | None = None
    threshold: float | None = None


class Series:
    """The latest samples of each model."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}

    def take(self, status: Mapping[str, Any]) -> None:
        """Take a look at everything, as `Operations.status` tells it; models that are gone are forgotten."""
        at, models = float(status["at"]), status["models"]
        for gone in self._samples.keys() - models.keys():
            del self._samples[gone]
        for name, model in models.items():
            self._samples.setdefault(name, deque(maxlen=KEPT)).append(sample(at, model))

    def of(self, model: str) -> Sequence[Sample]:
        """The oldest first."""
        return tuple(self._samples.get(model, ()))


def sample(at: float, model: Mapping[str, Any]) -> Sample:
    """What a model's status comes to."""
    traffic, roles = model.get("traffic") or {}, model.get("roles") or {}
    other: Mapping[str, Any] = next((roles[name] for name in roles if name != "champion"), {})
    evidence = (model.get("rollout") or {}).get("evidence") or {}
    return Sample(
        at,
        _number(traffic.get("share")) or 0.0,
        _number(traffic.get("mirror")) or 0.0,
        _side(roles.get("champion") or {}),
        _side(other),
        _number(evidence.get("combined_e")),
        _number(evidence.get("threshold")),
    )


def _side(role: Mapping[str, Any]) -> Side:
    precision = role.get("precision") or {}
    low, value, high = (_number(precision.get(name)) for name in ("lower", "value", "upper"))
    return Side(_number(role.get("p50_seconds")), _number(role.get("p99_seconds")), (value, low, high))


def _number(value: object) -> float | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok and isinstance(value, int | float) else None
