"""Metadata of calls: what becomes of each entry on its way through, as fields.py says it for HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from router.proxy.fields import DROP, OWN_ID, REQUEST_FIELDS, SECRET

Metadata = tuple[tuple[str, str | bytes], ...]

OWN: Final = "x-titleshot-id"
SHADOW: Final = "x-titleshot-shadow"
REQUEST_ID: Final = "x-request-id"
FORWARDED_FOR: Final = "x-forwarded-for"

_DETAILS: Final = "grpc-status-details-bin"
"""Reserved, but the servers' own to set: what exactly was wrong (google.rpc.Status)."""

_HOP: Final = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "host", "user-agent"})
"""Said anew by gRPC for every hop."""


def value_of(metadata: Iterable[tuple[str, str | bytes]], name: str) -> bytes:
    """The first text under a name (lower case); empty: none."""
    for key, value in metadata:
        if key == name and isinstance(value, str):
            return value.encode()
    return b""


class Head:
    """Metadata as rules and keys look at a head: its texts are fields; there is no host, and no path or query."""

    __slots__ = ("_given", "host")

    def __init__(self, given: Metadata) -> None:
        self._given = given
        self.host: bytes | None = None

    def field(self, name: bytes) -> bytes:
        """The first text under a name (lower case); empty: none."""
        return value_of(self._given, name.decode())


def onward(metadata: Iterable[tuple[str, str | bytes]], request_id: str, peer: str) -> list[tuple[str, str | bytes]]:
    """A request's metadata, as the model server gets it."""
    passed: list[tuple[str, str | bytes]] = []
    before: list[str] = []
    has_id = False
    for key, value in metadata:
        if key == FORWARDED_FOR and isinstance(value, str):
            before.append(value)
        elif _passes(key) and REQUEST_FIELDS[key.encode()] not in (DROP, OWN_ID):
            passed.append((key, value))
            has_id = has_id or key == REQUEST_ID
    passed.append((FORWARDED_FOR, ", ".join([*before, peer])))
    passed.append((OWN, request_id))
    if not has_id:
        passed.append((REQUEST_ID, request_id))
    return passed


def as_copy(passed: Iterable[tuple[str, str | bytes]], *, credentials: bool) -> Metadata:
    """What goes on to a model server, as it goes with a copy."""
    kept = [(key, value) for key, value in passed if credentials or REQUEST_FIELDS[key.encode()] != SECRET]
    return (*kept, (SHADOW, "1"))


def back(metadata: Iterable[tuple[str, str | bytes]] | None, request_id: str) -> Metadata:
    """A model server's metadata, as the client gets it."""
    passed = [(key, value) for key, value in metadata or () if key != OWN and (_passes(key) or key == _DETAILS)]
    return (*passed, (OWN, request_id))


def address_of(peer: str) -> str:
    """The address of a peer as gRPC names it: ipv4:10.0.0.1:4711, ipv6:%5B::1%5D:4711."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest.rpartition(":")[0]
    if kind == "ipv6":
        return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    return "unknown"


def _passes(key: str) -> bool:
    return not key.startswith(("grpc-", ":")) and key not in _HOP
