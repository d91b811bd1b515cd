"""The judge's part of the circuit breaker: a challenger that fails most of its answers is not left to the statistics.

The rule is one, for the proxy (`router.proxy.breaker`, which takes the traffic away at once, each worker by what it
sees) and for the judge (which sees all workers): at least TRIP_FAILED of the trial version's last SPAN answers failed
while the reference was not failing over the same span, and the breaker opens. When WAIT_SECONDS have passed and the
reference has given LEAST_REFERENCE answers since, the next PROBES answers are the probes: all failed while the
reference was well since, the breaker has tripped; one that did not fail closes it. (Nygard 2007, "Release It!": closed,
open, half-open.) One probe would roll back a version whose bad times are the champion's, too: a third of the answers
failing for 20 seconds, now and then.

Opening needs no answer of the reference: it is soon undone, and while the proxy's part is open the reference has all of
the traffic. Tripping is a rollback, and no evidence is never a pass, not for the reference either: while it has not
answered, nobody knows whether the failures are of an outage of both. So the probes wait for its answers; made before,
they would be made again and again, each at a client's cost.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

SPAN = 20
TRIP_FAILED = 10
REFERENCE_RATIO = 0.1
LEAST_REFERENCE = 5
WAIT_SECONDS = 15.0
PROBES = 4


def failing(seen: int, failed: int) -> bool:
    """Whether the reference fails, too, of so many answers: the other's failures may not be its own. Of none: no."""
    return failed > REFERENCE_RATIO * seen


def well(seen: int, failed: int) -> bool:
    """Whether the reference is known to be well, of so many answers: the other's failures are its own. Of few: no."""
    return seen >= LEAST_REFERENCE and not failing(seen, failed)


class Breaker:
    """Takes both versions' answers in order of arrival; `tripped` is the rollback's reason, once there is one."""

    def __init__(self) -> None:
        self._last: deque[tuple[bool, int, int]] = deque(maxlen=SPAN)  # failed; the reference's seen and failed by then
        self._seen = self._failed = 0  # of the reference
        self._opened_at: float | None = None
        self._before = (0, 0)  # the reference's seen and failed when it opened
        self._probes_failed = 0
        self._told = ""
        self.tripped: str | None = None

    @property
    def open(self) -> bool:
        """Whether it waits, or probes."""
        return self._opened_at is not None

    def enter(self) -> None:
        """Traffic is shared in another way from here on."""
        self._last.clear()
        self._opened_at = None

    def take(
        self,
        at: NDArray[np.float64],
        asked: NDArray[np.float64],
        trial: NDArray[np.bool_],
        failed: NDArray[np.bool_],
    ) -> None:
        """Take answers: when each came, when it was asked, whose it is, and whether it failed (not by the client).

        While the breaker is closed and no span of the batch has enough failures, it costs one pass of numpy.
        """
        seen = self._seen + np.cumsum(~trial)
        lost = self._failed + np.cumsum(~trial & failed)
        mine = np.flatnonzero(trial)
        if self.tripped is None:
            self._walk(at[mine], asked[mine], failed[mine], seen[mine], lost[mine])
        if trial.size:
            self._seen, self._failed = int(seen[-1]), int(lost[-1])

    def _walk(
        self,
        at: NDArray[np.float64],
        asked: NDArray[np.float64],
        failed: NDArray[np.bool_],
        seen: NDArray[np.int64],
        lost: NDArray[np.int64],
    ) -> None:
        start = 0
        if self._opened_at is None:
            before = np.array([entry[0] for entry in self._last], dtype=np.int64)
            running = np.cumsum(np.concatenate([np.zeros(SPAN, dtype=np.int64), before, failed]))
            if np.max(running[SPAN:] - running[:-SPAN], initial=0) < TRIP_FAILED:
                start = max(failed.size - SPAN, 0)  # nothing can trip: only the last ones are remembered
        for i in range(start, failed.size):
            if self._opened_at is not None:
                answered = int(seen[i]) - self._before[0] >= LEAST_REFERENCE
                if answered and asked[i] >= self._opened_at + WAIT_SECONDS:
                    self._probed(float(at[i]), int(seen[i]), int(lost[i]), failed=bool(failed[i]))
                if self.tripped is not None:
                    return
                continue
            self._last.append((bool(failed[i]), int(seen[i]), int(lost[i])))
            if failed[i] and self._opens():
                self._opened_at, self._probes_failed = float(at[i]), 0
                self._before = (int(seen[i]), int(lost[i]))

    def _probed(self, at: float, seen: int, lost: int, *, failed: bool) -> None:
        if not failed:
            self.enter()
            return
        self._probes_failed += 1
        if self._probes_failed < PROBES:
            return
        if well(seen - self._before[0], lost - self._before[1]):
            self.tripped = self._told
        else:  # it may be an outage of both: another wait
            self._opened_at, self._probes_failed, self._before = at, 0, (seen, lost)

    def _opens(self) -> bool:
        count = sum(entry[0] for entry in self._last)
        if count < TRIP_FAILED:
            return False
        _, seen, lost = self._last[0]
        if failing(self._last[-1][1] - seen, self._last[-1][2] - lost):
            return False
        self._told = (
            f"circuit breaker: {count} of its last {len(self._last)} answers failed, "
            f"and so did {PROBES} probes at least {WAIT_SECONDS:g} s later"
        )
        return True
