"""What commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import math
import sys
import time

import click
from rich.console import Console

WIDTH_OFF_TERMINAL = 160

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for scripts.")


def print_json(data: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(data, indent=2))


def console() -> Console:
    """Standard output; wide where it is no terminal, so that tables stay whole."""
    stream = sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH_OFF_TERMINAL)


def plain(value: object) -> str:
    """A text of others without anything that would steer the terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(value))


def version(value: object) -> str:
    """A model version, or a dash."""
    return "-" if value is None else f"v{plain(value)}"


def seconds(value: object) -> str:
    """A latency for people."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def moment(value: object) -> str:
    """A time since the epoch as local date and time."""
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    except (OverflowError, ValueError, OSError):  # beyond what the platform's calendar has
        return "-"


def age(value: object, now: object) -> str:
    """How long ago a time was."""
    if not isinstance(value, (int, float)) or not isinstance(now, (int, float)) or value <= 0:
        return "never"
    return f"{max(0.0, now - value):.0f} s ago"
