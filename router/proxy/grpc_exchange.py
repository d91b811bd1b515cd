"""One call about a model: where it is for a prediction, or a stream of them, assigned and recorded once, copied or not.

The same assignment, breaker, slots and rows as over HTTP; only what carries it differs.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc
import grpc.aio

from router.link.grpc_place import PREDICTIONS
from router.link.messages import BODY_NONE, BODY_PROTO, BODY_UNREAD, COPY_FIRST
from router.link.sampling import in_sample
from router.proxy import codes, mirror
from router.proxy.assigned import Assigned
from router.proxy.assignment import ALL
from router.proxy.breaker import Admission
from router.proxy.grpc_codes import HTTP_STATUS, outcome_of
from router.proxy.grpc_metadata import Head, Metadata, address_of, as_copy, back, onward, value_of
from router.proxy.grpc_routes import GrpcTarget, Reached
from router.proxy.identity import client_key
from router.proxy.lanes import record as record_for
from router.proxy.sampler import of_call

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane

Context: TypeAlias = grpc.aio.ServicerContext

_NAN: Final = float("nan")


class GrpcExchange(Assigned[Reached]):
    """What is known of one call. One that is traced is another (grpc_traced.py).

    Args:
        plane: of this worker.
        method: that is called; only those that predict are recorded.
        target: the model's routes, from now on this call's.
        champion: its champion.
        context: of the client's call.
        most_seconds: it may take so long, if the client's own deadline is not earlier.
        assigned: False: the champion answers it, outside the evidence.
    """

    __slots__ = (
        "_attempted_both",
        "_context",
        "_in_lanes",
        "_over",
        "_recorded",
        "deadline",
        "first_byte",
        "lanes",
        "metadata",
        "method",
        "request_hi",
        "request_id",
        "request_lo",
    )

    target: GrpcTarget

    def __init__(
        self,
        plane: DataPlane,
        method: str,
        target: GrpcTarget,
        champion: Reached,
        context: Context,
        most_seconds: float,
        *,
        assigned: bool,
    ) -> None:
        self.started = monotonic()
        self._plane = plane
        self._context = context
        self._recorded = method in PREDICTIONS
        self.method = method
        self.target = target
        self.served = champion
        self.request_hi, self.request_lo, identity = plane.identities.fresh()
        given = context.invocation_metadata() or ()
        if target.id_field and (own := value_of(given, target.id_field)):
            self.request_hi, self.request_lo = client_key(own)
            identity = own
        self.request_id = identity.decode()
        self.metadata = onward(given, self.request_id, address_of(context.peer()))
        left = context.time_remaining()
        self.deadline = self.started + (most_seconds if left is None else min(most_seconds, left))
        self.first_byte = _NAN
        self._role = codes.CHAMPION
        self._mode = target.mode if assigned else codes.MODE_NONE
        self.flags = 0
        self._attempted_both = False
        self._probe = False
        self._over = False
        self.lanes: list[GrpcTarget] = []  # those that a copy of it is due to
        self._in_lanes: list[tuple[GrpcTarget, bool]] = []  # and whether it was sent
        if self._mode:
            self._assign(Head(given), identity)
        if assigned and target.lanes:
            self.lanes = self._due(target.lanes, Head(given), b"", identity)

    @property
    def shadow_kind(self) -> type[GrpcShadow]:
        """What its copies are."""
        return GrpcShadow

    def copies(self, size: int) -> bool:
        """Whether a copy of a request of so many bytes is due; asked once."""
        target = self.target
        if self._mode in (codes.MODE_NONE, codes.MODE_FORCED) or not target.mirrors:
            return False
        head = Head(self._context.invocation_metadata() or ())
        identity = self.request_id.encode()
        if target.mirrors != ALL and not target.assignment.mirrored(self._key(head, b"", identity)):
            return False
        if target.asked_twice is not None and target.asked_twice(identity):
            self._mode = codes.MODE_TWICE
        if size > self._plane.limits.mirror_body_bytes:
            self.shed(mirror.TOO_LARGE)
            return False
        return True

    def sample(self, request: bytes) -> None:
        """Hand a copy of it to control, where it is in the sample."""
        plane, target = self._plane, self.target
        if not target.samples or not in_sample(self.request_hi, self.request_lo, target.samples):
            return
        if len(request) > plane.limits.mirror_body_bytes:
            plane.sampler.drop(target.name)
            return
        key = (self.request_hi, self.request_lo)
        plane.sampler.take(target.name, of_call(self.started + plane.epoch, key, self.method, request))

    @property
    def asked_twice(self) -> bool:
        """Whether its copy goes to the champion."""
        return self._mode == codes.MODE_TWICE

    @property
    def copy_goes_first(self) -> bool:
        """Whether the copy is sent before the client's request, where there is one."""
        return self.target.random_order and bool(self.request_lo & 1)

    def seconds_left(self) -> float:
        """Until its deadline; what the model server is told."""
        return max(self.deadline - monotonic(), 0.0)

    def handed_over(self) -> None:
        """It goes to the model server now."""
        self._plane.held(self.target.name, monotonic() - self.started)

    def copy_metadata(self) -> list[tuple[str, str | bytes]]:
        """What a copy of it is sent with, but for what no copy has."""
        return self.metadata

    def copied(self, *, first: bool) -> None:
        """The copy has been sent: both versions are asked."""
        self._attempted_both = True
        if first:
            self.flags |= COPY_FIRST

    def copied_to(self, lane: GrpcTarget, shed: str | None) -> None:
        """A lane's copy was sent, or shed: why; empty where mirroring has just been switched off."""
        if shed:
            self._plane.shed(lane.name, shed)
        if shed != "":
            self._in_lanes.append((lane, shed is None))

    def answered(self, metadata: Metadata | None) -> Metadata:
        """The model server's metadata, as the client gets it."""
        return back(metadata, self.request_id)

    def cut_off(self) -> int:
        """The outcome of a call that gRPC has cancelled: its deadline has passed, or its client is gone."""
        left = self._context.time_remaining()
        timed_out = monotonic() >= self.deadline or (left is not None and left <= 0)
        return codes.TIMEOUT if timed_out else codes.CANCELLED

    def failed(self, error: grpc.aio.AioRpcError) -> int:
        """The outcome of a call that the model server, or gRPC in its place, refused."""
        return outcome_of(error.code(), connected=connected(self.served))

    def refused(self, code: grpc.StatusCode, reason: str, latency: float | None) -> None:  # noqa: ARG002 - told by spans
        """We end it ourselves, and it says nothing about the version; `reason` is that of our refusal."""
        self.over(codes.CANCELLED, None, None, latency)

    def over(
        self, outcome: int, code: grpc.StatusCode | None, body: bytes | None, latency: float | None = None
    ) -> None:
        """It has ended, once; a prediction is recorded.

        Args:
            outcome: of proxy.codes.
            code: that the model server's side ended with; None: it has not.
            body: the whole answer, or None: there is none, or none to be read.
            latency: seconds; None: until now.
        """
        if self._over:
            return
        self._over = True
        self._finish(outcome, code, body, latency, monotonic())

    def _finish(
        self, outcome: int, code: grpc.StatusCode | None, body: bytes | None, latency: float | None, now: float
    ) -> None:
        if not self._recorded:
            return
        plane, target = self._plane, self.target
        if self._mode:
            challenging = self._role != codes.CHAMPION
            plane.judge(target, outcome, now, is_challenger=challenging, probe=self._probe)
        at, status = now + plane.epoch, _status(outcome, code)
        took = now - self.started if latency is None else latency
        kept, state = _kept(plane, outcome, code, body)
        plane.recorder.record(
            target.name,
            at,
            target.rollout_id,
            self.request_hi,
            self.request_lo,
            self.served.version,
            kept,
            self.first_byte,
            took,
            self.flags,
            status,
            self._role,
            self._mode,
            self._attempted_both,
            outcome,
            state,
        )
        if self._in_lanes:
            ids = (self.request_hi, self.request_lo, self.served.version)
            row = (at, *ids, kept, self.first_byte, took, status, outcome, state)
            for lane, sent in self._in_lanes:
                record_for(plane, lane, row, sent=sent)

    def _assign(self, head: Head, identity: bytes) -> None:
        target = self.target
        if target.rules and self._forced(head, b""):
            return
        if target.splits and target.assignment.to_other(self._key(head, b"", identity)):
            self._challenge()


