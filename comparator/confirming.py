"""Webhooks: which of them are asked to confirm what, what their answers lead to, and which have yet to be told.

An answer that is neither a pass nor a failure, or none at all, is INCONCLUSIVE: it holds, and is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from comparator.events import Decision, DecisionKind
from comparator.guardrail import Verdict
from comparator.sign_off import Screen

if TYPE_CHECKING:
    from comparator.events import Confirmation, Notified
    from comparator.outside import Outside

WEBHOOK = "webhook"
"""The trigger of what a webhook's answer leads to, and the beginning of its actor: `webhook:NAME`."""


_CONFIRM = " to confirm the start"


class Ask(str, Enum):
    """What a webhook is asked, or told."""

    START = "confirm_start"
    PROMOTE = "confirm_promote"
    ROLLBACK = "on_rollback"


class Confirmations:
    """What webhooks have said about one rollout."""

    def __init__(self) -> None:
        self.confirmed: frozenset[tuple[str, str]] = frozenset()  # (what, webhook), recorded
        self.latest: dict[tuple[str, str], Confirmation] = {}  # what they said last, of those who have not confirmed

    def missing(self, ask: Ask, outside: Outside) -> tuple[str, ...]:
        """Who has yet to confirm."""
        named = outside.confirm_start if ask is Ask.START else outside.confirm_promote
        return tuple(name for name in named if (ask.value, name) not in self.confirmed)

    def apply(self, decision: Decision) -> None:
        """A recorded confirmation."""
        about = decision.evidence.get("confirmation")
        if isinstance(about, Mapping):
            each = str(about["what"]), str(about["webhook"])
            self.confirmed |= {each}
            self.latest.pop(each, None)

    def as_data(self) -> list[dict[str, object]]:
        """What they have said, as plain data."""
        said = [
            *((each, Verdict.PASS.value, "confirmed", None) for each in sorted(self.confirmed)),
            *((each, fact.verdict, fact.reason, fact.at) for each, fact in sorted(self.latest.items())),
        ]
        return [
            {"what": what, "webhook": webhook, "verdict": verdict, "reason": reason, "at": at}
            for (what, webhook), verdict, reason, at in said
        ]


def waiting(names: Iterable[str]) -> str:
    """Why a rollout is held whose start has yet to be confirmed."""
    return f"waiting for {' and '.join(names)}{_CONFIRM}"


def is_waiting(hold_reason: str) -> bool:
    """Whether that is why."""
    return hold_reason.endswith(_CONFIRM)


@dataclass(frozen=True, slots=True)
class Notice:
    """A rollback that webhooks have yet to be told of."""

    id: str
    decision: Decision
    champion: int | None  # who serves from then on
    evidence_digest: str
    webhooks: frozenset[str]


class Notices:
    """The rollbacks of one model that webhooks have yet to be told of. Decisions tell them, so that a restart knows."""

    def __init__(self) -> None:
        self.open: dict[str, Notice] = {}
        self.problems: dict[tuple[str, str], str] = {}  # (id, webhook) -> why it could not be told; in memory

    def begin(self, decision: Decision, outside: Outside | None, champion: int | None, step: int) -> None:
        """A decision that is in force, by the policy that it was made under."""
        if decision.kind not in (DecisionKind.ROLL_BACK, DecisionKind.REJECT) or outside is None:
            return
        if outside.on_rollback:
            number = f"{decision.rollout_id}/{Ask.ROLLBACK.value}/{int(decision.at * 1e6)}"
            report: dict[str, Any] = dict(decision.evidence)
            digest = Screen(decision.rollout_id, step, report).digest if "guardrails" in report else ""
            self.open[number] = Notice(number, decision, champion, digest, frozenset(outside.on_rollback))

    def receive(self, fact: Notified, policy_digest: str) -> Decision | None:
        """A webhook was told, or could not be; the decision that takes note of the first."""
        notice = self.open.get(fact.id)
        if notice is None or fact.webhook not in notice.webhooks:
            return None
        if fact.problem:
            self.problems[fact.id, fact.webhook] = fact.problem
            return None
        return Decision(
            DecisionKind.TOLD,
            fact.at,
            0,
            notice.decision.version,
            fact.reason or f"{fact.webhook} was told of the {notice.decision.kind.value.replace('_', ' ')}",
            trigger=WEBHOOK,
            policy_digest=policy_digest,
            evidence={"told": {"id": fact.id, "webhook": fact.webhook}},
        )

    def apply(self, decision: Decision) -> None:
        """A recorded notice that was given."""
        told = decision.evidence.get("told")
        notice = self.open.get(str(told["id"])) if isinstance(told, Mapping) else None
        if notice is None or not isinstance(told, Mapping):
            return  # of a policy that is not in the record any more
        self.problems.pop((notice.id, str(told["webhook"])), None)
        left = notice.webhooks - {str(told["webhook"])}
        if left:
            self.open[notice.id] = replace(notice, webhooks=left)
        else:
            del self.open[notice.id]

    def as_data(self) -> list[dict[str, object]]:
        """Who has yet to be told of what, as plain data."""
        return [
            {
                "id": notice.id,
                "webhook": webhook,
                "kind": notice.decision.kind.value,
                "version": notice.decision.version,
                "problem": self.problems.get((notice.id, webhook), ""),
            }
            for notice in self.open.values()
            for webhook in sorted(notice.webhooks)
        ]
