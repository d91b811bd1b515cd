"""The lanes of a model: further challengers, which get copies of what the champion answers, each by its own routes.

A lane has its own slots, breaker and rows. The champion's row is recorded for each lane as well, with the lane's
rollout and what became of its copy: so a lane is compared as a challenger is that is there alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from router.link.messages import SHED, Lane, ModelRoutes
from router.proxy import codes, mirror
from router.proxy.assignment import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.proxy.exchange import ServedExchange
    from router.proxy.plane import DataPlane
    from router.proxy.routes import Flow, Target

L = TypeVar("L", bound="Flow[Any]")

Row: TypeAlias = tuple[float, int, int, int, bytes, float, float, int, int, int]
"""Of the champion's answer: at, request_hi, request_lo, version, body, first_byte, latency, status, outcome, state."""


def lane_routes(model: ModelRoutes, lane: Lane) -> ModelRoutes:
    """A lane's routes: a shadow beside the model's champion."""
    return msgspec.structs.replace(
        model,
        name=lane.name,
        other=lane.other,
        other_role=codes.CHALLENGER,
        mode=codes.MODE_SHADOW,
        rollout_id=lane.rollout_id,
        share=0,
        mirror=lane.mirror,
        rules=(),
        asked_twice=0,
        sample=0,
        lanes=(),
    )


def due(lanes: Iterable[L], key: bytes) -> list[L]:
    """The lanes that get a copy of a request whose assignment sticks to this key."""
    return [lane for lane in lanes if lane.mirrors == ALL or (lane.mirrors and lane.assignment.mirrored(key))]


def record(
    plane: DataPlane,
    lane: Flow[Any],
    row: Row,
    *,
    sent: bool,
) -> None:
    """The champion's row, as the lane's.

    Args:
        plane: of this worker.
        lane: whose copy of the request was sent, or shed.
        row: of its answer to this request.
        sent: the copy was sent.
    """
    at, request_hi, request_lo, version, body, first_byte, latency, status, outcome, state = row
    plane.judge(lane, outcome, at - plane.epoch, is_challenger=False, probe=False)
    plane.recorder.record(
        lane.name,
        at,
        lane.rollout_id,
        request_hi,
        request_lo,
        version,
        body,
        first_byte,
        latency,
        0 if sent else SHED,
        status,
        codes.CHAMPION,
        codes.MODE_SHADOW,
        sent,
        outcome,
        state,
    )


class LaneCopies:
    """What becomes of one HTTP request in the lanes that are due a copy of it.

    Args:
        lanes: those.
        too_large: its body is known to be too large for a copy.
    """

    __slots__ = ("_body", "_lanes", "_told", "_too_large")

    def __init__(self, lanes: list[Target], *, too_large: bool) -> None:
        self._lanes = lanes
        self._too_large = too_large
        self._body: list[bytes] = []
        self._told: list[tuple[Target, bool]] = []  # whose copy was sent, or shed, once the body was there

    def keep(self, chunks: list[bytes], *, too_large: bool) -> None:
        """More of the body has come; beyond the bound there will be no copy."""
        if too_large:
            self._too_large, self._body = True, []
        elif not self._too_large:
            self._body += chunks

    def offer(self, plane: DataPlane, served: ServedExchange, now: float, body: list[bytes] | None = None) -> None:
        """The body is there: what was kept of it, unless it is given. Send each copy, or shed it."""
        pieces = self._body if body is None else body
        for lane in self._lanes:
            shed = mirror.TOO_LARGE if self._too_large else served.copy_to(lane, pieces, now)
            if shed:
                plane.shed(lane.name, shed)
            if shed != "":  # mirroring has not just been switched off
                self._told.append((lane, shed is None))
        self._body = []

    def record(self, plane: DataPlane, row: Row) -> None:
        """The champion has answered; see `record`."""
        for lane, sent in self._told:
            record(plane, lane, row, sent=sent)
