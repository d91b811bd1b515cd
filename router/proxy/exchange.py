"""The life of one client's request: assigned, sent to a model server, its answer passed on, recorded.

Nothing here waits: every method is called by a connection when something has come, and does what can be done with it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from router.link.messages import BODY_NONE, BODY_UNREAD, COPY_FIRST
from router.link.sampling import in_sample
from router.proxy import codes, mirror, refusal
from router.proxy.answer import AnswerHead, Framing, answer_head, framing_of
from router.proxy.assigned import Assigned
from router.proxy.assignment import ALL
from router.proxy.identity import client_key
from router.proxy.lanes import LaneCopies
from router.proxy.refusal import Refusal
from router.proxy.request import CHUNKED_LINE, Request, passed_on, start_line
from router.proxy.routes import Served
from router.proxy.sampler import of_request
from router.proxy.writing import LAST_CHUNK, chunk, write

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane
    from router.proxy.routes import Target
    from router.proxy.server import ClientConnection
    from router.proxy.upstream import UpstreamConnection

MOST_UNSENT_BYTES = 64 * 1024
"""Of a request's body, kept while there is no connection to send it over."""

QUEUE_SECONDS = 1.0
"""A request waits so much longer than a connect may take for one of the connections that are in use."""

LAST_BYTES = 64
"""Of an answer: enough for the last event of a stream."""

UPSTREAM = "upstream"
UNCONNECTED = "unconnected"
"""Why reading from the client is held."""

_NAN = float("nan")


