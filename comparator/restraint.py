"""What keeps a rollout from starting or going on, whatever its evidence says. Harm is never restrained."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from comparator.events import JUDGE, Decision, DecisionKind
from comparator.policy_error import PolicyError

DAY_SECONDS = 86_400.0
ALERT = "alert"
"""The trigger of a rollback that a monitoring system called for."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Then(str, Enum):
    """What is done when something does not come in time. Nothing ever passes for it."""

    NOTIFY = "notify"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """A weekly span in which nothing starts, advances or is promoted by itself.

    Args:
        days: on which it begins, 0 is Monday.
        begin_seconds: of the local day.
        end_seconds: of the local day; not after `begin_seconds`: of the next one.
        timezone: of the IANA database.
    """

    days: tuple[int, ...]
    begin_seconds: float
    end_seconds: float
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not self.days or not set(self.days) <= set(range(7)) or len(set(self.days)) != len(self.days):
            raise PolicyError("days", f"expected each day once, of {', '.join(DAYS)}")
        for name in ("begin_seconds", "end_seconds"):
            if not 0 <= getattr(self, name) < DAY_SECONDS:
                raise PolicyError(name, "expected a time of the day from 00:00 to 23:59")
        if _zone(self.timezone) is None:
            raise PolicyError("timezone", f"expected a time zone such as UTC or Europe/Berlin, not {self.timezone}")

    def until(self, at: float) -> float | None:
        """When the span that `at` (seconds since the epoch) is in ends; None: it is in none."""
        return max((end for begin, end in self.spans(at, at) if begin <= at < end), default=None)

    def spans(self, since: float, until: float) -> Iterator[tuple[float, float]]:
        """Begin and end of each span that can touch the time from `since` to `until`, in their order."""
        zone = _zone(self.timezone)
        day, last = (datetime.fromtimestamp(at, zone).date() for at in (since, until))
        whole_days = timedelta(days=1 if self.end_seconds <= self.begin_seconds else 0)
        day -= timedelta(days=1)  # one that began then may not be over
        while day <= last:
            if day.weekday() in self.days:
                begins = _moments(day, self.begin_seconds, zone)
                yield min(begins), max(_moments(day + whole_days, self.end_seconds, zone))
            day += timedelta(days=1)


