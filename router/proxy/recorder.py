"""Finished exchanges as packed rows in memory -> batches over the link, about ten times a second.

While control is away rows wait, up to `most_rows`, then new ones are dropped and counted. Kept bodies have a bound of
their own in bytes: beyond it a row goes without its body (BODY_UNREAD).
"""

from __future__ import annotations

from typing import Protocol

from router.link.messages import BODY_UNREAD, BODY_WHOLE, EXCHANGE_ROW, Exchanges

MOST_BODY_BYTES = 64 * 1024 * 1024
FRAME_BODY_BYTES = 4 * 1024 * 1024
FRAME_ROWS = 8192

_pack = EXCHANGE_ROW.pack


class Link(Protocol):
    """Where rows go."""

    @property
    def ready(self) -> bool:
        """Whether it would take a message now."""

    def send(self, message: Exchanges) -> bool:
        """Take a message; False: not now."""


class _Batch:
    __slots__ = ("bodies", "rows")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.bodies: list[bytes] = []


class Recorder:
    """Keeps rows of all models until `flush` hands them on.

    Args:
        most_rows: kept in all.
        most_body_bytes: kept in all.
    """

    def __init__(self, most_rows: int, most_body_bytes: int = MOST_BODY_BYTES) -> None:
        self.most_rows = most_rows
        self.dropped = 0
        self.rows = 0
        self.body_bytes = 0
        self._most_body_bytes = most_body_bytes
        self._batches: dict[str, _Batch] = {}

    def record(  # noqa: PLR0913, PLR0917 - the columns of a row, positional because this is on the path of every request
        self,
        model: str,
        at: float,
        rollout_id: int,
        request_hi: int,
        request_lo: int,
        version: int,
        body: bytes,
        first_byte: float,
        latency: float,
        flags: int,
        status: int,
        role: int,
        mode: int,
        attempted_both: bool,  # noqa: FBT001
        outcome: int,
        body_state: int,
    ) -> None:
        """Keep one exchange; the arguments are the columns of EXCHANGE_ROW."""
        if self.rows >= self.most_rows:
            self.dropped += 1
            return
        batch = self._batches.get(model)
        if batch is None:
            batch = self._batches[model] = _Batch()
        length = len(body)
        if length and self.body_bytes + length > self._most_body_bytes:
            body, length = b"", 0
            if body_state == BODY_WHOLE:
                body_state = BODY_UNREAD
        batch.rows.append(
            _pack(
                at,
                rollout_id,
                request_hi,
                request_lo,
                version,
                length,
                first_byte,
                latency,
                flags,
                status,
                role,
                mode,
                attempted_both,
                outcome,
                body_state,
            )
        )
        batch.bodies.append(body)
        self.rows += 1
        self.body_bytes += length

    def flush(self, link: Link) -> None:
        """Hand on what is kept, until the link takes no more; the rest stays, in order."""
        if not link.ready:
            return
        for model in list(self._batches):
            batch = self._batches[model]
            while batch.rows:
                count, size = _cut(batch.bodies)
                message = Exchanges(model, b"".join(batch.rows[:count]), b"".join(batch.bodies[:count]))
                if not link.send(message):
                    return
                del batch.rows[:count], batch.bodies[:count]
                self.rows -= count
                self.body_bytes -= size
            del self._batches[model]


def _cut(bodies: list[bytes]) -> tuple[int, int]:
    """How many rows fit into one frame, and the bytes of their bodies."""
    size = 0
    for count, body in enumerate(bodies):
        if count == FRAME_ROWS or (size + len(body) > FRAME_BODY_BYTES and count):
            return count, size
        size += len(body)
    return len(bodies), size
