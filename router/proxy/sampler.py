"""Copies of sampled requests for the control process, bounded in bytes: what is too much is dropped and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from router.link.messages import GRPC_CONTENT, Sampled, SampledRequest

if TYPE_CHECKING:
    from router.proxy.request import Request

MOST_BYTES = 8 * 1024 * 1024
"""Kept in all until the next flush; more at once than control would take in time."""


class Link(Protocol):
    """Where they go."""

    def send(self, message: Sampled) -> bool:
        """Take a message; False: not now."""


def of_request(at: float, key: tuple[int, int], path: bytes, request: Request, body: list[bytes]) -> SampledRequest:
    """A request over HTTP whose body is there.

    Args:
        at: when it came, in seconds since the epoch.
        key: of its id, upper and lower 64 bits.
        path: as the model server sees it; its query is left out.
        request: the head.
        body: in pieces.
    """
    return SampledRequest(
        at,
        *key,
        request.method,
        path.partition(b"?")[0],
        request.field(b"content-type"),
        request.field(b"content-encoding"),
        request.field(b"inference-header-content-length"),
        b"".join(body),
    )


def of_call(at: float, key: tuple[int, int], method: str, message: bytes) -> SampledRequest:
    """A call over gRPC, of this method (/SERVICE/NAME); else as `of_request`."""
    return SampledRequest(at, *key, b"POST", method.encode(), GRPC_CONTENT, b"", b"", message, over_grpc=True)


class Sampler:
    """Keeps copies of all models until `flush` hands them on."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: dict[str, list[SampledRequest]] = {}
        self._untold: dict[str, int] = {}  # dropped, as control has yet to know

    def take(self, model: str, request: SampledRequest) -> None:
        """Keep a copy of a model's request, if there is room."""
        size = len(request.body)
        if self._bytes + size > self._most_bytes:
            self.drop(model)
            return
        self._bytes += size
        self._kept.setdefault(model, []).append(request)

    def drop(self, model: str, count: int = 1) -> None:
        """So many requests of the sample are not kept."""
        self.dropped += count
        self._untold[model] = self._untold.get(model, 0) + count

    def flush(self, link: Link) -> None:
        """Hand on what is kept. What the link does not take now is dropped: nobody waits for samples."""
        if not self._kept and not self._untold:
            return
        kept, self._kept, self._bytes = self._kept, {}, 0
        for model in kept.keys() | self._untold.keys():
            requests, untold = kept.get(model, []), self._untold.get(model, 0)
            if link.send(Sampled(model, requests, untold)):
                self._untold.pop(model, None)
            elif requests:
                self.drop(model, len(requests))