class ServedExchange(Assigned[Served]):
    """One request and its answer, between a client's connection and a model server's."""

    __slots__ = (
        "_attempted_both",
        "_body",
        "_body_size",
        "_chunked_answer",
        "_client",
        "_complete_at",
        "_connection",
        "_copy",
        "_end_sent",
        "_first_byte",
        "_head_sent",
        "_held",
        "_keep",
        "_lanes",
        "_moved",
        "_over",
        "_recorded",
        "_retried",
        "_sample",
        "_unsent",
        "forwarded",
        "path",
        "request",
        "request_hi",
        "request_id",
        "request_lo",
    )

    target: Target
    path: bytes
    forwarded: bytes
    shadow_kind: ClassVar[type[mirror.ShadowExchange]] = mirror.ShadowExchange  # that of a traced request is another

    def __init__(self, plane: DataPlane, client: ClientConnection, request: Request) -> None:
        self._plane = plane
        self._client = client
        self.request = request
        self.request_hi, self.request_lo, self.request_id = plane.identities.fresh()
        self.started = self._moved = monotonic()  # when the last piece came, either way
        self._connection: UpstreamConnection | None = None
        self._role = codes.CHAMPION
        self._mode = codes.MODE_NONE
        self.flags = 0
        self._attempted_both = False
        self._probe = False
        self._recorded = False
        self._retried = False
        self._over = False
        self._head_sent = False
        self._end_sent = False
        self._keep = request.keep_alive
        self._chunked_answer = False
        self._complete_at = 0.0
        self._held = (
            0.0  # seconds with us: until it was handed over, and from the end of the answer until that was written
        )
        self._first_byte = _NAN
        self._unsent: list[bytes] = []
        self._copy: list[bytes] | None = None
        self._lanes: LaneCopies | None = None
        self._sample: list[bytes] | None = None
        self._body: list[bytes] = []
        self._body_size = 0

    # ---- called by the client's connection

    def start(self) -> None:  # noqa: C901 - on the path of every request, where a call is not free
        """The request's head is there, and maybe its body: assign it and send it on.

        Raises:
            OwnAnswer: it is answered by us.
        """
        plane, request = self._plane, self.request
        if request.refusal is not None:
            raise request.refusal
        match = plane.table.match(request.method, request.url)
        if match.in_body:
            match = plane.table.named(match, request)
        target = self.target = match.target
        self.path = match.path
        if target.request_id and (own := request.field(target.request_id)):
            self.request_hi, self.request_lo = client_key(own)
            self.request_id = own
        if target.champion is None:
            raise refusal.NO_CHAMPION
        self.served = target.champion
        if match.predicts:
            self._predict(target, match.mode, match.lanes)
        self.forwarded = self._client.forwarded.of(request)
        if request.expects_continue and not request.complete and not request.http10:
            self._client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.complete and not request.chunked:  # as most are: it goes on as it is
            now = self._complete_at = self.started
            body = self._unsent = request.chunks
            request.chunks = []
            if self._sample is not None:
                self._sampled(body, now)
            copy = self._copy is not None
            if copy and target.random_order and self.request_lo & 1:
                self.flags |= COPY_FIRST
                self._offer(body, now)
                copy = False
            self.served.endpoint.acquire(self, now)
            if copy:
                self._offer(body, now)
            if self._lanes is not None and not self._over:
                self._lanes.offer(plane, self, now, body)
            return
        self._take_chunks()
        self.served.endpoint.acquire(self, self.started)
        if request.complete and not self._over:
            self._request_complete()

    def progress(self) -> None:
        """More of the body has come, or its end."""
        request = self.request
        if request.refusal is not None:
            self._fail(request.refusal, codes.CANCELLED)
            return
        if request.chunks:
            self._moved = monotonic()
            self._take_chunks()
            if self._connection is not None:
                self._send_body(self._connection)
            elif not request.complete and sum(map(len, self._unsent)) > MOST_UNSENT_BYTES:
                self._client.hold(UNCONNECTED)
        if request.complete and not self._complete_at:
            if self._connection is not None:
                self._send_body(self._connection)
            self._request_complete()

    def client_gone(self) -> None:
        """The client has hung up: the work at the model server is cancelled."""
        self._finish(self._left_with(), monotonic())

    def client_flow(self, *, paused: bool) -> None:
        """The client reads more slowly than the model server writes, or has caught up."""
        connection = self._connection
        if connection is not None and not connection.transport.is_closing():
            if paused:
                connection.transport.pause_reading()
            else:
                connection.transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Enforce the deadlines."""
        limits = self._plane.limits
        waited, still = now - self.started, now - self._moved
        if not self.request.complete:
            # Held back by a model server that does not read, a client is not the slow one.
            if self._client.holds(UPSTREAM):
                if still >= limits.answer_idle_seconds:
                    self._fail(refusal.UPSTREAM_TIMEOUT, codes.TIMEOUT)
            elif still >= limits.client_body_seconds or waited >= limits.total_seconds:
                self._fail(refusal.SLOW_REQUEST, codes.CANCELLED)
        elif self._head_sent:
            if still < limits.answer_idle_seconds and waited < limits.total_seconds:
                return
            if self._client.paused:  # it does not read its answer: not the version's fault
                self._client.abort()
                self._finish(codes.CANCELLED, now)
            else:
                self._fail(refusal.UPSTREAM_TIMEOUT, codes.TIMEOUT)
        elif self._connection is None and waited >= limits.connect_seconds + QUEUE_SECONDS:
            self._fail(refusal.OVERLOADED, codes.TIMEOUT)  # a connect under way ends by itself, earlier
        elif self._complete_at and now - self._complete_at >= limits.first_byte_seconds:
            self._fail(refusal.UPSTREAM_TIMEOUT, codes.TIMEOUT)

    # ---- assignment

    def _predict(self, target: Target, mode: int, lanes: tuple[Target, ...]) -> None:
        self._recorded = True
        if target.samples and in_sample(self.request_hi, self.request_lo, target.samples):
            self._sample = []
        self._mode = mode
        if mode:
            self._assign(target)
        if lanes:
            self._enter_lanes(lanes)

    def _assign(self, target: Target) -> None:
        if target.rules and self._forced(self.request, self.path):
            return
        if target.splits:
            if target.assignment.to_other(self._key(self.request, self.path, self.request_id)):
                self._challenge()
        elif target.mirrors == ALL or (
            target.mirrors and target.assignment.mirrored(self._key(self.request, self.path, self.request_id))
        ):
            if self.request.length > self._plane.limits.mirror_body_bytes:
                self.shed(mirror.TOO_LARGE)
            else:
                self._copy = []
            if target.asked_twice is not None and target.asked_twice(self.request_id):
                self._mode = codes.MODE_TWICE

    def _enter_lanes(self, lanes: tuple[Target, ...]) -> None:
        chosen = self._due(lanes, self.request, self.path, self.request_id)
        if chosen:
            self._lanes = LaneCopies(chosen, too_large=self.request.length > self._plane.limits.mirror_body_bytes)

    # ---- the request, on its way

    def _take_chunks(self) -> None:
        request = self.request
        chunks = request.chunks
        if not chunks:
            return
        request.chunks = []
        if self._copy is not None:
            if request.received > self._plane.limits.mirror_body_bytes:
                self._copy = None
                self.shed(mirror.TOO_LARGE)
            else:
                self._copy += chunks
        if self._lanes is not None:
            self._lanes.keep(chunks, too_large=request.received > self._plane.limits.mirror_body_bytes)
        if self._sample is not None:
            self._sample += chunks
            if request.received > self._plane.limits.mirror_body_bytes:
                self._sample = None
                self._plane.sampler.drop(self.target.name)
        if request.chunked:
            chunks = [chunk(piece) for piece in chunks]
        if self._unsent:
            self._unsent += chunks
        else:
            self._unsent = chunks

    def _send_body(self, connection: UpstreamConnection) -> None:
        parts, self._unsent = self._unsent, []
        if self.request.complete and self.request.chunked and not self._end_sent:
            self._end_sent = True
            parts = [*parts, LAST_CHUNK]
        if parts:
            write(connection.transport, parts)

    def _request_complete(self) -> None:
        self._complete_at = now = monotonic()
        if self._sample is not None:
            self._sampled(self._sample, now)
        if self._copy is not None:
            self._offer(self._copy, now)
        if self._lanes is not None and not self._over:
            self._lanes.offer(self._plane, self, now)

    def _sampled(self, body: list[bytes], now: float) -> None:
        self._sample = None
        plane, key = self._plane, (self.request_hi, self.request_lo)
        plane.sampler.take(self.target.name, of_request(now + plane.epoch, key, self.path, self.request, body))

    def _offer(self, body: list[bytes], now: float) -> None:
        self._copy = None
        shed = mirror.offer(self._plane, self, self.target, body, now, again=self._mode == codes.MODE_TWICE)
        if shed is None:
            self._attempted_both = True
            return
        self.flags &= ~COPY_FIRST
        if shed:
            self.shed(shed)

    def copy_to(self, lane: Target, body: list[bytes], now: float) -> str | None:
        """Send a copy to a lane, or say why not; see `mirror.offer`."""
        return mirror.offer(self._plane, self, lane, body, now, again=False)

    # ---- Taker: called by the model server's connection, or its pool

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what is there."""
        self._connection = connection
        request = self.request
        if request.method == b"HEAD":
            connection.expect_no_body()
        parts = start_line(request, self.path, self.served.endpoint)
        if request.chunked:
            parts.append(CHUNKED_LINE)
        parts += passed_on(request, request.lines, self.forwarded, self.request_id)
        parts += self._unsent
        if request.chunked and request.complete:
            self._end_sent = True
            parts.append(LAST_CHUNK)
        self._unsent = []
        write(connection.transport, parts)
        self._held = monotonic() - self.started
        if not request.complete:
            self._client.unhold(UNCONNECTED)

    def unconnected(self, why: Refusal) -> None:
        """There is no connection to be had: no byte left us, so a refused one is tried once more."""
        if not self._retried and why is refusal.CONNECT_FAILED:
            self._retried = True
            self.served.endpoint.acquire(self, monotonic())
            return
        self._fail(why, codes.CONNECT)

    def received(self, connection: UpstreamConnection) -> None:  # noqa: C901, PLR0912 - where a call is not free
        """Pass on what came."""
        now = self._moved = monotonic()
        out: list[bytes]
        if self._head_sent:
            out = []
            if not self._body_size:
                self._first_byte = now - self.started  # of the body: a stream's head is sent before there is anything
        else:
            if connection.informational:
                self._pass_informational(connection)
            head = connection.head
            if head is None:
                return
            self._first_byte = now - self.started
            self._head_sent = True
            out = self._answer_head(head)
        pieces = connection.pieces
        if pieces:
            connection.pieces = []
            if self._recorded:
                for piece in pieces:
                    self._body_size += len(piece)
                    if self._body_size <= self._plane.limits.extract_bytes:
                        self._body.append(piece)
                    elif self.target.protocol.last_event is not None:  # it will not be read, but may be whole
                        self._body = [_end_of([*self._body, piece])]
            out += map(chunk, pieces) if self._chunked_answer else pieces
        complete = connection.complete
        if complete and self._chunked_answer:
            out.append(LAST_CHUNK)
        if out:
            write(self._client.transport, out)
        if complete:
            assert connection.head is not None
            self._held += monotonic() - now
            self._finish(codes.OUTCOME_OF[connection.head.status], now)

    def broken(self, connection: UpstreamConnection) -> None:
        """The model server's connection ended before the answer did."""
        if connection.reused and not connection.answered:
            self._plane.lost_races += 1
            self._fail(refusal.UPSTREAM_CLOSED, codes.LOST_RACE)
        else:
            self._fail(refusal.UPSTREAM_BROKEN, codes.BROKEN)

    def flow(self, *, paused: bool) -> None:
        """The model server is slow to take the request's body: then so are we."""
        if not self.request.complete:
            if paused:
                self._client.hold(UPSTREAM)
            else:
                self._client.unhold(UPSTREAM)

    # ---- the answer, on its way

    def _pass_informational(self, connection: UpstreamConnection) -> None:
        heads, connection.informational = connection.informational, []
        if not self.request.http10:
            write(self._client.transport, heads)

    def _answer_head(self, head: AnswerHead) -> list[bytes]:
        request = self.request
        if not request.complete or self._plane.retiring:
            self._keep = False  # the rest of the body may come, or not: no next request can be found behind it
        if head.framed and self._keep and not request.http10 and request.method != b"HEAD":  # as most are
            return [head.text, b"x-titleshot-id: ", self.request_id, b"\r\n\r\n"]
        framing = framing_of(head, request)
        if framing is Framing.CHUNKED:
            self._chunked_answer = True
        elif framing is Framing.UNTIL_CLOSE:
            self._keep = False
        return answer_head(head, request, self.request_id, framing, keep=self._keep)

    # ---- the end

    def _left_with(self) -> int:
        """The outcome for a client that has hung up: cancelled, or that of the whole answer, if it has had all of it.

        OpenAI's client hangs up when it has read a stream's last event, and the end of the answer may come later.
        """
        last, connection = self.target.protocol.last_event, self._connection
        if last is None or not self._recorded or connection is None or connection.head is None:
            return codes.CANCELLED
        whole = last.search(_end_of(self._body)) is not None
        return codes.OUTCOME_OF[connection.head.status] if whole else codes.CANCELLED

    def _fail(self, why: Refusal, outcome: int) -> None:
        """Answer with a refusal; where the answer has begun, break it off, so that it is not taken for a whole one."""
        if self._head_sent:
            self._client.abort()
            self._finish(outcome, monotonic())
            return
        request = self.request
        self._keep = self._keep and request.complete and not self._plane.retiring
        self._client.refuse(why, self.request_id, close=not self._keep, head_only=request.method == b"HEAD")
        self._finish(outcome, monotonic())

    def _finish(self, outcome: int, now: float) -> None:
        if self._over:
            return
        self._over = True
        connection = self._connection
        status, body, state = 0, b"", BODY_NONE
        if connection is None:
            self.served.endpoint.cancel(self)
        else:
            self._plane.held(self.target.name, self._held)
            head = connection.head
            if head is not None:
                status, state = head.status, BODY_UNREAD
                if (
                    outcome == codes.OK
                    and self._recorded
                    and head.body_state != BODY_UNREAD
                    and self._body_size <= self._plane.limits.extract_bytes
                ):
                    body, state = b"".join(self._body), head.body_state
            if self._client.paused and not connection.transport.is_closing():
                connection.transport.resume_reading()
            connection.done(now, reusable=outcome <= codes.SERVER_ERROR and self.request.complete)
        if self._recorded:
            plane, target, role = self._plane, self.target, self._role
            if self._mode:
                plane.judge(target, outcome, now, is_challenger=role != codes.CHAMPION, probe=self._probe)
            plane.recorder.record(
                target.name,
                now + plane.epoch,
                target.rollout_id,
                self.request_hi,
                self.request_lo,
                self.served.version,
                body,
                self._first_byte,
                now - self.started,
                self.flags,
                status,
                role,
                self._mode,
                self._attempted_both,
                outcome,
                state,
            )
            if self._lanes is not None:
                self._lanes.record(
                    plane,
                    (
                        now + plane.epoch,
                        self.request_hi,
                        self.request_lo,
                        self.served.version,
                        body,
                        self._first_byte,
                        now - self.started,
                        status,
                        outcome,
                        state,
                    ),
                )
        self._client.exchange_over(now, keep=self._keep and self.request.complete)


def _end_of(pieces: list[bytes]) -> bytes:
    """The last bytes of a body, of which no piece is empty; of a large piece no more is copied."""
    return b"".join([piece[-LAST_BYTES:] for piece in pieces[-LAST_BYTES:]])[-LAST_BYTES:]
