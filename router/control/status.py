"""What is going on, as plain data: for `titleshot status`, the console and scripts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from comparator.class_code import FIRST_CODE
from comparator.events import Role
from comparator.guardrail import Estimate
from comparator.phases import COMPARED, Phase
from comparator.policy import Policy
from comparator.rail import code
from comparator.rollout import Rollout
from comparator.sign_off import Screen
from comparator.title import Title
from router.control.controller import ModelController
from router.control.follow import Follower
from router.control.probe import Prober
from router.settings.lanes import model_of


def _said(value: float, policy: Policy) -> float | str | None:
    """A prediction as people read it: of a class that is a text its name, where the policy has it."""
    if not math.isfinite(value):
        return None
    if not policy.multiclass or value < FIRST_CODE:
        return value
    rails = policy.guardrails
    named = (each for rail in rails for each in (rail.of, *(rail.classes or ())) if each is not None)
    return next((each for each in named if code(each) == value), "another class")


def plane_status(
    controllers: Mapping[str, ModelController],
    followers: Mapping[str, Follower],
    prober: Prober,
    skew: Callable[[str], Mapping[str, Any] | None] = lambda _: None,
) -> dict[str, Any]:
    """All models; `skew` says of one what `SkewWatch.told` does."""
    return {
        "at": time.time(),
        "models": {
            name: {
                **model_status(
                    controller,
                    followers[name],
                    prober.ready(name),
                    [lane for lane in controllers if lane != name and model_of(lane) == name],
                ),
                "skew": skew(name),
            }
            for name, controller in controllers.items()
        },
    }


def model_status(
    controller: ModelController, follower: Follower, ready: frozenset[int], lanes: Sequence[str] = ()
) -> dict[str, Any]:
    """One model, or lane: aliases, traffic, rollout, evidence, what was counted per role, and the registry's state."""
    title = controller.title
    serving, aliases, rollout = title.serving, title.aliases, title.rollout
    roles = {Role.CHAMPION: serving.champion, serving.other_role: serving.other}
    return {
        "champion": serving.champion,
        "challenger": aliases.challenger if aliases else None,
        "previous": aliases.previous if aliases else None,
        "lanes": sorted(lanes),
        "lane": {"of": model_of(controller.name), "alias": title.alias} if title.lane is not None else None,
        "awaited": title.awaited,
        "pending": {"expected": title.pending.expected, "to": title.pending.to} if title.pending else None,
        "ready": sorted(ready),
        "traffic": {"mode": serving.mode.name.lower(), "share": serving.share, "mirror": serving.mirror},
        "rules": [
            {"when": rule.when, "to": rule.to} for rule in follower.settings.rules
        ],  # who knows a value may send it
        "roles": {
            role.name.lower(): _version(title, version) for role, version in roles.items() if version is not None
        },
        "rollback": _rollback(title, ready),
        "rollout": _rollout(title, rollout, controller.last_tick) if rollout else None,
        "disagreements": [
            {
                "at": each.at,
                "request_id": str(UUID(int=each.request)),
                "row": each.row,
                "versions": list(each.version),
                "predicted": [_said(value, title.policy) for value in each.predicted],
            }
            for each in title.disagreements.latest()
        ],
        "agreement": _agreement(title),
        "labels": {
            "matched": title.pairing.matched,
            "predictions_waiting": title.pairing.predictions_waiting,
            "labels_waiting": title.pairing.labels_waiting,
            "duplicates": title.pairing.duplicates,
            "conflicts": title.pairing.conflicts,
            "expired": title.pairing.expired,
        },
        "observations_lost": controller.lost_rows,
        "observations_repeated": title.pairing.repeated,
        "frozen": title.rollbacks.frozen,
        "fault": title.fault,
        "untold": title.notices.as_data(),
        "registry": {"read_at": follower.read_at, "error": follower.error},
        "policy_digest": title.policy.digest,
    }


