"""A named figure on the command line."""

from __future__ import annotations

import math
from typing import Any

import click


class Figure(click.ParamType[tuple[str, float]]):
    """NAME=VALUE, as a pair of text and number."""

    name = "NAME=VALUE"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, float]:
        """Name and number."""
        name, _, written = str(value).partition("=")
        try:
            figure = float(written)
        except ValueError:
            figure = math.nan
        if not name or not math.isfinite(figure):
            self.fail(f"expected NAME=VALUE with a number, such as precision=0.78, not {value!r}", param, ctx)
        return name, figure
