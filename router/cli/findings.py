"""What `titleshot doctor` makes of what it saw: how bad it is, and what would mend it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CLOCK_SECONDS = 5.0
LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20


class Level(str, Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: it is.
        level: how bad it is.
        text: what was found, and what would mend it.
    """

    what: str
    level: Level
    text: str


class Holder(Enum):
    """Who answers on a port."""

    NOBODY = "nobody"
    TITLESHOT = "a titleshot"
    ANOTHER = "another program"
    UNTOLD = "somebody who asks for a client certificate"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that titleshot listens on, or would.

    Args:
        what: it is.
        address: host:port.
        problem: why it cannot be listened on now; "": it can.
        holder: who answers there.
    """

    what: str
    address: str
    problem: str
    holder: Holder


def of_ports(admin: Port, data: Port) -> list[Finding]:
    """Free, or held by a titleshot: one on the admin port says nothing of who holds the data port."""
    return [_of_port(each, running=Holder.TITLESHOT in (admin.holder, data.holder)) for each in (admin, data)]


def _of_port(port: Port, *, running: bool) -> Finding:
    if not port.problem:
        text = f"{port.address} is free" + (", although titleshot runs" if running else "")
        return Finding(port.what, Level.OK, text)
    match port.holder:
        case Holder.TITLESHOT:
            return Finding(port.what, Level.OK, f"{port.address} is held by a titleshot")
        case Holder.UNTOLD:
            text = f"{port.address} is held by {port.holder.value}: whether that is titleshot cannot be told from here"
            return Finding(port.what, Level.OK if running else Level.WARN, text)
        case Holder.ANOTHER:
            text = f"{port.address} cannot be had: {port.problem}, by another program: end it, or take another port"
            return Finding(port.what, Level.FAIL, text)
        case Holder.NOBODY:
            return Finding(port.what, Level.FAIL, f"{port.address} cannot be had: {port.problem}")


def of_state(place: Path, nearest: Path, *, writable: bool) -> Finding:
    """The state directory; `nearest` is itself, or of the directories above it the first that is there."""
    if not writable:
        return Finding("state", Level.FAIL, f"{nearest} cannot be written to: give it to the user of titleshot")
    return Finding("state", Level.OK, f"{place}{'' if nearest == place else ' will be made'}")


def of_space(what: str, place: Path, free: int) -> Finding:
    """Bytes that are free at a place."""
    told = f"{free / (1 << 30):.1f} GiB free at {place}"
    if free < NO_SPACE:
        return Finding(f"{what}: space", Level.FAIL, f"{told}: without room nothing is recorded, and nothing advances")
    return Finding(f"{what}: space", Level.WARN if free < LITTLE_SPACE else Level.OK, told)


def of_new_ledger(nearest: Path, *, writable: bool) -> Finding:
    """A ledger that is not there yet; `nearest` is where it will be, or the first directory above that is there."""
    if not writable:
        return Finding("ledger", Level.FAIL, f"{nearest} cannot be written to: give it to the user of titleshot")
    return Finding("ledger", Level.OK, "is not there yet; the first start makes it")


def of_ledger(file: Path, models: Sequence[str], problem: str, *, writable: bool) -> Finding:
    """A ledger that is there; `problem` is why it cannot be read."""
    if not writable:
        return Finding("ledger", Level.FAIL, f"{file} or its directory cannot be written to")
    if problem:
        return Finding("ledger", Level.FAIL, problem)
    return Finding("ledger", Level.OK, f"has decisions about {', '.join(models) or 'no model yet'}")


def of_clock(ahead: float) -> Finding:
    """By how many seconds ours is ahead of the registry's: labels and deadlines go by it."""
    if abs(ahead) > CLOCK_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        return Finding("clock", Level.WARN, f"{abs(ahead):.0f} s {side} the registry's: let a time service set both")
    return Finding("clock", Level.OK, "agrees with the registry's")
