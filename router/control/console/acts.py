"""What a person can do about a model now, and what will happen then, in words. Pure.

Whether it may be done is decided where it is received; what is offered here only spares people a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comparator.phases import BEFORE_TITLE, Phase

_BEFORE_TITLE = frozenset(phase.value for phase in BEFORE_TITLE)
_UNDER_WAY = _BEFORE_TITLE - {Phase.HELD.value}


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that can be done.

    Args:
        action: of the admin API.
        verb: on the button.
        says: what will happen.
        fields: what is sent with it: what the person saw.
        grave: it moves the title, or takes a version out.
    """

    action: str
    verb: str
    says: str
    fields: Mapping[str, str] = field(default_factory=dict)
    grave: bool = False


def offers(model: Mapping[str, Any]) -> list[Offer]:
    """All that fits what a model's status says, the most urgent first."""
    rollout = model.get("rollout") or {}
    active, phase, paused = bool(rollout.get("active")), rollout.get("phase"), bool(rollout.get("paused"))
    version, champion = rollout.get("version"), model.get("champion")
    found = [*_rollback(model, rollout if active else {})]
    if model.get("frozen"):
        found.append(Offer("unfreeze", "Unfreeze", "Rollouts may start again."))
    if active and phase == "sign_off" and not paused:
        found.append(_sign_off(rollout))
    if active and phase == "sign_off":
        says = f"Version {version} is turned down: it is rejected under this policy, and gets no traffic any more."
        found.append(Offer("reject", "Reject", says, grave=True))
    lane = model.get("lane") or {}
    if active and phase in _UNDER_WAY and not paused and not _rules(rollout) and not lane:
        says = (
            f"@champion moves from version {champion} to {version} now, whatever the evidence says. "
            f"Version {champion} stays pinned as @previous."
        )
        found.append(Offer("promote", "Promote now", says, grave=True))
    if active and paused:
        found.append(Offer("resume", "Resume", f"The rollout of version {version} goes on by itself."))
    elif active and phase in _BEFORE_TITLE:
        says = (
            f"The rollout of version {version} stays where it is, with the traffic that it has. Nothing goes forward; "
            "its guardrails still roll back."
        )
        found.append(Offer("pause", "Pause", says))
    if active and phase in _BEFORE_TITLE:
        says = (
            f"The rollout of version {version} ends: all traffic to version {champion}. That is no verdict on version "
            f"{version}: it may be started again."
        )
        found.append(Offer("abort", "Abort", says, grave=True))
    if not active and version is not None and version != champion and phase not in (None, "superseded"):
        alias = lane.get("alias", "challenger")
        says = f"Version {version} gets another shot under the present policy, if @{alias} names it."
        found.append(Offer("start", "Start again", says, {"to": str(version)}))
    return found


def offer(model: Mapping[str, Any], action: str) -> Offer | None:
    """The one of this action; None: it does not fit now."""
    return next((each for each in offers(model) if each.action == action), None)


def seen(model: Mapping[str, Any], actor: str) -> dict[str, str]:
    """What a form is about, and who sees it: what `outdated` compares later."""
    return {"rollout": str((model.get("rollout") or {}).get("id") or "none"), "actor": actor}


def outdated(form: Mapping[str, str], model: Mapping[str, Any], actor: str) -> str:
    """Why what a form says no longer holds; "": it does, or the form does not tell what it is about."""
    now = seen(model, actor)
    if form.get("actor", actor) != actor:
        return f"this form was not shown to {actor}, who is signed in now"
    if form.get("rollout", now["rollout"]) != now["rollout"]:
        return "another rollout is under way than when this form was shown"
    return ""


def _rollback(model: Mapping[str, Any], rollout: Mapping[str, Any]) -> list[Offer]:
    target, champion = model.get("rollback") or {}, model.get("champion")
    to = target.get("to")
    if to is None or rollout.get("phase") == "rolling_back":
        return []
    if target.get("moves_title"):
        says = f"Version {to} answers all clients at once; then @champion moves from version {champion} to {to}."
    else:
        says = f"Version {rollout.get('version')} gets no traffic any more, at once; version {to} goes on serving."
    if not target.get("ready"):
        says += f" Version {to} does not answer its readiness probe now: it will be refused unless that changes."
    seen = {"champion": str(champion or 0), "on_trial": str(rollout.get("version") or 0)}
    return [Offer("rollback", "Roll back", says, seen, grave=True)]


def _sign_off(rollout: Mapping[str, Any]) -> Offer:
    rules = _rules(rollout)
    people, signed = rules.get("people") or 1, len(rules.get("signatures") or ())
    version, reference = rollout.get("version"), rollout.get("reference")
    if signed + 1 < people:
        says = f"Your signature is number {signed + 1} of the {people} that version {version} needs."
    else:
        says = f"@champion moves from version {reference} to {version}, if the evidence is still what is shown here."
    return Offer("sign-off", "Sign off", says, {"evidence": str(rollout.get("evidence_digest") or "")}, grave=True)


def _rules(rollout: Mapping[str, Any]) -> Mapping[str, Any]:
    return rollout.get("sign_off") or {}
