"""Finished exchanges as packed rows in memory -> batches over the link, about fifty times a second.

While control is away rows wait, up to `most_rows`, then new ones are dropped and counted. Kept bodies have a bound of
their own in bytes: beyond it a row goes without its body (BODY_UNREAD).
"""

from __future__ import annotations

from typing import Protocol

from router.link.messages import BODY_UNREAD, EXCHANGE_ROW, Exchanges

MOST_BODY_BYTES = 64 * 1024 * 1024
FRAME_BODY_BYTES = 4 * 1024 * 1024
FRAME_ROWS = 2048
"""Of one frame, and of one flush: packing more at once would hold requests up for a millisecond and more."""

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
            body, length, body_state = b"", 0, BODY_UNREAD
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
        """Hand on what is kept, or as much as may be handed on at once; the rest stays, in order."""
        left = FRAME_ROWS
        while self._batches and left > 0 and link.ready:
            model, batch = next(iter(self._batches.items()))
            count, size = _cut(batch.bodies, left)
            if not link.send(Exchanges(model, b"".join(batch.rows[:count]), b"".join(batch.bodies[:count]))):
                return
            left -= count
            self.rows -= count
            self.body_bytes -= size
            del self._batches[model]
            if count < len(batch.rows):
                del batch.rows[:count], batch.bodies[:count]
                self._batches[model] = batch  # at the end: every model gets its turn

    def flush_all(self, link: Link) -> None:
        """Hand on all that is kept, as far as the link takes it: this process ends."""
        rows = -1
        while self.rows != rows:
            rows = self.rows
            self.flush(link)


def _cut(bodies: list[bytes], most: int) -> tuple[int, int]:
    """How many rows, at most so many, fit into one frame, and the bytes of their bodies."""
    count, size = 0, 0
    for length in map(len, bodies[:most]):
        if count and size + length > FRAME_BODY_BYTES:
            break
        count += 1
        size += length
    return count, size
