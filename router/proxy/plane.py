"""What all connections of one worker share: the routes in force, the pools, the recorder, the counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from router.link.messages import BreakerChanged, Counters, Routes
from router.link.overhead import Overhead
from router.proxy import codes
from router.proxy.breaker import Admission, Change
from router.proxy.identity import Identities
from router.proxy.mirror import REASONS, ShadowExchange
from router.proxy.pool import Endpoints
from router.proxy.recorder import Recorder
from router.proxy.routes import Flow, Table
from router.proxy.sampler import Sampler
from router.proxy.spans import SpanQueue
from router.proxy.traced import Tracing

if TYPE_CHECKING:
    from router.proxy.server import ClientConnection


class DataPlane:
    """The state of one worker.

    Args:
        on_breaker: called when a breaker changed, or its probes failed.
    """

    def __init__(self, on_breaker: Callable[[BreakerChanged], None]) -> None:
        nothing = Routes(revision=-1, generation="")
        self.limits = nothing.limits
        self.endpoints = Endpoints(self.limits)
        self.table = Table(nothing, self.endpoints)
        self.recorder = Recorder(self.limits.record_rows)
        self.sampler = Sampler()
        self.identities = Identities()
        self.spans = SpanQueue()
        self.tracing: Tracing | None = None
        """Off unless the routes say otherwise."""
        self.clients: set[ClientConnection] = set()
        self.shadows: set[ShadowExchange] = set()
        self.lost_races = 0
        self.retiring = False
        self.cutting_off = False
        """The time is over that open calls had to end in, once retiring."""
        self.epoch = 0.0
        """Wall clock less monotonic clock, in seconds; renewed by `keep_time`."""
        self._refused: dict[str, int] = {}
        self._shed: dict[str, dict[str, int]] = {}
        self._overhead: dict[str, Overhead] = {}
        self._on_breaker = on_breaker
        self.keep_time()

    def keep_time(self) -> None:
        """Follow the wall clock: it may be set while we run."""
        self.epoch = time.time() - time.monotonic()

    def apply(self, routes: Routes) -> bool:
        """Assign by these routes from now on, unless they are not newer. Requests under way keep theirs.

        Returns:
            Whether they were applied.
        """
        if routes.generation == self.table.generation and routes.revision <= self.table.revision:
            return False
        self.limits = routes.limits
        self.endpoints.set_limits(routes.limits)
        self.recorder.most_rows = routes.limits.record_rows
        self.tracing = Tracing(routes.traced) if routes.traced is not None else None
        former = self.table
        self.table = Table(routes, self.endpoints, former)
        for name, shadows in former.shadows.items():
            if name not in self.table.shadows:
                shadows.mirroring = False
        self.endpoints.keep_only(self.table.endpoints())
        return True

    def cut_off(self) -> None:
        """What is still open is ended by us from now on."""
        self.cutting_off = True

    def count_refused(self, code: str) -> None:
        """We answered a request ourselves."""
        self._refused[code] = self._refused.get(code, 0) + 1

    def shed(self, model: str, reason: str) -> None:
        """A copy was not sent, or cut off."""
        shed = self._shed.get(model)
        if shed is None:
            shed = self._shed[model] = dict.fromkeys(REASONS, 0)
        shed[reason] += 1

    def held(self, model: str, seconds: float) -> None:
        """A request that was handed to its model server spent so long with us."""
        overhead = self._overhead.get(model)
        if overhead is None:
            overhead = self._overhead[model] = Overhead.none()
        overhead.add(seconds)

    def admit(self, target: Flow[Any], now: float) -> Admission:
        """Ask the breaker whether a request, or a copy of one, may go to the other version now."""
        admission, change = target.shadows.breaker.admit(now)
        if change is not None:
            self._breaker_changed(target, change)
        return admission

    def judge(self, target: Flow[Any], outcome: int, now: float, *, is_challenger: bool, probe: bool) -> None:
        """Tell the breaker of an outcome."""
        breaker = target.shadows.breaker
        failed = codes.FAILED[outcome]
        if probe:
            change = breaker.probed(now, failed=failed)
        elif not is_challenger:
            breaker.champion(failed=failed)
            return
        elif failed is None:
            return
        else:
            change = breaker.challenger(now, failed=failed)
        if change is not None:
            self._breaker_changed(target, change)

    def _breaker_changed(self, target: Flow[Any], change: Change) -> None:
        """Tell control. In a watch the other version is only the reference: cut off, but no reason to act."""
        self._on_breaker(
            BreakerChanged(
                model=target.name,
                rollout_id=target.rollout_id,
                state=change.state.value,
                tripped=change.tripped and target.mode != codes.MODE_WATCH,
                failed=change.failed,
                seen=change.seen,
                at=time.time(),
            )
        )

    def sweep(self, now: float) -> None:
        """Enforce every deadline; called about ten times a second with the monotonic clock."""
        for client in list(self.clients):
            client.sweep(now)
        for shadow in list(self.shadows):
            shadow.sweep(now)
        self.endpoints.sweep(now)

    def counters(self) -> Counters:
        """Running totals, and what is open now."""
        return Counters(
            refused=dict(self._refused),
            shadow_dropped={model: dict(reasons) for model, reasons in self._shed.items()},
            rows_dropped=self.recorder.dropped,
            lost_races=self.lost_races,
            client_connections=len(self.clients),
            upstream_connections=self.endpoints.connections,
            revision=self.table.revision,
            overhead={model: overhead.copy() for model, overhead in self._overhead.items()},
        )