class GrpcShadow:
    """One copy and its answer, which is recorded and reaches nobody. Its slot is taken when it is made."""

    __slots__ = (
        "_again",
        "_call",
        "_exchange",
        "_mode",
        "_plane",
        "_probe",
        "_role",
        "_size",
        "_started",
        "_target",
        "_to",
    )

    def __init__(
        self,
        plane: DataPlane,
        exchange: GrpcExchange,
        target: GrpcTarget,
        to: Reached,
        request: bytes,
        *,
        probe: bool,
    ) -> None:
        self._plane = plane
        self._target = target
        self._to = to
        self._again = target is exchange.target and exchange.asked_twice
        self._role, self._mode = target.other_role, target.mode
        if self._again:
            self._role, self._mode = codes.CHAMPION, codes.MODE_AGAIN
        self._exchange = exchange
        self._probe = probe
        self._size = len(request)
        self._started = monotonic()
        target.shadows.open += 1
        target.shadows.bytes += self._size
        # By the client's own deadline, too: both versions are to have the same time.
        seconds = min(plane.limits.mirror_seconds, max(exchange.deadline - self._started, 0.0))
        copied = as_copy(exchange.copy_metadata(), credentials=target.mirrors_credentials)
        self._call = to.unary(exchange.method)(request, timeout=seconds, metadata=copied)

    async def run(self) -> None:
        """Wait for its answer, and record it."""
        body: bytes | None = None
        code: grpc.StatusCode | None = None
        outcome = codes.CANCELLED  # the process ends
        try:
            body = await self._call
            code, outcome = grpc.StatusCode.OK, codes.OK
        except grpc.aio.AioRpcError as error:
            code = error.code()
            outcome = outcome_of(code, connected=connected(self._to))
            if outcome == codes.TIMEOUT:
                self._plane.shed(self._target.name, mirror.DEADLINE)
        finally:
            self._finish(outcome, code, body, monotonic())

    def _finish(self, outcome: int, code: grpc.StatusCode | None, body: bytes | None, now: float) -> None:
        plane, exchange, target = self._plane, self._exchange, self._target
        target.shadows.open -= 1
        target.shadows.bytes -= self._size
        if not self._again:
            plane.judge(target, outcome, now, is_challenger=True, probe=self._probe)
        kept, state = _kept(plane, outcome, code, body)
        took = now - self._started
        plane.recorder.record(
            target.name,
            now + plane.epoch,
            target.rollout_id,
            exchange.request_hi,
            exchange.request_lo,
            self._to.version,
            kept,
            took if body is not None else _NAN,
            took,
            exchange.flags if target is exchange.target else 0,
            _status(outcome, code),
            self._role,
            self._mode,
            True,
            outcome,
            state,
        )