def _moments(day: date, seconds: float, zone: tzinfo | None) -> tuple[float, float]:
    """That time of the day by the wall clock: two moments where the clocks are set back, or over it."""
    clock = datetime(day.year, day.month, day.day, int(seconds // 3600), int(seconds % 3600 // 60), tzinfo=zone)
    return clock.timestamp(), clock.replace(fold=1).timestamp()


def frozen_seconds(freeze: Iterable[FreezeWindow], since: float, until: float) -> float:
    """How much of the time from `since` to `until` is in freeze windows."""
    total, counted = 0.0, since
    for begin, end in sorted(span for window in freeze for span in window.spans(since, until)):
        more = min(end, until) - max(begin, counted)
        if more > 0:
            total, counted = total + more, min(end, until)
    return total


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC  # needs no database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Restraint:
    """How careful a policy is beyond its evidence.

    Args:
        warm_up_seconds: since the trial version's first answer, and
        warm_up_answers: of the trial version: errors and latency before both are over are no evidence. The breaker
            looks at them all the same.
        cool_down_seconds: after a rollback no rollout starts for so long.
        max_rollbacks_per_day: once the judge, or an alert, has rolled back so often within 24 hours, no rollout starts
            until a person says so; None: no limit.
        freeze: weekly spans in which nothing goes forward.
        no_data_seconds: without an answer of the trial version for so long,
        no_data_then: this is done; None: nothing is.
    """

    warm_up_seconds: float = 0.0
    warm_up_answers: int = 0
    cool_down_seconds: float = 0.0
    max_rollbacks_per_day: int | None = None
    freeze: tuple[FreezeWindow, ...] = ()
    no_data_seconds: float | None = None
    no_data_then: Then = Then.NOTIFY

    def __post_init__(self) -> None:
        for name in ("warm_up_seconds", "cool_down_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise PolicyError(name, f"expected a duration of 0 or more, not {getattr(self, name)}")
        if self.warm_up_answers < 0:
            raise PolicyError("warm_up_answers", f"expected 0 or more, not {self.warm_up_answers}")
        if self.max_rollbacks_per_day is not None and self.max_rollbacks_per_day < 1:
            raise PolicyError("max_rollbacks_per_day", f"expected at least 1, not {self.max_rollbacks_per_day}")
        if self.no_data_seconds is not None and not 0 < self.no_data_seconds < math.inf:
            raise PolicyError("no_data_seconds", f"expected a duration of more than 0, not {self.no_data_seconds}")

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Restraint:
        """What canonical JSON says of it. Raises PolicyError, TypeError, ValueError."""
        windows = tuple(FreezeWindow(**{**each, "days": tuple(each["days"])}) for each in data.get("freeze", ()))
        then = Then(data.get("no_data_then", Then.NOTIFY.value))
        return cls(**{**data, "freeze": windows, "no_data_then": then})

    def frozen_until(self, at: float) -> float | None:
        """When the freeze windows that `at` is in are over; None: it is in none."""
        end: float | None = None
        for _ in range(8 * len(self.freeze)):  # one window may end within another; for ever frozen, a week is said
            ends = [until for window in self.freeze if (until := window.until(at if end is None else end)) is not None]
            if not ends:
                break
            end = max(ends)
        return end


def have_passed(seconds: float, freeze: Iterable[FreezeWindow], since: float, at: float) -> bool:
    """Whether so many seconds outside of freeze windows have passed from `since` to `at`."""
    due, counted = since + seconds, since
    for begin, end in heapq.merge(*(window.spans(since, at) for window in freeze)):
        if begin >= due:
            break
        due += max(0.0, end - max(begin, counted))
        counted = max(counted, end)
    return at >= due


class Rollbacks:
    """What a model's rollbacks so far say about starting another rollout."""

    def __init__(self) -> None:
        self._last: Decision | None = None
        self._automatic: deque[float] = deque()  # of the last 24 hours, since a person let rollouts start again
        self.frozen = ""  # why no rollout starts until a person says so

    @property
    def latest_at(self) -> float:
        """When the latest was, whoever or whatever it rolled back; -infinity: there was none."""
        return self._last.at if self._last is not None else -math.inf

    def take(self, decision: Decision, most: int | None) -> None:
        """A recorded decision; `most` rollbacks a day by judge and alerts, by the policy that it was made under."""
        if decision.kind is DecisionKind.UNFREEZE:
            self._automatic.clear()
            self.frozen = ""
        if decision.kind is not DecisionKind.ROLL_BACK:
            return
        self._last = decision
        if decision.actor != JUDGE and decision.trigger != ALERT:
            return
        self._automatic.append(decision.at)
        while self._automatic[0] <= decision.at - DAY_SECONDS:
            self._automatic.popleft()
        if most is not None and len(self._automatic) >= most:
            self.frozen = (
                f"frozen: {len(self._automatic)} rollbacks within 24 hours, the last of version {decision.version}; "
                f"`titleshot unfreeze` lets rollouts start again"
            )

    def why_not(self, at: float, restraint: Restraint) -> str:
        """Why no rollout may start at `at`; the same words until they no longer hold. Empty: one may."""
        if self.frozen:
            return self.frozen
        if self._last is not None and at < (end := self._last.at + restraint.cool_down_seconds):
            return f"cooling down after the rollback of version {self._last.version}, until {utc(end)}"
        end_of_freeze = restraint.frozen_until(at)
        return "" if end_of_freeze is None else f"a freeze window, until {utc(end_of_freeze)}"


def utc(at: float) -> str:
    """Seconds since the epoch as people read them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
