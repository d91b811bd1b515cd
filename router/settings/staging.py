"""What the gate in staging asks for, as users write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from comparator.policy_error import PolicyError
from comparator.staging import MOST_RATE, Staging
from router.settings.block import Block, Count, Duration, Number, wrong, wrong_at
from router.settings.problems import Path
from router.settings.units import shown

_METRIC = re.compile(
    r"(precision|recall|f1)(_of_[A-Za-z0-9_]{1,60}|_macro)?|accuracy|brier|calibration|mae|rmse", re.ASCII
)


def _metric(name: str) -> str:
    if _METRIC.fullmatch(name) is None:
        raise wrong(
            f"expected the name of a metric from labels, such as precision or recall_of_cancel, not {shown(name)}"
        )
    return name


MetricName = Annotated[
    str, AfterValidator(_metric), WithJsonSchema({"type": "string", "pattern": f"^({_METRIC.pattern})$"})
]


class StagingSettings(Block):
    """What a staged version must show, beside the guardrails' margins against the champion on the same rows."""

    minimum: Annotated[
        Mapping[MetricName, Number],
        Field(json_schema_extra={"examples": [{"precision": 0.7}], "additionalProperties": False}),
    ] = Field(
        default={},
        description="Metric -> the figure that it must reach through the staged server; of a loss (brier, calibration, "
        "mae, rmse) the most.",
    )
    reproduce_tolerance: Number = Field(
        default=0.05,
        description="So much worse than the offline figure in the registry the measured one may be: 0.05 is 5 points; "
        "of mae in label units, of rmse a part of it.",
        json_schema_extra={"exclusiveMinimum": 0},
    )
    min_rows: Count = Field(
        default=200, description="Labelled holdout rows, at least 30.", json_schema_extra={"minimum": 30}
    )
    rate: Number = Field(
        default=10.0,
        description="Requests a second, of one row each, at which latency is measured.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": MOST_RATE},
    )
    requests: Count = Field(
        default=500,
        description="So many of them, after the warm-up; 100 to 100000. A p99 takes 299 at least.",
        json_schema_extra={"minimum": 100, "maximum": 100_000},
    )
    p50: Duration | None = Field(
        default=None, description="Budget of the median latency. Default: none, it is not measured."
    )
    p99: Duration | None = Field(
        default=None, description="Budget of the p99 latency. Default: none, it is not measured."
    )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        try:
            self.staging()
        except PolicyError as error:
            where: Path = tuple(error.where.removesuffix("_seconds").split("."))
            raise wrong_at([(where, error.expected)]) from None
        return self

    def staging(self) -> Staging:
        """As the gate reads it. Raises PolicyError."""
        return Staging(
            minimum=tuple(self.minimum.items()),
            reproduce_tolerance=self.reproduce_tolerance,
            min_rows=self.min_rows,
            rate=self.rate,
            requests=self.requests,
            p50_seconds=self.p50,
            p99_seconds=self.p99,
        )
