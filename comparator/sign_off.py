"""Signing off a version: what was on the screen, whether it still says the same, who may, and who has."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comparator.events import DecisionKind
from comparator.guardrail import Verdict
from comparator.policy import SignOff

if TYPE_CHECKING:
    from comparator.events import Decision
    from comparator.report import Report

NOBODY = "local:loopback"
"""The actor of a loopback connection without a token: this machine's operator, but nobody whom we recognised."""

SHOWN_SECONDS = 900.0
MOST_SHOWN = 2000

Says = tuple[int, str, tuple[tuple[str, str], ...]]
"""What evidence comes to: the step, the verdict, and each guardrail's."""


def says(step: int, report: Mapping[str, Any]) -> Says:
    """What a report, as plain data, comes to."""
    rails = tuple((str(rail["name"]), str(rail["verdict"])) for rail in report["guardrails"])
    return step, str(report["verdict"]), rails


@dataclass(frozen=True, slots=True)
class Screen:
    """What somebody was shown: a report as plain data, of one rollout at one step."""

    rollout_id: int
    step: int
    report: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def text(self) -> str:
        """Canonical JSON."""
        data = {"rollout_id": str(self.rollout_id), "step": self.step, "report": self.report}
        return json.dumps(data, sort_keys=True, separators=(",", ":"))


class Shown:
    """What was shown in the last 15 minutes, by its digest; the oldest make room.

    In memory: after a restart, people look again.
    """

    def __init__(self, most: int = MOST_SHOWN, seconds: float = SHOWN_SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, at: float, screen: Screen) -> str:
        """Remember what is shown at `at`; its digest."""
        digest = screen.digest
        self._kept.pop(digest, None)
        self._kept[digest] = (at, zlib.compress(screen.text.encode(), 1))
        self._forget(at)
        return digest

    def find(self, at: float, digest: str) -> Screen | None:
        """What has this digest; None: it was not shown, or too long ago."""
        self._forget(at)
        if digest not in self._kept:
            return None
        data = json.loads(zlib.decompress(self._kept[digest][1]))
        return Screen(int(data["rollout_id"]), data["step"], data["report"])

    def _forget(self, at: float) -> None:
        while self._kept:
            digest, (since, _) = next(iter(self._kept.items()))
            if len(self._kept) <= self._most and at - since <= self._seconds:
                return
            del self._kept[digest]


def turned(screen: Screen, rollout_id: int, step: int, report: Report) -> str | None:
    """Why a signature under what was on the screen is none under what there is now; None: it is."""
    if screen.rollout_id != rollout_id:
        return "what you looked at is the evidence of another rollout: look again"
    same = says(screen.step, screen.report) == says(step, report.as_data())
    if report.verdict is not Verdict.PASS:
        return f"the evidence {'is' if same else 'has turned since you looked, and is'} no pass: {report.reason}"
    return None if same else "the evidence has turned since you looked: look again"


def not_allowed(rules: SignOff, actor: str, registrants: Sequence[str], signed: Sequence[Signature]) -> str | None:
    """Why this actor may not sign; None: they may.

    Args:
        rules: the policy's.
        actor: who asks.
        registrants: who registered the version, as far as is known.
        signed: who has signed already.
    """
    if rules != SignOff() and actor == NOBODY:
        return "the policy says who may sign: expected a token, a loopback connection says nothing of who you are"
    if rules.by and actor not in rules.by:
        return f"the policy lets {', '.join(rules.by)} sign, not {actor}"
    if rules.not_registrant and not registrants:
        return (
            "unknown who registered the version, and the policy lets whoever did not sign; "
            "the registry's tag titleshot.registered_by says it"
        )
    if rules.not_registrant and actor.casefold() in {each.casefold() for each in registrants}:
        return f"{actor} registered the version, and the policy asks somebody else to sign"
    if any(actor.casefold() == each.name.casefold() for each in signed):
        return f"{actor} has signed already, and the policy asks {rules.people} different people to"
    return None


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed, when, the digest of what was on the screen, and what that came to."""

    name: str
    at: float
    evidence: str
    says: Says

    def as_data(self) -> dict[str, Any]:
        """Plain data for the ledger."""
        step, verdict, rails = self.says
        return {
            "name": self.name,
            "at": self.at,
            "evidence_digest": self.evidence,
            "says": {"step": step, "verdict": verdict, "guardrails": [list(rail) for rail in rails]},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Signature:
        """Read back what `as_data` wrote."""
        said = data["says"]
        rails = tuple((str(name), str(verdict)) for name, verdict in said["guardrails"])
        return cls(data["name"], data["at"], data["evidence_digest"], (said["step"], said["verdict"], rails))


def sign(actor: str, at: float, screen: Screen) -> Signature:
    """A signature under what was on the screen."""
    return Signature(actor, at, screen.digest, says(screen.step, screen.report))


def void(signed: Sequence[Signature], step: int, report: Report) -> bool:
    """Whether signatures no longer hold: what they are under says something else now."""
    return bool(signed) and any(each.says != says(step, report.as_data()) for each in signed)


def signing(signed: Sequence[Signature], screen: Screen) -> dict[str, Any]:
    """What a decision by signature keeps of it, besides the evidence as it was then."""
    return {"signatures": [each.as_data() for each in signed], "shown": dict(screen.report)}


def signatures_in(decision: Decision) -> tuple[Signature, ...]:
    """The signatures in force after a decision: those of a SIGNED one; every other ends the waiting, or voids them."""
    if decision.kind is not DecisionKind.SIGNED:
        return ()
    kept: Any = decision.evidence.get("sign_off", {})
    return tuple(Signature.from_data(each) for each in kept.get("signatures", ()))