def offer(plane: DataPlane, exchange: GrpcExchange, request: bytes) -> GrpcShadow | None:
    """Send the copy of a request, or shed it; `run` of what comes back awaits the answer."""
    target, again = exchange.target, exchange.asked_twice
    to = exchange.served if again else target.other
    if to is None or not target.shadows.mirroring:
        return None  # mirroring has just been switched off
    admission = mirror.admitted(plane, target, len(request), monotonic(), again=again)
    if isinstance(admission, str):
        exchange.shed(admission)
        return None
    return exchange.shadow_kind(plane, exchange, target, to, request, probe=admission is Admission.PROBE)


def offer_to_lanes(plane: DataPlane, exchange: GrpcExchange, request: bytes) -> list[GrpcShadow]:
    """Send each lane its copy of a request, or shed it, as `offer` does."""
    sent: list[GrpcShadow] = []
    for lane in exchange.lanes:
        admission: Admission | str = ""
        if len(request) > plane.limits.mirror_body_bytes:
            admission = mirror.TOO_LARGE
        elif lane.shadows.mirroring:
            admission = mirror.admitted(plane, lane, len(request), monotonic(), again=False)
        if isinstance(admission, str):
            exchange.copied_to(lane, admission)
            continue
        assert lane.other is not None  # else it is no lane of these routes
        probe = admission is Admission.PROBE
        sent.append(exchange.shadow_kind(plane, exchange, lane, lane.other, request, probe=probe))
        exchange.copied_to(lane, None)
    return sent


def connected(served: Reached) -> bool:
    """Whether there is a connection to a version's model server."""
    return served.channel.get_state() is grpc.ChannelConnectivity.READY


def _status(outcome: int, code: grpc.StatusCode | None) -> int:
    """As a row has it; 0: the model server said nothing."""
    return 0 if code is None or outcome == codes.CONNECT else HTTP_STATUS[code]


def _kept(plane: DataPlane, outcome: int, code: grpc.StatusCode | None, body: bytes | None) -> tuple[bytes, int]:
    """What is kept of an answer, and what a row says of it."""
    if outcome == codes.OK and body is not None and len(body) <= plane.limits.extract_bytes:
        return body, BODY_PROTO
    return b"", BODY_UNREAD if _status(outcome, code) else BODY_NONE
