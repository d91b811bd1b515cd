"""How careful a policy is beyond its evidence, as users write it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from comparator.policy_error import PolicyError
from comparator.restraint import DAYS, FreezeWindow, Restraint, Then
from router.settings.block import Block, Count, Duration, reading, written, wrong_at
from router.settings.problems import Path
from router.settings.units import parse_duration, shown

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
AtDeadline = Literal["notify", "abort"]

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def _clock(value: object) -> float:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a time of the day with two digits each, such as 08:00, not {shown(value)}")
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0


ClockTime = Annotated[
    float,
    reading(_clock),
    WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK.pattern})$", "examples": ["16:00"]}),
]


class FreezeSpan(Block):
    """A weekly span in which nothing starts, advances or is promoted by itself."""

    days: tuple[Day, ...] = Field(description="On which it begins.")
    from_: ClockTime = Field(alias="from", description="When it begins.")
    to: ClockTime = Field(description="When it ends; not after `from`: on the next day.")
    timezone: str = Field(default="UTC", description="Of the IANA database, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _legal(self) -> Self:
        try:
            self.window()
        except PolicyError as error:
            name = {"begin_seconds": "from", "end_seconds": "to"}.get(error.where, error.where)
            raise wrong_at([((name,), error.expected)]) from None
        return self

    def window(self) -> FreezeWindow:
        """As the judge reads it. Raises PolicyError."""
        return FreezeWindow(tuple(DAYS.index(day) for day in self.days), self.from_, self.to, self.timezone)


class WarmUpSettings(Block):
    """What a cold challenger answers first."""

    for_: Duration = Field(
        default=0.0,
        alias="for",
        description="Since its first answer, at least so long.",
        json_schema_extra={"default": "0s"},
    )
    answers: Count | None = Field(default=None, description="At least so many of its answers.")


class NoDataSettings(Block):
    """What is done when the challenger answers nothing."""

    after: Duration = Field(description="Without an answer for so long.")
    then: AtDeadline = Field(default="notify", description="notify: say so, once. abort: end the rollout.")


class RestraintSettings(Block):
    """What keeps a rollout from starting or going on, whatever its evidence says; harm rolls back all the same."""

    warm_up: WarmUpSettings = Field(
        default=WarmUpSettings(),
        description="Errors and latency of a cold challenger that are left out of the evidence, on both sides.",
        json_schema_extra={"default": {}},
    )
    cool_down: Duration = written("0s", parse_duration, "After a rollback no rollout starts for so long.")
    max_rollbacks_per_day: Count | None = Field(
        default=None,
        description="Once titleshot has rolled back so often within 24 hours, by itself or for an alert, no rollout "
        "starts until a person unfreezes the model. Default: no limit.",
    )
    freeze: tuple[FreezeSpan, ...] = Field(
        default=(), description="Weekly spans in which nothing starts, advances or is promoted by itself."
    )
    no_data: NoDataSettings | None = Field(
        default=None, description="What is done when the challenger answers nothing for long. Default: it waits."
    )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        problems: list[tuple[Path, str]] = []
        try:
            self.restraint()
        except PolicyError as error:
            names: dict[str, Path] = {"no_data_seconds": ("no_data", "after")}
            problems.append((names.get(error.where, (error.where,)), error.expected))
        if problems:
            raise wrong_at(problems)
        return self

    def restraint(self) -> Restraint:
        """As the judge reads it. Raises PolicyError."""
        silent: dict[str, Any] = {}
        if self.no_data is not None:
            silent = {"no_data_seconds": self.no_data.after, "no_data_then": Then(self.no_data.then)}
        return Restraint(
            warm_up_seconds=self.warm_up.for_,
            warm_up_answers=self.warm_up.answers or 0,
            cool_down_seconds=self.cool_down,
            max_rollbacks_per_day=self.max_rollbacks_per_day,
            freeze=tuple(span.window() for span in self.freeze),
            **silent,
        )
