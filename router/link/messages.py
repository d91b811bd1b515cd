"""The messages: recorded exchanges, counters and breaker states up; routes and commands down.

Frame: a 4-byte big-endian length, then that many bytes of MessagePack, a map with its type under "t". Recorded
exchanges travel as packed rows (EXCHANGE_ROW), which the control process reads as columns without copying.
"""

from __future__ import annotations

import struct

import msgspec

from router.link.endpoint import Tls
from router.link.overhead import Overhead

EXCHANGE_ROW = struct.Struct("<dQQQIIffIHBBBBBx")
"""One exchange with a model server: at, rollout_id, request_hi, request_lo, version, body_length, first_byte, latency,
flags (SHED, COPY_FIRST), status, role, mode, attempted_both, outcome, body_state. `body_length` bytes of the answer's
body follow in `Exchanges.bodies`, in the order of the rows. Codes are those of comparator.events (Role, Mode, Outcome).
"""

SHED = 1  # flag of a champion's row: it was to be mirrored, but the copy was shed
COPY_FIRST = 2  # flag of both rows of a pair: the copy was sent before the client's request

BODY_WHOLE = 0  # the whole body is there
BODY_UNREAD = 1  # longer than `extract_bytes`, or a coding we do not read: not kept
BODY_NONE = 2  # there was no answer
BODY_GZIP = 3  # the whole body is there, gzipped
BODY_DEFLATE = 4  # the whole body is there, deflated
BODY_PROTO = 5  # the whole body is there: a ModelInferResponse in protobuf, not what the model's protocol says in HTTP

GRPC_CONTENT = b"application/grpc"
"""The content type of a call (gRPC over HTTP/2, "Requests")."""

MAX_FRAME = 64 * 1024 * 1024

_NAN = float("nan")


class Backend(msgspec.Struct, frozen=True):
    """One version's model server."""

    version: int
    endpoint: str  # as router.link.endpoint.place_of reads it; "": it is served by gRPC only
    tls: Tls = Tls()
    grpc: str = ""  # as router.link.grpc_place.grpc_place reads it; "": none


class Rule(msgspec.Struct, frozen=True):
    """Requests with such a value are forced to a role, and kept out of the trial. The first rule that fits holds."""

    source: str  # where the value stands: header:NAME, query:NAME, cookie:NAME, path, path:N
    role: int  # comparator.events.Role: CHAMPION or CHALLENGER
    values: tuple[str, ...] = ()  # one of these
    prefixes: tuple[str, ...] = ()  # it begins with one of these; where both are empty, any value


class Limits(msgspec.Struct, frozen=True):
    """Bounds and deadlines of the data port, in bytes and seconds."""

    connect_seconds: float = 1.0
    first_byte_seconds: float = 30.0
    answer_idle_seconds: float = 30.0  # between two pieces of an answer
    total_seconds: float = 300.0  # a streamed answer may take so long
    mirror_seconds: float = 10.0
    idle_seconds: float = 4.0  # of a kept connection to a model server; shorter than the servers' own
    client_idle_seconds: float = 75.0
    client_header_seconds: float = 10.0
    client_body_seconds: float = 30.0  # between two pieces of a request's body
    max_header_bytes: int = 32 * 1024
    max_header_count: int = 128
    max_body_bytes: int = 64 * 1024 * 1024
    max_connections: int = 4096
    upstream_connections: int = 128  # per endpoint
    mirror_slots: int = 64  # shadow exchanges in flight, per model, and per lane
    mirror_body_bytes: int = 1024 * 1024  # a larger request is not mirrored
    mirror_bytes: int = (
        16 * 1024 * 1024
    )  # bodies of shadow exchanges in flight, per model, its lanes included: each has an equal share
    breaker_wait_seconds: float = 15.0  # at least, between cutting a failing challenger off and probing it
    scan_bytes: int = 1024 * 1024  # of a request's body, in which the model's name is looked for (Routes.by_body)
    extract_bytes: int = 64 * 1024
    record_rows: int = 100_000  # kept while control is away, then dropped and counted


class Lane(msgspec.Struct, frozen=True):
    """A further challenger of a model: it gets copies of what the champion answers."""

    name: str  # its rows, counters and breaker are told of under this name
    other: Backend
    rollout_id: int
    mirror: int  # percent


class ModelRoutes(msgspec.Struct, frozen=True):
    """How one model's traffic goes now."""

    name: str
    protocol: str
    champion: Backend | None = None  # None: the registry names none; requests get 503
    other: Backend | None = None  # the challenger; in a watch the previous champion
    other_role: int = 1  # comparator.events.Role
    mode: int = 0  # comparator.events.Mode
    rollout_id: int = 0
    share: int = 0  # percent of the clients answered by `other`
    mirror: int = 0  # percent of the traffic copied to `other`
    previous: Backend | None = None  # kept warm for a rollback
    mirror_credentials: bool = False  # copies carry Authorization, Cookie and API keys
    mirror_random_order: bool = False  # by its id, every other request's copy is sent first
    assign_by: str = ""  # "" : the request's own id; else a source, as in `Rule`
    request_id: str = ""  # "" : made here; "header:NAME": the client's own
    rules: tuple[Rule, ...] = ()  # in order
    asked_twice: int = 0  # percent of a shadow's mirrored requests whose copy goes to the champion
    sample: int = 0  # percent of the requests that control gets a copy of
    served_as: str = ""  # the model's name in paths, for protocols that have one; "": `name`
    predict_path: str = ""  # the only path of predictions, for protocols that know none; "": what the protocol says
    lanes: tuple[Lane, ...] = ()


