"""Takes a failing challenger out within seconds; a pure state machine, by the same rule as the judge's part.

Open when at least TRIP_FAILED of the challenger's last SPAN answers failed while the champion failed at most
REFERENCE_RATIO of its own over the same span. After a wait one request probes (half-open): still failing, the
breaker stays open and is tripped, which the judge takes as a reason to roll back; else it closes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from comparator.breaker import REFERENCE_RATIO, SPAN, TRIP_FAILED


class State(str, Enum):
    """What the breaker lets through: all, none, or one probe under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Admission(Enum):
    """What the breaker says to one request for the challenger."""

    ADMIT = "admit"
    PROBE = "probe"  # its outcome decides; whoever gets this must report it
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Change:
    """The breaker changed, or a probe failed (`tripped`)."""

    state: State
    tripped: bool
    failed: int  # of the challenger's last answers
    seen: int


class Breaker:
    """The breaker between one model's traffic and its challenger, for one rollout. Times are monotonic seconds.

    Args:
        wait_seconds: from open to half-open.
    """

    __slots__ = ("_champion_failed", "_champion_seen", "_failed", "_last", "_opened_at", "_seen", "_wait", "state")

    def __init__(self, wait_seconds: float) -> None:
        self._wait = wait_seconds
        self.state = State.CLOSED
        self._last: deque[tuple[bool, int, int]] = deque(maxlen=SPAN)  # failed; the champion's totals then
        self._champion_seen = 0
        self._champion_failed = 0
        self._opened_at = 0.0
        self._failed = 0
        self._seen = 0

    def admit(self, now: float) -> tuple[Admission, Change | None]:
        """Whether a request may go to the challenger now."""
        if self.state is State.CLOSED:
            return Admission.ADMIT, None
        if self.state is State.OPEN and now - self._opened_at >= self._wait:
            return Admission.PROBE, self._change(State.HALF_OPEN)
        return Admission.REFUSE, None

    def champion(self, *, failed: bool) -> None:
        """The champion answered, or failed."""
        self._champion_seen += 1
        self._champion_failed += failed

    def challenger(self, now: float, *, failed: bool) -> Change | None:
        """The challenger answered, or failed, an ordinary request. Late answers of an open breaker say nothing new."""
        if self.state is not State.CLOSED:
            return None
        self._last.append((failed, self._champion_seen, self._champion_failed))
        if not failed:
            return None
        failures = sum(entry[0] for entry in self._last)
        if failures < TRIP_FAILED:
            return None
        _, seen_before, failed_before = self._last[0]
        if self._champion_failed - failed_before > REFERENCE_RATIO * (self._champion_seen - seen_before):
            return None
        self._opened_at = now
        self._failed, self._seen = failures, len(self._last)
        return self._change(State.OPEN)

    def probed(self, now: float, *, failed: bool | None) -> Change | None:
        """The probe's outcome; None: it says nothing about the challenger, so the next request probes."""
        if self.state is not State.HALF_OPEN:
            return None
        if failed is None:
            self._opened_at = now - self._wait
            return self._change(State.OPEN)
        if failed:
            self._opened_at = now
            return self._change(State.OPEN, tripped=True)
        self._last.clear()
        return self._change(State.CLOSED)

    def _change(self, state: State, *, tripped: bool = False) -> Change:
        self.state = state
        return Change(state, tripped, self._failed, self._seen)
