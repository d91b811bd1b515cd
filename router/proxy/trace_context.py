"""The W3C Trace Context of one request or call: what it carries, and whether it is traced.

https://www.w3.org/TR/trace-context/, over gRPC in the metadata, as OpenTelemetry's instrumentation has it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from typing import Final

from router.proxy import fields

Metadata = Iterable[tuple[str, str | bytes]]
"""Of a call; what is a text under each name, in lower case."""

SAMPLED: Final = 0x01
_RANDOM: Final = 0x02
_KNOWN: Final = SAMPLED | _RANDOM
"""Flags that version 00 has (level 2 of the standard); the others of a later version are not passed on under 00."""

_FIELD: Final = b"traceparent"
_NEEDLE: Final = b"traceparent:"
_PARENT: Final = frozenset({_FIELD})
_PARENT_AND_STATE: Final = frozenset({_FIELD, b"tracestate"})
_ENTRY: Final = _FIELD.decode()
_VALUE: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


class Context:
    """Of one traced request or call: its trace, and its span there.

    Args:
        trace_id: 32 hexadecimal digits, lower case; as all ids here.
        parent_id: the client's span; empty: the trace begins here.
        flags: of the trace, SAMPLED among them.
    """

    __slots__ = ("flags", "parent_id", "span_id", "trace_id")

    def __init__(self, trace_id: bytes, parent_id: bytes, flags: int) -> None:
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.flags = flags & _KNOWN
        self.span_id = new_span_id()

    def passed_on(self, lines: list[bytes], span_id: bytes) -> list[bytes]:
        """The header lines of a request that `span_id` is the span of.

        All but traceparent passes as it came. A tracestate without a trace that it belongs to is left out, as the
        standard has it.
        """
        kept = fields.without(lines, self._renewed)
        kept.append(b"traceparent: %b\r\n" % self._parent(span_id))
        return kept

    def passed_on_in(self, metadata: Metadata, span_id: bytes) -> list[tuple[str, str | bytes]]:
        """The metadata of a call that `span_id` is the span of; as `passed_on`."""
        left_out = {name.decode() for name in self._renewed}
        kept = [entry for entry in metadata if entry[0] not in left_out]
        kept.append((_ENTRY, self._parent(span_id).decode()))
        return kept

    @property
    def _renewed(self) -> frozenset[bytes]:
        return _PARENT if self.parent_id else _PARENT_AND_STATE

    def _parent(self, span_id: bytes) -> bytes:
        return b"00-%b-%b-%02x" % (self.trace_id, span_id, self.flags)


def new_span_id() -> bytes:
    """A span's id: random, so that no two of a trace are alike."""
    return b"%016x" % random.getrandbits(64)


def context_of(lines: list[bytes], share: float, chance: Callable[[], float]) -> Context | None:
    """The context of a request with these header lines; None: it is not traced.

    Args:
        lines: its header lines, as they are passed on.
        share: of the requests without a sampling decision of their own, from 0 to 1, that are traced.
        chance: a number from 0 to 1 (1 left out).
    """
    return _chosen(_carried(lines), share, chance)


def context_in(metadata: Metadata, share: float, chance: Callable[[], float]) -> Context | None:
    """The context of a call with this metadata; as `context_of`."""
    values = [value for name, value in metadata if name == _ENTRY and isinstance(value, str)]
    carried = read_traceparent(values[0].strip(" \t").encode()) if len(values) == 1 else None
    return _chosen(carried, share, chance)


def _chosen(carried: tuple[bytes, bytes, int] | None, share: float, chance: Callable[[], float]) -> Context | None:
    if carried is not None:
        trace_id, parent_id, flags = carried
        return Context(trace_id, parent_id, flags) if flags & SAMPLED else None
    if chance() >= share:
        return None
    return Context(b"%032x" % random.getrandbits(128), b"", SAMPLED)


def read_traceparent(value: bytes) -> tuple[bytes, bytes, int] | None:
    """Trace, parent and flags of the field's value; None: it is not valid.

    Of a version later than 00 the part that 00 has is read, as the standard has it.
    """
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest is not None) or trace_id == _NO_TRACE or parent_id == _NO_PARENT:
        return None
    return trace_id, parent_id, int(flags, 16)


def _carried(lines: list[bytes]) -> tuple[bytes, bytes, int] | None:
    if _NEEDLE not in b"".join(lines).lower():  # most have none, and a scan line by line takes longer
        return None
    size = len(_NEEDLE)
    values = [line[size:-2].strip(b" \t") for line in lines if line[:size].lower() == _NEEDLE]
    return read_traceparent(values[0]) if len(values) == 1 else None
