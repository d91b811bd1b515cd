"""What people's own endpoints are told of a decision: CloudEvents 1.0, or a text for a chat. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from comparator.events import JUDGE, Decision
from comparator.news import Event, events_of
from comparator.title import REGISTRY, Title
from router.control.ledger.chain import entry_id
from router.control.version_tags import one_line, signatures_of

TYPE: Final = "io.titleshot"

_PHRASES: Final = {
    Event.HELD: "version {version} is held",
    Event.STARTED: "version {version} is on trial, {phase}",
    Event.ADVANCED: "version {version} goes on to step {step}, {phase}",
    Event.CONFIRMED: "version {version} was confirmed{by}",
    Event.WAITING_FOR_SIGN_OFF: "version {version} waits for a sign-off (titleshot sign-off {model})",
    Event.SIGNED: "version {version} was signed{by}, and needs more signatures",
    Event.SIGNATURES_VOID: "the signatures for version {version} are void",
    Event.PROMOTING: "version {version} is to be promoted{by}",
    Event.PROMOTED: "version {version} was promoted{by}",
    Event.FINISHED: "version {version} stays, the watch is over",
    Event.ROLLED_BACK: "version {version} was rolled back{by}, version {champion} serves",
    Event.REJECTED: "version {version} was rejected{by}, version {champion} serves",
    Event.ABORTED: "the rollout of version {version} was aborted{by}",
    Event.SUPERSEDED: "the rollout of version {version} was superseded{by}",
    Event.PAUSED: "the rollout of version {version} was paused{by}",
    Event.RESUMED: "the rollout of version {version} was resumed{by}",
    Event.DEADLINE_PASSED: "a deadline of version {version} has passed",
    Event.NO_DATA: "version {version} answers nothing",
    Event.RETRIED: "version {version} was given another trial{by}",
    Event.REGISTRY_MOVED: "version {champion} serves",
    Event.FROZEN: "no rollout starts",
    Event.UNFROZEN: "rollouts were let start again{by}",
    Event.GATED: "the gate in staging has reported on version {version}",
}
_TITLE_BACK: Final = "the title was given back to version {version}{by}"


@dataclass(frozen=True, slots=True)
class Notification:
    """One event of one model, as it stood when the decision was in force.

    Args:
        event: what it is.
        model: whose.
        decision: that made it so.
        behind: the decision that called for it: of a promotion that the registry has confirmed, who and why.
        entry: the decision's id in the record; "": not known, it waits for the ledger.
        champion: who serves.
        step: of the rollout, counted from 1; 0: none.
        reason: why.
    """

    event: Event
    model: str
    decision: Decision
    behind: Decision
    entry: str
    champion: int | None
    step: int
    reason: str

    @property
    def id(self) -> str:
        """The same however often it is told; no other event of anybody's has it."""
        return f"{self.model}/{self.decision.rollout_id}/{self.event.value}/{round(self.decision.at * 1e6)}"

    @property
    def type(self) -> str:
        """By which receivers tell events apart."""
        return f"{TYPE}.{'rollout' if self.event.of_rollout else 'model'}.{self.event.value}"


def notifications(model: str, title: Title, decision: Decision, number: int) -> list[Notification]:
    """What there is to tell of a decision.

    Args:
        model: whose.
        title: its state, in which the decision is in force.
        decision: recorded.
        number: of its entry in the chain; 0: it is not there yet.
    """
    rollout, frozen = title.rollout, title.rollbacks.frozen
    own = rollout is not None and rollout.rollout_id == decision.rollout_id
    told = []
    for event in events_of(decision, frozen=bool(frozen)):
        behind = decision
        if event is Event.PROMOTED:
            behind = title.endings.decisions.get((decision.version, "promoted"), decision)
        told.append(
            Notification(
                event,
                model,
                decision,
                behind,
                entry_id(model, number),
                title.champion,
                rollout.step + 1 if rollout is not None and own else 0,
                frozen if event is Event.FROZEN else behind.reason,
            )
        )
    return told


def cloud_event(told: Notification, source: str) -> dict[str, Any]:
    """As CloudEvents 1.0 has it, in structured mode."""
    decision, behind = told.decision, told.behind
    return {
        "specversion": "1.0",
        "id": told.id,
        "source": source,
        "type": told.type,
        "subject": told.model,
        "time": datetime.fromtimestamp(decision.at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "decision": told.entry or None,
            "kind": decision.kind.value,
            "model": told.model,
            "version": decision.version,
            "champion": told.champion,
            "rollout_id": str(decision.rollout_id),  # more digits than a double holds
            "phase": decision.phase,
            "step": told.step,
            "actor": behind.actor,
            "signed_by": _signers(behind),
            "reason": told.reason,
            "trigger": behind.trigger,
            "evidence_verdict": _text(behind, "verdict"),
            "evidence_reason": _text(behind, "reason"),
            "policy_digest": decision.policy_digest,
        },
    }


def chat_text(told: Notification) -> str:
    """One line for people, not escaped."""
    decision, behind = told.decision, told.behind
    of_title = told.event is Event.ROLLED_BACK and not decision.rollout_id
    who = " and ".join(_signers(behind)) or (behind.actor if behind.actor not in (JUDGE, REGISTRY) else "")
    phrase = (_TITLE_BACK if of_title else _PHRASES[told.event]).format(
        version=decision.version,
        champion=told.champion if told.champion is not None else "none",
        phase=decision.phase,
        step=told.step,
        model=told.model,
        by=f" by {who}" if who else "",
    )
    entry = f" [{told.entry}]" if told.entry else ""
    return f"{one_line(f'{told.model}: {phrase}: {told.reason}')}{entry}"


def escaped(text: str) -> str:
    """As Slack asks: what could begin a mention there, or a link under other words, is only text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def body(told: Notification, style: str, source: str) -> tuple[bytes, str]:
    """The bytes to POST, and their content type.

    Args:
        told: what.
        style: "cloudevents" or "slack".
        source: who tells it.
    """
    if style == "slack":
        return msgspec.json.encode({"text": escaped(chat_text(told))}), "application/json"
    return msgspec.json.encode(cloud_event(told, source)), "application/cloudevents+json"


def _signers(decision: Decision) -> list[str]:
    return [str(each["name"]) for each in signatures_of(decision.evidence)]


def _text(decision: Decision, name: str) -> str:
    """What the report says in the decision's evidence, where it has one."""
    found = decision.evidence.get(name)
    return found if isinstance(found, str) else ""
