"""Takes a failing challenger out within seconds; a pure state machine, by the same rule as the judge's part.

Open when at least TRIP_FAILED of the challenger's last SPAN answers failed while the champion was not failing over the
same span. That needs no answer of the champion: while it is open, all requests are the champion's. After a wait, and
after LEAST_REFERENCE requests to the champion, PROBES requests probe (half-open): all failing while the champion was
known to be well since it opened, the breaker stays open and is tripped, which the judge takes as a reason to roll back;
one that does not fail closes it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from comparator.breaker import LEAST_REFERENCE, PROBES, SPAN, TRIP_FAILED, failing, well


class State(str, Enum):
    """What the breaker lets through: all, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Admission(Enum):
    """What the breaker says to one request for the challenger."""

    ADMIT = "admit"
    PROBE = "probe"  # its outcome counts; whoever gets this must report it
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Change:
    """The breaker changed, or its probes failed (`tripped`)."""

    state: State
    tripped: bool
    failed: int  # of the challenger's last answers
    seen: int


class Breaker:
    """The breaker between one model's traffic and its challenger, for one rollout. Times are monotonic seconds.

    Args:
        wait_seconds: from open to half-open, at least.
    """

    __slots__ = (
        "_asked",
        "_champion_before",
        "_champion_failed",
        "_champion_seen",
        "_failed",
        "_last",
        "_opened_at",
        "_probes",
        "_probes_failed",
        "_seen",
        "_wait",
        "state",
    )

    def __init__(self, wait_seconds: float) -> None:
        self._wait = wait_seconds
        self.state = State.CLOSED
        self._last: deque[tuple[bool, int, int]] = deque(maxlen=SPAN)  # failed; the champion's totals then
        self._champion_seen = 0
        self._champion_failed = 0
        self._opened_at = 0.0
        self._failed = 0
        self._seen = 0
        self._champion_before = (0, 0)  # seen and failed when it opened
        self._asked = 0  # of the champion since it opened, whatever came of it
        self._probes = 0  # still to be handed out
        self._probes_failed = 0

    def admit(self, now: float) -> tuple[Admission, Change | None]:
        """Whether a request may go to the challenger now."""
        if self.state is State.CLOSED:
            return Admission.ADMIT, None
        if self.state is State.OPEN and now - self._opened_at >= self._wait and self._asked >= LEAST_REFERENCE:
            self._probes, self._probes_failed = PROBES - 1, 0
            return Admission.PROBE, self._change(State.HALF_OPEN)
        if self.state is State.HALF_OPEN and self._probes > 0:
            self._probes -= 1
            return Admission.PROBE, None
        return Admission.REFUSE, None

    def champion(self, *, failed: bool | None) -> None:
        """The champion answered, or failed; None: that says nothing about it.

        Such ones are no evidence, but do not keep the probes waiting: clients that give up on a champion that hangs
        must not keep a challenger out that is well again.
        """
        self._asked += 1
        if failed is not None:
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
        if failing(self._champion_seen - seen_before, self._champion_failed - failed_before):
            return None
        self._failed, self._seen = failures, len(self._last)
        return self._open(now, tripped=False)

    def probed(self, now: float, *, failed: bool | None) -> Change | None:
        """A probe's outcome; None: it says nothing about the challenger, so another request probes."""
        if self.state is not State.HALF_OPEN:
            return None
        if failed is None:
            self._probes += 1
            return None
        if not failed:
            self._last.clear()
            return self._change(State.CLOSED)
        self._probes_failed += 1
        if self._probes_failed < PROBES:
            return None
        seen, lost = self._champion_before
        return self._open(now, tripped=well(self._champion_seen - seen, self._champion_failed - lost))

    def _open(self, now: float, *, tripped: bool) -> Change:
        self._champion_before, self._asked = (self._champion_seen, self._champion_failed), 0
        self._opened_at = now
        return self._change(State.OPEN, tripped=tripped)

    def _change(self, state: State, *, tripped: bool = False) -> Change:
        self.state = state
        return Change(state, tripped, self._failed, self._seen)
