"""A span of time as an option's value: 10m, 7d."""

from __future__ import annotations

import click

from router.settings.units import parse_duration


class Span(click.ParamType[float]):
    """Seconds, from a duration as settings have it."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails where it is none, or nothing."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail("expected more than nothing, such as 10m", param, ctx)
        return seconds
