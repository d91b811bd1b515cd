"""The guardrails as users write them, and their reading as the judge's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from comparator.policy import Guardrail, Metric
from comparator.policy_error import PolicyError
from router.settings.block import UNKNOWN_KEY, Block, Class, Number, Points, Relative, reading, wrong, wrong_at
from router.settings.problems import Path, did_you_mean
from router.settings.units import shown

LATENCY_NAME = re.compile(r"p(\d{2})(?:_(\d{1,3}))?_latency", re.ASCII)


def _parse_limits(written: object) -> tuple[float, float]:
    numbers = [each for each in written if _is_number(each)] if isinstance(written, list) else []
    if not isinstance(written, list) or len(written) != 2 or len(numbers) != 2:
        raise ValueError(f"expected [lowest, highest], such as [0, 1], not {shown(written)}")
    low, high = numbers
    return float(low), float(high)


def _is_number(written: object) -> bool:
    return isinstance(written, (int, float)) and not isinstance(written, bool)


Limits = Annotated[
    tuple[float, float],
    reading(_parse_limits),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2, "examples": [[0, 1]]}),
]
"""Two numbers, the lower first."""


class ClassGuardrail(Block):
    """A metric of classes, from labels: an absolute margin."""

    margin: Points = Field(description="How much worse than the champion's is still no harm, in percentage points.")
    offline_tolerance: Points | None = Field(
        default=None,
        description="How much worse than the offline promise the live figure may be; left out: the promise is not "
        "checked.",
    )

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(metric, self.margin, offline_tolerance=self.offline_tolerance)


class OfClassGuardrail(ClassGuardrail):
    """The same; where `predicts` is multiclass, of one class against all others, or the mean over several."""

    of: Class | None = Field(default=None, description="Of several classes the one that it is of.")
    average: Literal["macro"] | None = Field(
        default=None, description="macro: the mean of the metric over `classes`, each against all others."
    )
    classes: tuple[Class, ...] | None = Field(default=None, description="The classes of an average, at least two.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.average is not None and self.classes is None:
            raise wrong_at([(("average",), "expected classes, too: the list of those that it is the mean of")])
        if self.average is None and self.classes is not None:
            raise wrong_at([(("classes",), "expected average: macro, too")])
        return self

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(
            metric, self.margin, offline_tolerance=self.offline_tolerance, of=self.of, classes=self.classes
        )


def _tag(written: object) -> str:
    return "<several>" if isinstance(written, (list, tuple)) else "<margin>"  # a key of the one: see `load`


def _some(written: tuple[OfClassGuardrail, ...]) -> tuple[OfClassGuardrail, ...]:
    if not written:
        raise wrong("expected at least one, each of another class")
    return written


Several = Annotated[
    Annotated[OfClassGuardrail, Tag("<margin>")]
    | Annotated[
        tuple[OfClassGuardrail, ...],
        AfterValidator(_some),
        Field(json_schema_extra={"minItems": 1}),
        Tag("<several>"),
    ],
    Discriminator(_tag),
]
"""One guardrail on a metric, or a list of them, each of another class."""


class ScoreGuardrail(Block):
    """A metric of probabilities (Brier score, calibration error), from labels and scores: an absolute margin."""

    margin: Points = Field(description="How much higher than the champion's is still no harm, in percentage points.")

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(metric, self.margin)


class MaeGuardrail(Block):
    """The mean absolute error of a regression: an absolute margin in label units. Predictions are kept as numbers."""

    margin: Number = Field(description="How much larger than the champion's is still no harm, in label units.")
    range: Number = Field(description="In label units: a larger error counts as this.")

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(metric, self.margin, range=(0.0, self.range))


class RmseGuardrail(Block):
    """The root mean squared error of a regression: a relative margin. Predictions are kept as numbers."""

    margin: Relative = Field(description="How much larger than the champion's is still no harm, in percent of it.")
    range: Number = Field(description="In label units: a larger error counts as this.")

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(metric, self.margin, range=(0.0, self.range))


class RewardGuardrail(Block):
    """The mean reward, which is the label, of the action taken: judged in canary only. Labels are kept as numbers."""

    margin: Number = Field(description="How much lower than the champion's is still no harm, in label units.")
    range: Limits = Field(description="The lowest and the highest reward: what is beyond counts as that.")

    def guardrail(self, metric: Metric) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(metric, self.margin, range=self.range)


class ErrorRateGuardrail(Block):
    """The share of failed answers: an absolute margin."""

    margin: Points = Field(description="How much higher than the champion's is still no harm, in percentage points.")

    def guardrail(self) -> Guardrail:
        """The judge's. Raises PolicyError."""
        return Guardrail(Metric.ERROR_RATE, self.margin)


