"""What webhooks are asked about a rollout, and the decision that an answer calls for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comparator.confirming import WEBHOOK, Ask, is_waiting
from comparator.guardrail import Verdict
from comparator.phases import Phase
from comparator.rollout import Rollout
from comparator.sign_off import Screen

if TYPE_CHECKING:
    from comparator.events import Confirmation, Decision


@dataclass(frozen=True, slots=True)
class Question:
    """What a webhook is asked to confirm. The same question has the same `id`, however often it is asked.

    `verdict` and `evidence_digest` are of the evidence as it stands; before a start there is none.
    """

    ask: Ask
    webhook: str
    rollout_id: int
    step: int
    version: int
    champion: int
    phase: str
    policy_digest: str
    verdict: str = Verdict.INCONCLUSIVE.value
    evidence_digest: str = ""

    @property
    def id(self) -> str:
        """Within the model."""
        return f"{self.rollout_id}/{self.ask.value}/{self.step + 1}/{self.policy_digest[:16]}"


def questions(rollout: Rollout, at: float) -> list[Question]:
    """What webhooks are to be asked at `at`: what they have to confirm waits for nothing else."""
    outside = rollout.policy.outside
    if rollout.phase is Phase.HELD:
        ask, missing = Ask.START, rollout.confirmations.missing(Ask.START, outside)
        due = bool(missing) and not rollout.paused and is_waiting(rollout.hold_reason)
    else:
        ask, missing = Ask.PROMOTE, rollout.confirmations.missing(Ask.PROMOTE, outside)
        due = bool(missing) and rollout.before_title and rollout.free(at) and rollout.report(at).verdict is Verdict.PASS
    if not due:
        return []
    shown = Screen(rollout.rollout_id, rollout.step, rollout.report(at).as_data()) if ask is Ask.PROMOTE else None
    question = Question(
        ask=ask,
        webhook="",
        rollout_id=rollout.rollout_id,
        step=rollout.step,
        version=rollout.version,
        champion=rollout.reference,
        phase=rollout.phase.value,
        policy_digest=rollout.policy.digest,
        verdict=str(shown.report["verdict"]) if shown is not None else Verdict.INCONCLUSIVE.value,
        evidence_digest=shown.digest if shown is not None else "",
    )
    return [replace(question, webhook=name) for name in missing]


def answered(rollout: Rollout, fact: Confirmation) -> Decision | None:
    """What an answer calls for; None: nothing.

    A pass counts while it is being asked for, a failure for as long as its step lasts.
    """
    ask = Ask(fact.what)
    lasts = rollout.phase is Phase.HELD if ask is Ask.START else rollout.before_title
    if not lasts or (fact.rollout_id, fact.step) != (rollout.rollout_id, rollout.step):
        return None
    if fact.policy_digest != rollout.policy.digest:
        return None  # a held rollout goes by the policy of now: that one is asked about anew
    if fact.webhook not in rollout.confirmations.missing(ask, rollout.policy.outside):
        return None
    actor, what = f"{WEBHOOK}:{fact.webhook}", "start" if ask is Ask.START else "promotion"
    if fact.verdict == Verdict.FAIL.value:
        said = f"{fact.webhook} turned the {what} down: {fact.reason}"
        return _about(rollout.reject(fact.at, said, actor), fact)
    if fact.verdict == Verdict.PASS.value and any(each.webhook == fact.webhook for each in questions(rollout, fact.at)):
        said = f"{fact.webhook} confirmed the {what}: {fact.reason}"
        return _about(rollout.confirmed(fact.at, said, actor), fact)
    if fact.verdict == Verdict.INCONCLUSIVE.value:
        rollout.confirmations.latest[fact.what, fact.webhook] = fact
    return None


def _about(decision: Decision, fact: Confirmation) -> Decision:
    about = {"what": fact.what, "webhook": fact.webhook}
    return replace(decision, trigger=WEBHOOK, evidence={**decision.evidence, "confirmation": about})
