"""One guardrail of a policy: what it looks at, and how much worse is still no harm."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from comparator.class_code import FIRST_CODE, class_code
from comparator.policy_error import PolicyError


class Metric(str, Enum):
    """What a guardrail looks at."""

    PRECISION = "precision"
    RECALL = "recall"
    ACCURACY = "accuracy"
    F1 = "f1"
    BRIER = "brier"
    CALIBRATION = "calibration"
    MAE = "mae"
    RMSE = "rmse"
    REWARD = "reward"
    LATENCY = "latency"
    ERROR_RATE = "error_rate"


SCORE_METRICS = frozenset({Metric.BRIER, Metric.CALIBRATION})
"""Of scores between 0 and 1."""

CLASS_METRICS = frozenset({Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1}) | SCORE_METRICS
"""Predictions are classes, and so are labels: 0 or 1, unless the policy is of more classes."""

NUMBER_METRICS = frozenset({Metric.MAE, Metric.RMSE})
"""Predictions are numbers, and so are labels."""

LABEL_METRICS = CLASS_METRICS | NUMBER_METRICS | {Metric.REWARD}
"""What is told from labels."""

RANGED = NUMBER_METRICS | {Metric.REWARD}
"""Within a range, in label units."""

IN_LABEL_UNITS = frozenset({Metric.MAE, Metric.REWARD})
"""Their margins are so."""

RELATIVE = frozenset({Metric.LATENCY, Metric.RMSE})
"""Their margins are relative to the champion's figure."""

OF_A_CLASS = frozenset({Metric.PRECISION, Metric.RECALL, Metric.F1})
"""What can be told of one class of several, against all others."""

AVERAGED = frozenset({Metric.PRECISION, Metric.RECALL})
"""What can be averaged over classes (macro)."""

MOST_CLASSES = 100
LONGEST_CLASS = 256

Class = float | str
"""A class, as answers and labels say it."""


def code(of: Class) -> float:
    """A class as columns hold it."""
    return class_code(of) if isinstance(of, str) else float(of)


def said(of: Class) -> str:
    """A class as people read it."""
    return of if isinstance(of, str) else f"{of:.17g}"


def class_name(of: Class) -> str:
    """A class as part of a name: letters, digits and _; what is more than that is told apart by a digest."""
    text = said(of)
    plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:40]
    if plain == text:
        return plain
    return f"{plain}_{blake2b(text.encode(), digest_size=3).hexdigest()}".lstrip("_")


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One metric that the challenger must hold against the champion, within a margin.

    Args:
        metric: what is compared.
        margin: how much worse is still no harm. Latency and RMSE: relative to the champion's (0.10 is 10 percent). MAE
            and reward: in label units. All others: absolute, as a ratio (0.02 is 2 points).
        quantile: latency only: which quantile is held.
        offline_tolerance: metrics of classes only: how much worse than the offline promise the live figure may be;
            None: the promise is not checked.
        range: in label units. MAE and RMSE: (0, r), errors beyond r count as r. Reward: (low, high), rewards beyond
            count as low or high. No other metric has one.
        of: of several classes the one that is positive, all others are not; None: 1 is.
        classes: the mean of the metric over these (macro), each against all others; None: it is no mean.
    """

    metric: Metric
    margin: float
    quantile: float | None = None
    offline_tolerance: float | None = None
    range: tuple[float, float] | None = None
    of: Class | None = None
    classes: tuple[Class, ...] | None = None

    def __post_init__(self) -> None:
        self._check_classes()
        self._check_range()
        upper = 10.0 if self.metric in RELATIVE else self.width
        if not 0 < self.margin <= upper:
            raise PolicyError(f"{self.name}.margin", f"expected more than 0 and at most {upper:g}, not {self.margin}")
        if (self.metric is Metric.LATENCY) != (self.quantile is not None):
            raise PolicyError(f"{self.name}.quantile", "a latency guardrail names its quantile, no other has one")
        if self.quantile is not None and not 0.5 <= self.quantile <= 0.999:
            raise PolicyError(f"{self.name}.quantile", f"expected 0.5 to 0.999, not {self.quantile}")
        if self.offline_tolerance is not None:
            if self.metric not in CLASS_METRICS - {Metric.CALIBRATION}:
                raise PolicyError(f"{self.name}.offline_tolerance", f"{self.name} has no offline promise")
            if not 0 < self.offline_tolerance < 1:
                raise PolicyError(f"{self.name}.offline_tolerance", "expected more than 0 and less than 1")

    def _check_classes(self) -> None:
        if self.of is not None:
            object.__setattr__(self, "of", _as_class(self.of))  # 1 and 1.0 are one class, and one digest
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(_as_class(each) for each in self.classes))
        if self.of is not None:
            if self.metric not in OF_A_CLASS:
                raise PolicyError(f"{self.metric.value}.of", "precision, recall and f1 are of a class, no others are")
            if self.classes is not None:
                raise PolicyError(f"{self.metric.value}.of", "expected either one class or the mean over several")
            _check_class(f"{self.metric.value}.of", self.of)
        if self.classes is not None:
            where = f"{self.metric.value}.classes"
            if self.metric not in AVERAGED:
                raise PolicyError(where, "precision and recall are averaged over classes, no others are")
            if not 2 <= len(self.classes) <= MOST_CLASSES:
                raise PolicyError(where, f"expected 2 to {MOST_CLASSES} classes, not {len(self.classes)}")
            for each in self.classes:
                _check_class(where, each)
            if len({code(each) for each in self.classes}) != len(self.classes):
                raise PolicyError(where, "expected each class once")

    def _check_range(self) -> None:
        if (self.metric in RANGED) != (self.range is not None):
            raise PolicyError(f"{self.name}.range", "guardrails on mae, rmse and reward have a range, no others do")
        if self.range is None:
            return
        low, high = self.range
        if not -math.inf < low < high < math.inf:
            raise PolicyError(
                f"{self.name}.range", f"expected two finite numbers, the lower first, not {low} and {high}"
            )
        if self.metric in NUMBER_METRICS and low != 0:
            raise PolicyError(f"{self.name}.range", f"expected the range of an error to begin at 0, not at {low}")

    @property
    def width(self) -> float:
        """The whole of the range; 1 where there is none."""
        return self.range[1] - self.range[0] if self.range is not None else 1.0

    @property
    def of_classes(self) -> bool:
        """Whether it tells classes apart, of which there may be more than two."""
        return self.of is not None or self.classes is not None

    @property
    def name(self) -> str:
        """As people write it: precision, mae, error_rate, p99_latency; precision_of_cancel, precision_macro."""
        if self.metric is Metric.LATENCY:
            digits = f"{(self.quantile or 0.0) * 100:.10g}".replace(".", "_")
            return f"p{digits}_latency"
        if self.of is not None:
            return f"{self.metric.value}_of_{class_name(self.of)}"
        return f"{self.metric.value}_macro" if self.classes is not None else str(self.metric.value)


def _as_class(given: Class) -> Class:
    return given if isinstance(given, str) else float(given)


def _check_class(where: str, given: Class) -> None:
    if isinstance(given, str):
        if not 1 <= len(given) <= LONGEST_CLASS or not given.isprintable():
            raise PolicyError(where, f"expected a class of 1 to {LONGEST_CLASS} printable characters")
    elif not abs(given) < FIRST_CODE:
        raise PolicyError(where, f"expected a class that is a text or a number less than 2^52, not {given}")
