"""Bounded shadow exchanges: a copy takes a slot or is shed and counted; nobody ever waits for one."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from router.link.messages import BODY_NONE, BODY_UNREAD, Limits, ModelRoutes
from router.proxy import codes
from router.proxy.breaker import Admission, Breaker
from router.proxy.request import SHADOW_LINE, passed_on, start_line, without_secrets
from router.proxy.writing import write

if TYPE_CHECKING:
    from router.proxy.exchange import ServedExchange
    from router.proxy.plane import DataPlane
    from router.proxy.refusal import Refusal
    from router.proxy.routes import Flow, Served, Target
    from router.proxy.upstream import UpstreamConnection

FULL = "full"
BREAKER_OPEN = "breaker_open"
TOO_LARGE = "too_large"
STREAM = "stream"
DEADLINE = "deadline"
"""Why a copy was shed: before it was sent; or (deadline) cut off while its answer was awaited: its row says TIMEOUT."""

REASONS = (FULL, BREAKER_OPEN, TOO_LARGE, STREAM, DEADLINE)


class Shadows:
    """The slots and the breaker of one model's rollout, or a lane's; they outlive snapshots of the routes."""

    __slots__ = ("_subject", "breaker", "bytes", "mirroring", "most_bytes", "open")

    def __init__(self, routes: ModelRoutes, limits: Limits) -> None:
        self._subject = (routes.rollout_id, routes.other)
        self.breaker = Breaker(limits.breaker_wait_seconds)
        self.open = 0
        self.bytes = 0  # of the bodies of those that are open
        self.mirroring = routes.mirror > 0
        self.most_bytes = limits.mirror_bytes

    @staticmethod
    def following(before: Shadows | None, routes: ModelRoutes, limits: Limits, sharers: int = 1) -> Shadows:
        """Those of the snapshot before where the same version is on the same trial, else new ones.

        `sharers` of the bound on bytes are the model and its lanes.
        """
        shadows = Shadows._same(before, routes) or Shadows(routes, limits)
        shadows.most_bytes = limits.mirror_bytes // sharers
        return shadows

    @staticmethod
    def _same(before: Shadows | None, routes: ModelRoutes) -> Shadows | None:
        if before is None:
            return None
        same = before._subject == (routes.rollout_id, routes.other)  # noqa: SLF001 - of the same class
        before.mirroring = same and routes.mirror > 0
        return before if same else None


def admitted(plane: DataPlane, target: Flow[Any], size: int, now: float, *, again: bool) -> Admission | str:
    """Whether a copy of so many bytes may be sent now, as what the breaker takes it; else the reason it is shed.

    One that goes to the champion (`again`) is none of the breaker's.
    """
    shadows, limits = target.shadows, plane.limits
    if shadows.open >= limits.mirror_slots or shadows.bytes + size > shadows.most_bytes:
        return FULL
    if again:
        return Admission.ADMIT
    admission = plane.admit(target, now)
    return BREAKER_OPEN if admission is Admission.REFUSE else admission


def offer(
    plane: DataPlane, served: ServedExchange, target: Target, body: list[bytes], now: float, *, again: bool
) -> str | None:
    """Send the copy of a request whose body is there, by the model's own routes or a lane's; `again`: to the champion.

    Returns:
        None: it was sent; only then were both versions asked. Else the reason it was shed, empty where mirroring has
        just been switched off.
    """
    request = served.request
    shadows, other = target.shadows, target.champion if again else target.other
    if other is None or not shadows.mirroring:
        return ""
    size = request.received
    admission = FULL if other.endpoint.busy else admitted(plane, target, size, now, again=again)
    if isinstance(admission, str):
        return admission
    message = [*start_line(request, served.path, other.endpoint), SHADOW_LINE]
    if request.chunked:
        message.append(b"content-length: %d\r\n" % size)
    lines = request.lines if target.mirrors_credentials else without_secrets(request)
    message += passed_on(request, lines, served.forwarded, served.request_id)
    message += body
    shadow = served.shadow_kind(plane, served, target, other, message, now, probe=admission is Admission.PROBE)
    shadows.open += 1
    shadows.bytes += size
    plane.shadows.add(shadow)
    other.endpoint.acquire(shadow, now)
    return None


class ShadowExchange:
    """One copy and its answer, which is recorded and reaches nobody."""

    __slots__ = (
        "_body",
        "_connection",
        "_deadline",
        "_first_byte",
        "_flags",
        "_kept",
        "_message",
        "_mode",
        "_over",
        "_plane",
        "_probe",
        "_request_hi",
        "_request_lo",
        "_role",
        "_sent",
        "_size",
        "_started",
        "_target",
        "_to",
    )

    def __init__(
        self,
        plane: DataPlane,
        served: ServedExchange,
        target: Target,
        to: Served,
        message: list[bytes],
        now: float,
        *,
        probe: bool,
    ) -> None:
        self._plane = plane
        self._target = target
        self._to = to
        self._role, self._mode = target.other_role, target.mode
        if to is target.champion:
            self._role, self._mode = codes.CHAMPION, codes.MODE_AGAIN
        self._request_hi = served.request_hi
        self._request_lo = served.request_lo
        self._message = message
        self._sent = served.request.received
        self._probe = probe
        self._flags = (
            served.flags if target is served.target else 0
        )  # which of a pair goes first is told of the model's
        self._started = now
        self._deadline = now + plane.limits.mirror_seconds
        self._first_byte = float("nan")
        self._connection: UpstreamConnection | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._kept = True
        self._over = False

    # ---- Taker

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the copy."""
        self._connection = connection
        write(connection.transport, self._message)
        self._message = []

    def unconnected(self, why: Refusal) -> None:  # noqa: ARG002 - an interface
        """The challenger cannot be reached."""
        self._finish(codes.CONNECT, monotonic())

    def received(self, connection: UpstreamConnection) -> None:
        """Take what came; more than `extract_bytes` of a body is read, not kept."""
        now = monotonic()
        if not self._size and connection.head is not None:
            self._first_byte = now - self._started
        for piece in connection.pieces:
            self._size += len(piece)
            if self._size <= self._plane.limits.extract_bytes:
                self._body.append(piece)
        connection.pieces.clear()
        if connection.complete:
            self._finish(_outcome(connection), now)
        elif self._size > self._plane.limits.max_body_bytes:
            self._kept = False
            self._finish(_outcome(connection), now)

    def broken(self, connection: UpstreamConnection) -> None:
        """No whole answer."""
        lost_race = connection.reused and not connection.answered
        self._finish(codes.LOST_RACE if lost_race else codes.BROKEN, monotonic())

    def flow(self, *, paused: bool) -> None:
        """The copy is in memory anyway."""

    # ---- the sweeper

    def sweep(self, now: float) -> None:
        """Cut it off at its deadline."""
        if now >= self._deadline and not self._over:
            self._plane.shed(self._target.name, DEADLINE)
            self._finish(codes.TIMEOUT, now)

    def abandon(self) -> None:
        """The process ends."""
        if not self._over:
            self._finish(codes.CANCELLED, monotonic())

    def _finish(self, outcome: int, now: float) -> None:
        self._over = True
        plane, target, connection, to = self._plane, self._target, self._connection, self._to
        plane.shadows.discard(self)
        target.shadows.open -= 1
        target.shadows.bytes -= self._sent
        status, body, state = 0, b"", BODY_NONE
        if connection is None:
            to.endpoint.cancel(self)
        else:
            head = connection.head
            if head is not None:
                status, state = head.status, BODY_UNREAD
                if (
                    outcome == codes.OK
                    and self._kept
                    and head.body_state != BODY_UNREAD
                    and self._size <= plane.limits.extract_bytes
                ):
                    body, state = b"".join(self._body), head.body_state
            connection.done(now, reusable=outcome <= codes.SERVER_ERROR)
        if self._mode != codes.MODE_AGAIN:
            plane.judge(target, outcome, now, is_challenger=True, probe=self._probe)
        plane.recorder.record(
            target.name,
            now + plane.epoch,
            target.rollout_id,
            self._request_hi,
            self._request_lo,
            to.version,
            body,
            self._first_byte,
            now - self._started,
            self._flags,
            status,
            self._role,
            self._mode,
            True,
            outcome,
            state,
        )


def _outcome(connection: UpstreamConnection) -> int:
    """Of an answer whose head is there."""
    assert connection.head is not None
    return codes.OUTCOME_OF[connection.head.status]
