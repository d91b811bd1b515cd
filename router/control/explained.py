"""A recorded decision, made again from the evidence that was kept with it; the ledger is read beside its writer."""

from __future__ import annotations

from comparator.checkpoint import Unusable
from comparator.policy import Policy
from comparator.policy_error import PolicyError
from comparator.proof import FROM_EVIDENCE, Recomputed, recompute
from router.control.explanation import Explanation
from router.control.ledger.archive import Archive
from router.control.ledger.audit import Numbered, Record


def explained(archive: Archive, record: Record, found: Numbered) -> Explanation:
    """All that is known of one decision of a record. Raises LedgerUnavailable."""
    decision = found.decision
    before = tuple(each for each in record.decisions if each.seq < found.seq)
    policy, trouble = _policy(record.policies.get(decision.policy_digest))
    again: Recomputed | None = None
    if decision.state_digest and not trouble:
        state = archive.state(decision.state_digest)
        if policy is None:
            trouble = "its policy is not in the ledger any more, or was changed"
        elif state is None:
            trouble = "its evidence is not in the ledger any more, or was changed"
        else:
            try:
                again = recompute([each.decision for each in before], decision, state, policy)
            except Unusable as error:
                trouble = str(error)
    return Explanation(
        model=record.model,
        found=found,
        before=before,
        policy=policy,
        again=again,
        trouble=trouble,
        from_evidence=decision.kind in FROM_EVIDENCE and "guardrails" in decision.evidence,
        findings=record.until(found),
    )


def _policy(text: str | None) -> tuple[Policy | None, str]:
    """A policy, where it was kept; why it cannot be read."""
    if text is None:
        return None, ""
    try:
        return Policy.from_canonical(text), ""
    except (PolicyError, ValueError, TypeError, LookupError) as error:
        return None, f"its policy cannot be read by this version: {error}"
