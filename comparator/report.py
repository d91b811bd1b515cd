"""What the evidence comes to at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comparator.events import Mode
from comparator.guardrail import GuardrailReport, Verdict
from comparator.words import duration


@dataclass(frozen=True, slots=True)
class Report:
    """The evidence at one moment.

    Args:
        at: seconds since the epoch.
        mode: how traffic is shared.
        verdict: FAIL: roll back. PASS: all that this step needs is there, but for its minimum duration.
        reason: one plain sentence.
        blame: the guardrail that tipped a FAIL, else "".
        answers: of the trial version in this step.
        combined_e: the mean of the guardrails' e-values.
        threshold: 1 / alpha.
        guardrails: in the policy's order.
        missing: what a pass still needs besides the guardrails.
        seconds_left: about how long all that is missing takes at the present rate; None: nothing, or it cannot be
            told.
        coverage: shares labelled in shadow, by the first guardrail that can tell them: see `coverage.Coverage`.
        shed: share of this mode's copies that were shed; None: none were to be sent.
        left_out: observations that are no evidence, and labels and scores that are not legal, by reason. `repeated`:
            of the whole rollout, every row of an answer; the row of the same id had been answered before.
    """

    at: float
    mode: Mode
    verdict: Verdict
    reason: str
    blame: str
    answers: int
    combined_e: float
    threshold: float
    guardrails: tuple[GuardrailReport, ...]
    missing: tuple[str, ...]
    seconds_left: float | None
    coverage: tuple[float, float] | None
    shed: float | None
    left_out: Mapping[str, int]

    def as_data(self) -> dict[str, object]:
        """Plain data: no NaN, no infinity."""
        return {
            "at": self.at,
            "mode": self.mode.name.lower(),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "blame": self.blame,
            "answers": self.answers,
            "combined_e": self.combined_e,
            "threshold": self.threshold,
            "guardrails": [rail.as_data() for rail in self.guardrails],
            "missing": list(self.missing),
            "seconds_left": self.seconds_left,
            "coverage": list(self.coverage) if self.coverage is not None else None,
            "shed": self.shed,
            "left_out": dict(self.left_out),
        }


def reason(
    verdict: Verdict,
    rails: tuple[GuardrailReport, ...],
    missing: tuple[str, ...],
    left: float | None,
    blame: str,
) -> str:
    """One plain sentence.

    Args:
        verdict: of all.
        rails: the guardrails' reports.
        missing: what a pass still needs besides them.
        left: about how many seconds that takes; None: it cannot be told.
        blame: the guardrail that tipped a FAIL, else "".
    """
    if blame:
        return next(rail.reason for rail in rails if rail.name == blame)
    if verdict is Verdict.PASS:
        return "; ".join(rail.reason for rail in rails)
    waiting = [f"{rail.name}: {' and '.join(rail.missing)}" for rail in rails if rail.missing]
    about = f", about {duration(left)} more at this rate" if left is not None else ""
    return f"waiting for {'; '.join([*missing, *waiting])}{about}"