def _version(title: Title, version: int) -> dict[str, Any]:
    score = title.scoreboard.score(version)
    return {
        "version": version,
        "answers": score.answers,
        "failed": score.failed,
        "labelled": dict(score.labelled),
        "precision": _estimate(score.precision),
        "p50_seconds": score.p50,
        "p99_seconds": score.p99,
    }


def _agreement(title: Title) -> dict[str, Any]:
    """How often answers to the same request agree, in the latest rollout that had a shadow."""
    found = {"challenger": title.agreement.challenger, "itself": title.agreement.itself}
    agreed = {beside: pairs.agreed(title.policy.alpha) for beside, pairs in found.items()}
    return {
        beside: {
            "ratio": _estimate(each.ratio),
            "score_distance": _estimate(each.score_distance),
            "score_shift": asdict(each.score_shift) if each.score_shift is not None else None,
        }
        for beside, each in agreed.items()
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "lower": estimate.lower, "upper": estimate.upper, "count": estimate.count}


def _rollback(title: Title, ready: frozenset[int]) -> dict[str, Any]:
    """Who would serve after a rollback that names no version, and whether that one is ready."""
    to = title.way_back
    if to is None and title.on_trial is not None:
        to = title.champion  # it goes on serving; the challenger goes
    return {"to": to, "ready": to in ready, "moves_title": to is not None and to != title.champion}


def _rollout(title: Title, rollout: Rollout, at: float) -> dict[str, Any]:
    step, policy_digest = rollout.current_step, title.policy.digest
    report = rollout.report(at).as_data() if rollout.phase in COMPARED and at else None
    return {
        "id": str(rollout.rollout_id),  # more digits than a double holds
        "version": rollout.version,
        "reference": rollout.reference,
        "phase": rollout.phase.value,
        "active": rollout.active,
        "paused": rollout.paused,
        "hold_reason": rollout.hold_reason,
        "step": rollout.step,
        "steps": [
            {"kind": each.kind.value, "percent": each.percent, "min_seconds": each.min_seconds}
            for each in rollout.policy.steps
        ],
        "step_began_at": rollout.step_began_at if step is not None else None,
        "policy_digest": rollout.policy.digest,
        "policy_pending": rollout.active and rollout.policy.digest != policy_digest,
        "evidence": report,
        "evidence_digest": _shown(title, rollout, report) if report is not None else None,
        "sign_off": _sign_off(rollout),
        "confirmations": _confirmations(title, rollout, at),
        "last_decision": None
        if rollout.last is None
        else {"kind": rollout.last.kind.value, "at": rollout.last.at, "reason": rollout.last.reason},
    }


def _shown(title: Title, rollout: Rollout, report: Mapping[str, Any]) -> str:
    """The digest of the evidence that this status shows; remembered while somebody may sign off under it."""
    screen = Screen(rollout.rollout_id, rollout.step, report)
    return title.shown.keep(time.time(), screen) if rollout.phase is Phase.SIGN_OFF else screen.digest


def _confirmations(title: Title, rollout: Rollout, at: float) -> list[dict[str, Any]]:
    """What webhooks have said, and of whom an answer is waited for now."""
    waited_for = {(each.ask.value, each.webhook) for each in title.questions(at)} if rollout.active else set()
    said = [each for each in rollout.confirmations.as_data() if rollout.active or each["verdict"] == "pass"]
    known = {(each["what"], each["webhook"]) for each in said}
    return said + [
        {"what": what, "webhook": webhook, "verdict": "inconclusive", "reason": "not answered yet", "at": None}
        for what, webhook in sorted(waited_for - known)
    ]


def _sign_off(rollout: Rollout) -> dict[str, Any] | None:
    """Who may sign off, and who has; None: the policy asks nobody to."""
    rules = rollout.policy.sign_off
    if rules is None:
        return None
    return {
        "by": list(rules.by),
        "people": rules.people,
        "not_registrant": rules.not_registrant,
        "signatures": [
            {"name": each.name, "at": each.at, "evidence_digest": each.evidence} for each in rollout.signatures
        ],
    }
