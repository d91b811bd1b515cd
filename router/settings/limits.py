"""Bounds and deadlines of the data port, as users write them."""

from __future__ import annotations

from pydantic import Field

from router.link.messages import Limits
from router.settings.block import Block, Count, Duration, Size, written
from router.settings.units import parse_duration, parse_size, write_duration, write_size

_DEFAULT = Limits()


def _duration(seconds: float, description: str) -> float:
    return written(write_duration(seconds), parse_duration, description)  # type: ignore[no-any-return]


def _size(size: int, description: str) -> int:
    return written(write_size(size), parse_size, description)  # type: ignore[no-any-return]


class LimitsSettings(Block):
    """Bounds and deadlines of the data port. The defaults are those of `router.link.messages.Limits`."""

    connect: Duration = _duration(_DEFAULT.connect_seconds, "To connect to a model server.")
    first_byte: Duration = _duration(_DEFAULT.first_byte_seconds, "Until the first byte of a model server's answer.")
    answer_idle: Duration = _duration(
        _DEFAULT.answer_idle_seconds,
        "Between two pieces of an answer; a client that does not read it for so long is let go.",
    )
    total: Duration = _duration(_DEFAULT.total_seconds, "Until the end of a model server's answer.")
    mirror: Duration = _duration(_DEFAULT.mirror_seconds, "Until the end of an answer to a mirrored copy.")
    idle: Duration = _duration(
        _DEFAULT.idle_seconds,
        "An idle connection to a model server is kept so long; shorter than the servers' own limit.",
    )
    client_idle: Duration = _duration(_DEFAULT.client_idle_seconds, "A client's idle connection is kept so long.")
    client_header: Duration = _duration(_DEFAULT.client_header_seconds, "Until the end of a request's header.")
    client_body: Duration = _duration(_DEFAULT.client_body_seconds, "Between two pieces of a request's body.")
    max_header: Size = _size(_DEFAULT.max_header_bytes, "Largest header of a request.")
    max_header_count: Count = Field(default=_DEFAULT.max_header_count, description="Most header fields of a request.")
    max_body: Size = _size(_DEFAULT.max_body_bytes, "Largest body of a request.")
    max_connections: Count = Field(
        default=_DEFAULT.max_connections, description="Most client connections of one worker."
    )
    upstream_connections: Count = Field(
        default=_DEFAULT.upstream_connections, description="Most connections of one worker to one model server."
    )
    mirror_slots: Count = Field(
        default=_DEFAULT.mirror_slots,
        description="Most mirrored copies in flight, per model and worker; more are dropped.",
    )
    mirror_body: Size = _size(_DEFAULT.mirror_body_bytes, "A request with a larger body is not mirrored.")
    mirror_bytes: Size = _size(
        _DEFAULT.mirror_bytes, "Most bytes of mirrored bodies in flight, per model and worker; more copies are dropped."
    )
    breaker_wait: Duration = _duration(
        _DEFAULT.breaker_wait_seconds, "From cutting a failing challenger off to the requests that probe it, at least."
    )
    scan: Size = _size(
        _DEFAULT.scan_bytes,
        "With route_by: body.model, so much of a request's body is looked through for the model's name, and kept until "
        "it has come.",
    )
    extract: Size = _size(_DEFAULT.extract_bytes, "An answer with a larger body is not read for predictions.")
    record_rows: Count = Field(
        default=_DEFAULT.record_rows,
        description="Observations that a worker keeps while control is away; then they are dropped and counted.",
    )

    def limits(self) -> Limits:
        """As they go over the link."""
        return Limits(
            connect_seconds=self.connect,
            first_byte_seconds=self.first_byte,
            answer_idle_seconds=self.answer_idle,
            total_seconds=self.total,
            mirror_seconds=self.mirror,
            idle_seconds=self.idle,
            client_idle_seconds=self.client_idle,
            client_header_seconds=self.client_header,
            client_body_seconds=self.client_body,
            max_header_bytes=self.max_header,
            max_header_count=self.max_header_count,
            max_body_bytes=self.max_body,
            max_connections=self.max_connections,
            upstream_connections=self.upstream_connections,
            mirror_slots=self.mirror_slots,
            mirror_body_bytes=self.mirror_body,
            mirror_bytes=self.mirror_bytes,
            breaker_wait_seconds=self.breaker_wait,
            scan_bytes=self.scan,
            extract_bytes=self.extract,
            record_rows=self.record_rows,
        )
