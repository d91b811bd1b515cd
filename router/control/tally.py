"""What has been counted of one model since this process began: plain arrays, filled a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comparator.answers import Answers
from comparator.events import Columns, Mode, Outcome, Role
from router.control.exemplars import Exemplars
from router.control.metric_table import BOUNDS, JOINS, POSSIBLE
from router.link.overhead import Overhead

_ROLES, _MODES, _OUTCOMES = len(Role), len(Mode), len(Outcome)
_BUCKETS = len(BOUNDS) + 1  # the last one: longer than every bound
_BOUNDS = np.array(BOUNDS)

Name = TypeVar("Name", bound=Hashable)


class Tally:
    """Exchanges and their durations by role; decisions, shed copies and joined labels by name."""

    def __init__(self) -> None:
        self.requests = np.zeros((_ROLES, _MODES, _OUTCOMES), dtype=np.int64)
        self.durations = np.zeros((_ROLES, _BUCKETS), dtype=np.int64)
        self.duration_seconds = np.zeros(_ROLES)
        self.first_bytes = np.zeros((_ROLES, _BUCKETS), dtype=np.int64)
        self.first_byte_seconds = np.zeros(_ROLES)
        self.exemplars = Exemplars()
        self.decisions: Counter[tuple[str, str]] = Counter()  # (kind, trigger)
        self.dropped: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.joined: Counter[tuple[Role, str]] = Counter()
        self.unreadable = 0
        self.unread = 0
        self.clamped = 0
        self.registry_errors = 0
        self.overhead = Overhead.none()

    def observe(self, columns: Columns) -> None:
        """Count a batch (dtype OBSERVATION, shape (n,)): one exchange per request, told by its row 0."""
        first = columns[columns["row"] == 0]
        first = first[(first["role"] < _ROLES) & (first["mode"] < _MODES) & (first["outcome"] < _OUTCOMES)]  # or newer
        role, mode, outcome = (first[name].astype(np.intp) for name in ("role", "mode", "outcome"))
        cell = (role * _MODES + mode) * _OUTCOMES + outcome
        self.requests += np.bincount(cell, minlength=self.requests.size).reshape(self.requests.shape)
        answers = Answers.of(first)
        role, latency = answers.role[answers.told].astype(np.intp), answers.latency[answers.told]
        _count(self.durations, self.duration_seconds, role, latency)
        waited = first["first_byte"].astype(np.float64)
        good = (first["outcome"] == Outcome.OK) & np.isfinite(waited) & (waited >= 0)
        _count(self.first_bytes, self.first_byte_seconds, first["role"][good].astype(np.intp), waited[good])

    def hold(self, now: Overhead, then: Overhead | None) -> None:
        """Add what a proxy's overhead has grown by; `then` is None where it began anew."""
        before = then.counts if then is not None else [0] * len(now.counts)
        self.overhead.counts = [
            total + count - earlier
            for total, count, earlier in zip(self.overhead.counts, now.counts, before, strict=True)
        ]
        self.overhead.seconds += now.seconds - (then.seconds if then is not None else 0.0)

    def counted_requests(self) -> Iterator[tuple[Role, Mode, Outcome, int]]:
        """All that can be, and whatever else has been."""
        for role in Role:
            for mode in Mode:
                counts = self.requests[role, mode]
                if (role, mode) in POSSIBLE or counts.any():
                    for outcome in Outcome:
                        yield role, mode, outcome, int(counts[outcome])


def _count(
    buckets: NDArray[np.int64], totals: NDArray[np.float64], role: NDArray[np.intp], seconds: NDArray[np.float64]
) -> None:
    """Add times to a histogram for each role, and to their sums."""
    cell = role * _BUCKETS + np.searchsorted(_BOUNDS, seconds, side="left")
    buckets += np.bincount(cell, minlength=buckets.size).reshape(buckets.shape)
    totals += np.bincount(role, weights=seconds, minlength=_ROLES)


class Joins:
    """Turns the totals per version of a scoreboard, which a restart brings back, into counts by role since then."""

    def __init__(self) -> None:
        self._last: dict[int, dict[str, int]] = {}
        self._roles: dict[int, Role] = {}

    def take(self, totals: Mapping[int, Mapping[str, int]], roles: Mapping[int, Role]) -> Counter[tuple[Role, str]]:
        """What was joined since the last call, by the role that the version had then.

        Args:
            totals: version -> outcome (tp, fp, fn, tn) -> labels joined so far; only ever grows.
            roles: version -> the role that it holds from here on. One that holds none keeps its last.
        """
        joined: Counter[tuple[Role, str]] = Counter()
        for version, labelled in totals.items():
            role = self._roles.get(version, roles.get(version))
            last = self._last.get(version, {})
            if role is not None:
                for outcome in JOINS:
                    joined[role, outcome] += labelled[outcome] - last.get(outcome, 0)
            self._last[version] = dict(labelled)
        self._roles.update(roles)
        return joined

    def begin(self, totals: Mapping[int, Mapping[str, int]], roles: Mapping[int, Role]) -> None:
        """What is there already was counted by the process before this one."""
        self._last = {version: dict(labelled) for version, labelled in totals.items()}
        self._roles.update(roles)


def began_anew(totals: Mapping[Name, int], last: Mapping[Name, int]) -> bool:
    """Whether running totals are those of another process than the last ones were."""
    return any(totals.get(name, 0) < count for name, count in last.items())


def growth(totals: Mapping[Name, int], last: Mapping[Name, int]) -> Counter[Name]:
    """By how much running totals have grown; those of a process that began anew count as a whole."""
    anew = began_anew(totals, last)
    return Counter({name: count - (0 if anew else last.get(name, 0)) for name, count in totals.items()})
