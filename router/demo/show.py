"""What a demo shows, wherever it shows it; and its lines for where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from router.demo.desk import Desk
from router.demo.telling import decision_line, needed_line, plain, role_line, shares
from router.demo.traffic import Tally

STATE_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to see at one moment.

    Args:
        act: what is played now.
        desk: titleshot's state as last read.
        tally: of the traffic.
        per_second: requests answered a second, of late.
        addresses: (what, URL).
    """

    act: str
    desk: Desk
    tally: Tally
    per_second: float
    addresses: Sequence[tuple[str, str]]


class Show(Protocol):
    """Where the demo is seen."""

    def policy(self, text: str) -> None:
        """The declared policy."""
        ...

    def progress(self, task: str, done: int, of: int, what: str) -> None:
        """So much of a task is done; `what` was the last part."""
        ...

    def say(self, line: str) -> None:
        """Something that was done now."""
        ...

    def look(self, picture: Picture) -> None:
        """A new moment."""
        ...

    def close(self) -> None:
        """Nothing more will move; a summary may be printed below."""
        ...


class Lines:
    """Plain lines, each with the seconds since the start: for logs and pipes."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._told = 0.0
        self._decisions = 0.0

    def policy(self, text: str) -> None:
        """As it is written."""
        self._print("the declared policy of this demo:")
        for line in text.splitlines():
            self._stream.write(f"    {line}\n")
        self._stream.flush()

    def progress(self, task: str, done: int, of: int, what: str) -> None:
        """A line."""
        self._print(f"{task} {done}/{of}: {what}")

    def say(self, line: str) -> None:
        """A line."""
        self._print(line)

    def look(self, picture: Picture) -> None:
        """New decisions at once, the state now and then."""
        for decision in picture.desk.decisions:
            if decision["at"] > self._decisions:
                self._decisions = decision["at"]
                self._print(f"titleshot: {decision_line(decision)}")
        now = time.monotonic()
        if now - self._told < STATE_EVERY_SECONDS:
            return
        self._told = now
        tally = picture.tally
        self._print(f"{tally.answered:,} answered, {tally.failed} failed, {picture.per_second:.0f}/s")
        told = shares(picture.desk.state.get("traffic") or {})
        for role, seen in (picture.desk.state.get("roles") or {}).items():
            self._print(f"  {role_line(plain(role), seen, told.get(role, '-'))}")
        if evidence := (picture.desk.state.get("rollout") or {}).get("evidence"):
            self._print(f"  still needed: {needed_line(evidence)}")
        if picture.desk.trouble:
            self._print(f"  {plain(picture.desk.trouble)}")

    def close(self) -> None:
        """Nothing to close."""

    def _print(self, line: str) -> None:
        self._stream.write(f"[{time.monotonic() - self._began:6.1f} s] {line}\n")
        self._stream.flush()
