"""What one request over HTTP and one call over gRPC have in common: who answers it, and in which mode that counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic

from router.link.messages import SHED
from router.proxy import codes
from router.proxy.breaker import Admission
from router.proxy.lanes import L, due
from router.proxy.routes import Flow, S
from router.proxy.rules import Head, forced_role

if TYPE_CHECKING:
    from router.proxy.plane import DataPlane


class Assigned(Generic[S]):
    """One request: the champion's, until it is assigned to somebody else.

    Its values are looked up in its head, and in its path and query as the model server sees them.
    """

    __slots__ = ("_mode", "_plane", "_probe", "_role", "flags", "served", "started", "target")

    _plane: DataPlane
    _mode: int
    _probe: bool
    _role: int
    flags: int
    served: S
    started: float
    target: Flow[S]

    def shed(self, reason: str) -> None:
        """No copy is sent."""
        self.flags |= SHED
        self._plane.shed(self.target.name, reason)

    def _forced(self, head: Head, path: bytes) -> bool:
        """Whether a rule says who answers: then no copy is sent, and nothing that comes of it is evidence."""
        target = self.target
        role = forced_role(target.rules, head, path)
        if role is None:
            return False
        self._mode = codes.MODE_FORCED
        if target.other is not None and target.may_be_forced(role):
            self.served, self._role = target.other, role
        return True

    def _challenge(self) -> None:
        """To the challenger, unless the breaker has taken it out: then the champion answers, outside the evidence."""
        target = self.target
        admission = self._plane.admit(target, self.started)
        if admission is Admission.REFUSE or target.other is None:
            self._mode = codes.MODE_FORCED
            return
        self._probe = admission is Admission.PROBE
        self.served = target.other
        self._role = target.other_role

    def _key(self, head: Head, path: bytes, identity: bytes) -> bytes:
        """What the assignment sticks to: the model's key, or the request's id."""
        source = self.target.assign_by
        return (source(head, path) if source is not None else b"") or identity

    def _due(self, lanes: Iterable[L], head: Head, path: bytes, identity: bytes) -> list[L]:
        """The lanes that get a copy: of what the champion answers, unless a rule keeps it out of every trial."""
        target = self.target
        if self._role != codes.CHAMPION or self._mode == codes.MODE_FORCED:
            return []
        if not self._mode and target.rules and forced_role(target.rules, head, path) is not None:
            return []
        return due(lanes, self._key(head, path, identity))