class LatencyGuardrail(Block):
    """A latency quantile: a margin relative to the champion's."""

    margin: Relative = Field(description="How much slower than the champion is still no harm, in percent of it.")

    def guardrail(self, name: str) -> Guardrail:
        """The judge's, by its name. Raises PolicyError."""
        return Guardrail(Metric.LATENCY, self.margin, quantile(name))


class Guardrails(Block):
    """What the challenger must hold against the champion."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=lambda schema: schema.update(
            patternProperties={f"^{LATENCY_NAME.pattern}$": schema.pop("additionalProperties")},
            additionalProperties=False,
        ),
    )
    __pydantic_extra__: dict[str, LatencyGuardrail]

    precision: Several | None = Field(
        default=None, description="Live precision, by labels; of several classes a list, one for each `of`."
    )
    recall: Several | None = Field(
        default=None, description="Live recall, by labels; of several classes a list, one for each `of`."
    )
    accuracy: ClassGuardrail | None = Field(default=None, description="Live accuracy, by labels.")
    f1: Several | None = Field(
        default=None, description="Live F1, by labels; of several classes a list, one for each `of`."
    )
    brier: ScoreGuardrail | None = Field(default=None, description="Live Brier score, by labels and scores.")
    calibration: ScoreGuardrail | None = Field(
        default=None, description="Live calibration error, by labels and scores, below 0.5 and from there on."
    )
    mae: MaeGuardrail | None = Field(default=None, description="Live mean absolute error, by labels that are numbers.")
    rmse: RmseGuardrail | None = Field(
        default=None, description="Live root mean squared error, by labels that are numbers."
    )
    reward: RewardGuardrail | None = Field(default=None, description="Live mean reward, in canary.")
    error_rate: ErrorRateGuardrail | None = Field(default=None, description="The share of errors.")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        unknown = [
            str(name)
            for name in (value if isinstance(value, dict) else ())
            if name not in cls.model_fields and LATENCY_NAME.fullmatch(str(name)) is None
        ]
        if unknown:
            known = (*cls.model_fields, "p50_latency", "p95_latency", "p99_latency")
            problems = [((name,), f"unknown guardrail{did_you_mean(name, known)}") for name in unknown]
            raise wrong_at(problems, UNKNOWN_KEY)
        return value

    @model_validator(mode="after")
    def _legal(self) -> Self:
        problems: list[tuple[Path, str]] = []
        for path, make in self._makers():
            try:
                make()
            except PolicyError as error:
                problems.append(((*path, *error.where.split(".")[1:]), error.expected))
        if problems:
            raise wrong_at(problems)
        return self

    def guardrails(self) -> tuple[Guardrail, ...]:
        """The judge's guardrails. Raises PolicyError."""
        return tuple(make() for _, make in self._makers())

    def _makers(self) -> Iterator[tuple[Path, Callable[[], Guardrail]]]:
        for metric in _LABELLED:
            written: Any = getattr(self, metric.value)
            if isinstance(written, tuple):
                yield from (((metric.value, at), partial(each.guardrail, metric)) for at, each in enumerate(written))
            elif written is not None:
                yield (metric.value,), partial(written.guardrail, metric)
        for name, latency in sorted((self.__pydantic_extra__ or {}).items()):  # one order, one digest
            yield (name,), partial(latency.guardrail, name)
        if self.error_rate is not None:
            yield ("error_rate",), self.error_rate.guardrail


_LABELLED = (
    Metric.PRECISION,
    Metric.RECALL,
    Metric.ACCURACY,
    Metric.F1,
    Metric.BRIER,
    Metric.CALIBRATION,
    Metric.MAE,
    Metric.RMSE,
    Metric.REWARD,
)


def quantile(name: str) -> float:
    """The quantile that the name of a latency guardrail says: p99_9_latency is 0.999."""
    match = LATENCY_NAME.fullmatch(name)
    if match is None:
        raise PolicyError(name, "expected the name of a latency guardrail, such as p99_latency")
    return float(f"0.{match[1]}{match[2] or ''}")
