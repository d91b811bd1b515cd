"""What the admin port asks of the control plane; implemented there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from comparator.events import Columns, Command, Decision, Gated, Labels, Observations
from comparator.reigns import Reign
from router.control.explanation import Explanation
from router.control.ledger import RefusedAct
from router.control.recordings import Recording
from router.protocols.coding import Coding


class UnknownModel(Exception):
    """No model of this name is under control."""


class RegistryAway(Exception):
    """What is asked for needs a look into the registry, which does not answer now."""


class Operations(Protocol):
    """What the admin port can ask for."""

    def models(self) -> Sequence[str]:
        """The names of all models."""
        ...

    def known(self, name: str) -> bool:
        """Whether this is the name of a model, or of a lane (MODEL@ALIAS), of which status and record are kept, too."""
        ...

    def coding(self, model: str) -> Coding:
        """How its labels become numbers. Raises UnknownModel."""
        ...

    def rollback_on(self, model: str) -> Sequence[Mapping[str, str]]:
        """Alerts with all labels of one of these roll the model's rollout back. Raises UnknownModel."""
        ...

    async def add_labels(self, model: str, columns: Columns) -> None:
        """Record labels (dtype LABEL); they are committed when this returns.

        Raises:
            UnknownModel: no such model.
            LedgerUnavailable: none was recorded, and none may be acknowledged.
            Fenced: another replica leads.
        """
        ...

    async def command(self, model: str, command: Command) -> Decision:
        """Carry out a person's act; in force when this returns.

        Raises:
            UnknownModel: no such model.
            Refused: it cannot be carried out now; the message says why.
            LedgerUnavailable: it needs its record first, and there is no ledger.
            Fenced: another replica leads.
        """
        ...

    async def gated(self, model: str, fact: Gated) -> Decision:
        """Take note of a report of the gate in staging; recorded and in force when this returns.

        Raises:
            UnknownModel: no such model.
            Refused: it is no report, contradicts itself, or does not speak of what stands now; the message says why.
            RegistryAway: whether there is such a version cannot be told.
            LedgerUnavailable: nothing was recorded.
            Fenced: another replica leads.
        """
        ...

    def recording(self, model: str, share: int) -> AbstractContextManager[Recording]:
        """A recording of so many percent of the model's requests, for as long as the context lasts.

        Raises:
            UnknownModel: no such model.
            Refused: its settings do not say that it may be recorded.
            TooMany: there are as many under way as there may be.
        """
        ...

    def traffic(self, model: str, since: float) -> Iterator[Observations | Labels]:
        """What the ledger has of the model's traffic, batch by batch; the first may begin before `since`. Blocks.

        Raises LedgerUnavailable.
        """
        ...

    def explained(self, model: str, number: int) -> Explanation | None:
        """A recorded decision by its number, made again from its evidence; None: there is none. Blocks.

        Raises LedgerUnavailable.
        """
        ...

    async def record(self, model: str, limit: int) -> Sequence[tuple[str, Decision]]:
        """The latest decisions, the newest first, each with its id: what `titleshot explain` takes.

        Raises UnknownModel, LedgerUnavailable.
        """
        ...

    async def refused(self, model: str, limit: int) -> Sequence[RefusedAct]:
        """The latest refused attempts to act on a model, or on none that is known, the newest first.

        Raises UnknownModel, LedgerUnavailable.
        """
        ...

    async def production(self, model: str) -> Sequence[tuple[str, Reign]]:
        """What was in production when, the latest first, each with the id of the decision; "": it is not told.

        Raises UnknownModel, LedgerUnavailable.
        """
        ...

    def alerted(self, results: Mapping[str, int]) -> None:
        """Count what became of alerts: acted, nothing, refused, resolved, ignored, unknown_model or malformed."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Everything that people and scripts want to know, as plain data.

        {"at": seconds since the epoch, "models": {name: {"champion", "challenger", "previous", "awaited": version
        or None, "ready": [version], "traffic": {"mode", "share", "mirror"}, "roles": {role: {"version", "answers",
        "failed", "precision": {"value", "lower", "upper", "count"} or None, "p50_seconds", "p99_seconds"}},
        "rollout": {"id", "version", "reference", "phase", "active", "paused", "hold_reason", "step", "steps":
        [{"kind", "percent", "min_seconds"}], "policy_digest", "evidence": Report.as_data() or None,
        "evidence_digest", "sign_off": {"by", "people", "not_registrant", "signatures": [{"name", "at",
        "evidence_digest"}]} or None, "confirmations": [{"what", "webhook", "verdict", "reason", "at"}]} or None,
        "untold": [{"id", "webhook", "kind", "version", "problem"}], "rollback": {"to", "ready", "moves_title"},
        "labels": {counter: count}, "frozen": why no rollout starts until a person says so, "fault":
        why some evidence could not be taken, "registry": {"read_at",
        "error"}, "policy_digest"}}}. More keys may be there; the page shows what it finds.
        """
        ...

    def health(self) -> tuple[bool, list[str]]:
        """Whether the traffic is served as the registry wants it, and what is missing."""
        ...

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics as Prometheus wants them, by its Accept header: body and content type."""
        ...
