"""What is done when what a rollout waits for does not come: deadlines of steps, and silence. Never a pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from comparator.restraint import FreezeWindow, Then, frozen_seconds, have_passed

DEADLINE = "deadline"
NO_DATA = "no_data"
TRIGGERS = (DEADLINE, NO_DATA)


@dataclass(frozen=True, slots=True)
class Overdue:
    """What did not come in time, since when, and what is done about it."""

    trigger: str
    since: float  # seconds since the epoch: what is done is done once for it
    reason: str
    then: Then


class Stopwatch:
    """How long a step, or the sign-off after it, has lasted; pauses and freeze windows are left out."""

    def __init__(self) -> None:
        self.began_at = 0.0
        self._lasted = 0.0  # seconds, up to the last pause
        self._since: float | None = None  # it has run since then; None: it stands still
        self._freeze: tuple[FreezeWindow, ...] = ()

    def begin(self, at: float, freeze: tuple[FreezeWindow, ...], *, paused: bool) -> None:
        """Something else begins, perhaps within a pause."""
        self.began_at, self._lasted, self._freeze = at, 0.0, freeze
        self._since = None if paused else at

    def toggle(self, at: float, *, paused: bool) -> None:
        """A pause begins or ends."""
        if self._since is not None:
            self._lasted += max(0.0, at - self._since - frozen_seconds(self._freeze, self._since, at))
        self._since = None if paused else at

    def reached(self, at: float, seconds: float) -> bool:
        """Whether it has lasted so long."""
        if self._since is None:
            return self._lasted >= seconds
        return have_passed(seconds - self._lasted, self._freeze, self._since, at)


class Patience:
    """What is overdue and has not been told yet."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # by trigger: the `since` that was told last

    def tell(self, trigger: str, at: float) -> None:
        """A recorded notice of `at`."""
        self._told[trigger] = at

    def first(self, *found: Overdue | None) -> Overdue | None:
        """The first of those that are there and have not been told since they began."""
        return next(
            (each for each in found if each is not None and self._told.get(each.trigger, -1) < each.since), None
        )


def deadline(at: float, lasts: Stopwatch, within_seconds: float | None, then: Then, what: str) -> Overdue | None:
    """A step, or the sign-off after it, that has lasted its most; None: not yet, or it has none."""
    if within_seconds is None or not lasts.reached(at, within_seconds):
        return None
    return Overdue(
        DEADLINE, lasts.began_at, f"{what} has lasted {_long(within_seconds)}, the most that the policy gives it", then
    )


def silence(at: float, since: float, most_seconds: float | None, then: Then) -> Overdue | None:
    """No answer of the trial version since `since`; None: not for too long."""
    if most_seconds is None or at - since < most_seconds:
        return None
    return Overdue(NO_DATA, since, f"the challenger has answered nothing for {_long(most_seconds)}", then)


def _long(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and math.isclose(seconds / size, round(seconds / size, 2)):
            return f"{round(seconds / size, 2):g} {unit}"
    return f"{seconds:g} s"