class Routes(msgspec.Struct, frozen=True):
    """The immutable snapshot that a proxy serves from."""

    revision: int  # grows; a proxy ignores what is not newer, unless the generation changed
    generation: str  # of the control process that made it
    models: tuple[ModelRoutes, ...] = ()
    limits: Limits = Limits()
    traced: int | None = None  # percent of the requests without a sampling decision of their own; None: tracing is off
    by_body: bool = False  # where the path names no model, the body does


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """First message up: who is there. `generation` is that of the supervisor which started this worker."""

    worker: int
    pid: int
    generation: str


class Exchanges(msgspec.Struct, frozen=True, tag_field="t", tag="exchanges"):
    """Finished exchanges of one model, in order."""

    model: str
    rows: bytes  # n * EXCHANGE_ROW.size
    bodies: bytes


class SampledRequest(msgspec.Struct, frozen=True, array_like=True):
    """A copy of a client's request. Of its head only what says how to read the body.

    A call for a prediction over gRPC is told as HTTP/2 carries it: POST, its method as the path, GRPC_CONTENT; its body
    is the message, a ModelInferRequest in protobuf, without gRPC's prefix.
    """

    at: float  # when it came
    request_hi: int
    request_lo: int
    method: bytes
    path: bytes  # without the query
    content_type: bytes
    content_encoding: bytes
    header_length: bytes  # of binary tensors
    body: bytes
    over_grpc: bool = False  # by the port that it came to: of a content type there is only the client's word


class Sampled(msgspec.Struct, frozen=True, tag_field="t", tag="sampled"):
    """Copies of sampled requests of one model."""

    model: str
    requests: list[SampledRequest]
    dropped: int = 0  # of the sample, since the last message: too long, or too much at once


class Counters(msgspec.Struct, frozen=True, tag_field="t", tag="counters"):
    """Running totals of this worker since its start, and what is open now. Sent about once a second."""

    refused: dict[str, int]  # requests that we answered ourselves, by reason: unknown_model, no_champion, malformed
    shadow_dropped: dict[str, dict[str, int]]  # model -> reason, as proxy.mirror has them -> count
    rows_dropped: int  # observations lost because control was away too long
    lost_races: int  # requests lost to a server that closed its idle connection
    client_connections: int  # open now
    upstream_connections: int  # open now
    revision: int  # the routes in use
    overhead: dict[str, Overhead] = {}  # model -> of the requests that were handed to model servers


class BreakerChanged(msgspec.Struct, frozen=True, tag_field="t", tag="breaker"):
    """The breaker of a model's challenger, or a lane's, changed.

    `tripped`: the probe after the wait found it still failing.
    """

    model: str
    rollout_id: int
    state: str  # open | half_open | closed
    tripped: bool
    failed: int
    seen: int
    at: float


class Span(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """One finished span: of a traced request or call, or of its exchange with one model server (`exchange`).

    Times are in seconds, `sent` and `first_byte` from the beginning; NaN: it did not come to that. Ids are hexadecimal.
    Codes are those of comparator.events.
    """

    trace_id: str
    span_id: str
    parent_id: str  # empty: the trace begins here
    flags: int
    exchange: bool
    began: float  # since the epoch
    seconds: float
    sent: float = _NAN
    first_byte: float = _NAN
    method: str  # of gRPC: SERVICE/NAME
    path: str  # without query; of gRPC none
    scheme: str = ""  # http or https, of the client
    address: str = ""  # of the model server: its host, or the path of its socket
    port: int = 0
    status: int = 0  # of the answer, of gRPC as rows have it; 0: there was none
    error: str = ""  # why we answered the request ourselves (router.proxy.refusal)
    model: str  # empty: refused before it was known
    request_id: str
    version: int = 0
    role: int = -1  # no model server was asked
    mode: int = 0
    rollout_id: int = 0
    outcome: int = -1
    shed: str = ""  # why the copy was not sent
    recorded: bool = False  # it is in the histogram of durations
    rpc: str = ""  # gRPC's status, by its name; empty: this was HTTP


class Spans(msgspec.Struct, frozen=True, tag_field="t", tag="spans"):
    """Up: finished spans; `dropped` more, since the last such message, did not fit."""

    spans: tuple[Span, ...]
    dropped: int = 0


class SetRoutes(msgspec.Struct, frozen=True, tag_field="t", tag="routes"):
    """Down: serve from these routes from now on."""

    routes: Routes


class RoutesSet(msgspec.Struct, frozen=True, tag_field="t", tag="routes_set"):
    """Up: every request from here on is assigned by this revision."""

    revision: int
    generation: str


class Retire(msgspec.Struct, frozen=True, tag_field="t", tag="retire"):
    """Down: another supervisor's worker has taken your place; finish what is open and exit."""


Up = Hello | Exchanges | Sampled | Counters | BreakerChanged | RoutesSet | Spans
Down = SetRoutes | Retire

_encode = msgspec.msgpack.Encoder().encode
_up = msgspec.msgpack.Decoder(Up)
_down = msgspec.msgpack.Decoder(Down)
_routes_json = msgspec.json.Decoder(Routes)


def frame(message: Up | Down) -> bytes:
    """The message as it goes over the socket."""
    body = _encode(message)
    return len(body).to_bytes(4, "big") + body


def read_up(body: bytes) -> Up:
    """A message from a proxy; msgspec.DecodeError where it is none."""
    message: Up = _up.decode(body)
    return message


def read_down(body: bytes) -> Down:
    """A message from control; msgspec.DecodeError where it is none."""
    message: Down = _down.decode(body)
    return message


def routes_to_file(routes: Routes) -> bytes:
    """The routes as kept in the routes file (JSON, for people to read)."""
    return msgspec.json.format(msgspec.json.encode(routes), indent=2)


def routes_from_file(data: bytes) -> Routes:
    """Read a routes file back; msgspec.DecodeError where it is none."""
    return _routes_json.decode(data)
