"""One challenger's way through the steps: the state machine. The only place where phases change.

A rollout proposes decisions (`propose`); a proposal changes nothing until it is received back (`apply`), after whoever
drives the machine has recorded it. A restart applies the recorded facts in their order and arrives at the same state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comparator.checks import Checks, combined
from comparator.confirming import Ask, Confirmations
from comparator.events import JUDGE, AliasMove, Decision, DecisionKind, Mode
from comparator.evidence import Evidence
from comparator.guardrail import Verdict
from comparator.patience import Overdue, Patience, Stopwatch, deadline, silence
from comparator.phases import COMPARED, TERMINAL, TRANSITIONS, WAYS_OUT, Phase
from comparator.policy import Policy, Step, StepKind
from comparator.report import Report
from comparator.restraint import Then
from comparator.sign_off import Signature, signatures_in, void

if TYPE_CHECKING:
    from comparator.events import BreakerTripped, CheckResult, VersionFacts
    from comparator.pairing import Joined


_UNSEEN, _NO_HARM, _NOTHING = 0, 1, 2
"""Of the evidence as it stands: not looked at; no harm was found; nor, with the minimum over, a way forward."""

_STEP_PHASE = {StepKind.SHADOW: Phase.SHADOW, StepKind.CANARY: Phase.CANARY, StepKind.WATCH: Phase.WATCH}
_STEP_MODE = {StepKind.SHADOW: Mode.SHADOW, StepKind.CANARY: Mode.CANARY, StepKind.WATCH: Mode.WATCH}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rollout is about besides the version on trial; recorded as the evidence of HOLD and START."""

    reference: int  # the version it is compared with
    offline: Mapping[str, float]  # the evaluation metrics that the registry had for the version on trial
    registered_by: tuple[str, ...] = ()  # who had registered it

    def as_data(self) -> dict[str, object]:
        """Plain data for the ledger."""
        data: dict[str, object] = {"reference": self.reference, "offline": dict(self.offline)}
        return {**data, "registered_by": list(self.registered_by)} if self.registered_by else data

    @classmethod
    def from_data(cls, data: Mapping[str, object]) -> Subject:
        """Read back what `as_data` wrote."""
        reference, offline, by = data["reference"], data["offline"], data.get("registered_by", [])
        if not isinstance(reference, int) or not isinstance(offline, Mapping) or not isinstance(by, list):
            raise TypeError(f"not the subject of a rollout: {data!r}")
        return cls(reference, {str(name): float(value) for name, value in offline.items()}, tuple(map(str, by)))


class IllegalTransition(Exception):
    """A decision that the table does not know; the ledger and the code disagree."""


class Rollout:
    """The state of one rollout.

    Args:
        rollout_id: microseconds since the epoch when the challenger was named; unique per model.
        policy: pinned for the whole rollout.
        challenger: the version on trial, with its offline metrics.
        reference: the version it is compared with (the champion when the rollout began).
        sticky: clients stick to a side of the canary.
    """

    def __init__(
        self, rollout_id: int, policy: Policy, challenger: VersionFacts, reference: int, *, sticky: bool = False
    ) -> None:
        self.rollout_id = rollout_id
        self.policy = policy
        self.version = challenger.version
        self.reference = reference
        self.phase = Phase.HELD
        self.paused = False
        self.hold_reason = ""
        self.step = -1
        self.step_began_at = 0.0
        self.last: Decision | None = None
        self.started_at = math.inf  # when its first step began
        self.cap = 100  # a share lowered by hand while the rollout runs
        self.move: AliasMove | None = None
        self.signatures: tuple[Signature, ...] = ()  # while it waits for more of them
        self.subject = Subject(reference, challenger.offline, challenger.registered_by)
        self.evidence = Evidence(
            policy, trial=self.version, reference=reference, offline=challenger.offline, sticky=sticky
        )
        self.checks = Checks(policy.outside.checks)
        self.confirmations = Confirmations()
        self.looked = -1  # the last forward look of this step, counted from its beginning
        self._report: Report | None = None
        self._looked_at = 0.0  # when the evidence was looked at last
        self.lasts = Stopwatch()  # the step, or the wait for a sign-off
        self._patience = Patience()
        self._vain = _UNSEEN  # what a look at the evidence as it stands has found nothing for

    # ---- what the world needs to know

    @property
    def active(self) -> bool:
        """Whether this rollout is still under way."""
        return self.phase not in TERMINAL

    @property
    def current_step(self) -> Step | None:
        """The step whose traffic is on now, if any."""
        return self.policy.steps[self.step] if self.step >= 0 else None

    @property
    def mode(self) -> Mode:
        """How traffic is shared in this phase."""
        step = self.current_step
        if step is None or self.phase not in COMPARED:
            return Mode.NONE
        return _STEP_MODE[step.kind]

    @property
    def percent(self) -> int:
        """The share in effect, in integer percent: the step's, or less where it was lowered by hand."""
        step = self.current_step
        return 0 if step is None or self.phase not in COMPARED else min(step.percent, self.cap)

    def report(self, at: float) -> Report:
        """The evidence as it stands at `at` (seconds since the epoch)."""
        if self._report is None or self._report.at != at:
            checks = tuple(self.checks.reports(self.policy.outside.checks, at))
            self._report = combined(self.evidence.report(at), checks)
        return self._report

    def free(self, at: float) -> bool:
        """Whether nothing but its evidence, and others, keeps it in its step."""
        return self._late(at) and not self.paused and self._thaws_at(at) is None

    @property
    def before_title(self) -> bool:
        """Whether the promotion is the next step."""
        following = self.policy.steps[self.step + 1 : self.step + 2]
        return self.phase in (Phase.SHADOW, Phase.CANARY) and any(step.kind is StepKind.PROMOTE for step in following)

    # ---- facts

    def take(self, joined: Joined) -> None:
        """Take observations, once each, and the labels that they met; what is of other rollouts is left out."""
        if self.phase in COMPARED:
            self._changed(joined.size)
            self.evidence.take(joined.of_rollout(self.rollout_id))

    def take_result(self, result: CheckResult) -> None:
        """Take what a check found; what was asked in another step, or is no check of the policy, is left out."""
        check = next((each for each in self.policy.outside.checks if each.name == result.check), None)
        if (result.rollout_id, result.step) == (self.rollout_id, self.step) and check and self.phase in COMPARED:
            self._changed()
            self.checks.take(check, result)

    def deaf(self, until: float) -> None:
        """Answers of before may not have been heard: what silence there was does not count."""
        if self.phase in COMPARED:
            self.evidence.silence(until)

    def go_on(self, evidence: Evidence, looked: int) -> None:
        """Go on with the evidence of a checkpoint, and the number of the last forward look."""
        sticky = self.evidence.sticky
        self.evidence, self.looked = evidence, looked
        if self.phase in COMPARED:  # else nothing is asked any more, and the evidence stays as it was
            self.evidence.stick(self.percent, sticky=sticky)
            self.evidence.go_on(self.percent)
        self._changed()

    def stick(self, *, sticky: bool) -> None:
        """Whether clients stick to a side of the canary from here on."""
        if self.phase in COMPARED:
            self.evidence.stick(self.percent, sticky=sticky)
            self._changed()

    def lower(self, cap: int) -> None:
        """The share is capped by hand, in integer percent; 100: no longer."""
        if cap != self.cap:
            self.cap = cap
            self.evidence.ask(self.percent)
            self._changed()

    def _changed(self, rows: int = 1) -> None:
        """The evidence is another now, by so many rows."""
        if rows:
            self._report, self._vain = None, _UNSEEN

    # ---- proposals

    def propose(self, at: float) -> Decision | None:
        """What the evidence calls for at `at`, or None. Precedence: harm, then time, then proof.

        Harm is looked for at every call, proof once in the length of a time bucket: it changes no faster.
        """
        if self.phase not in COMPARED:
            return None
        harm = self.evidence.harm_possible or self.checks.failing(self.policy.outside.checks)
        forward = self._forward_due(at)
        if (harm or forward) and (backward := self._backward(at)) is not None:
            return backward
        if (overdue := self._overdue(at)) is not None:
            return self._told(at, overdue)
        if not harm and not forward:
            return None
        report = self.report(at)
        self._look(at)
        free = self.free(at)
        self._vain = max(self._vain, _NOTHING if forward and free else _NO_HARM)
        if not forward or not free or report.verdict is not Verdict.PASS:
            return None
        if self.phase is Phase.WATCH:
            return self._decision(DecisionKind.FINISH, at, report.reason, Phase.PROMOTED)
        if self.phase in (Phase.SHADOW, Phase.CANARY):
            return self._forward(at, report.reason)
        return None

    def _backward(self, at: float) -> Decision | None:
        if (tripped := self.evidence.tripped) is not None:
            return self.roll_back(at, tripped, trigger="breaker")
        report = self.report(at)
        if report.verdict is Verdict.FAIL:
            return self.roll_back(at, report.reason, trigger=report.blame)
        if void(self.signatures, self.step, report):
            return self.unsigned(at, "the evidence has turned since it was signed: look again")
        return None

    def _overdue(self, at: float, silent_seconds: float = 0.0) -> Overdue | None:
        """What has not come in time; `silent_seconds`: the longest silence, if it is over by now."""
        if self.paused or (step := self.current_step) is None:
            return None
        what = f"step {self.step + 1} ({step.kind.value})"
        if self.phase is Phase.SIGN_OFF:
            step, what = self.policy.steps[self.step + 1], "the wait for a sign-off"
        over = self.phase is Phase.PROMOTING  # the step is: what is waited for is the registry
        restraint, silent_since = self.policy.restraint, self.evidence.silent_since
        return self._patience.first(
            None if over else deadline(at, self.lasts, step.within_seconds, step.at_deadline, what),
            silence(
                max(at, silent_since + silent_seconds),
                silent_since,
                restraint.no_data_seconds,
                Then.NOTIFY if self.phase in (Phase.PROMOTING, Phase.WATCH) else restraint.no_data_then,
            ),
        )

    def _told(self, at: float, overdue: Overdue) -> Decision:
        waits = self.report(at).reason
        reason = f"{overdue.reason}: {waits}"
        if overdue.then is Then.ABORT:
            return replace(self.end(DecisionKind.ABORT, at, reason), trigger=overdue.trigger)
        return replace(self._decision(DecisionKind.NOTIFY, at, reason, self.phase), trigger=overdue.trigger)

    def _thaws_at(self, at: float) -> float | None:
        """When the policy's freeze windows let a challenger go forward again; None: they do now."""
        return None if self.phase is Phase.WATCH else self.policy.restraint.frozen_until(at)

    def pass_over(self, at: float) -> bool:
        """Leave out the looks since the last one, up to `at`, if none of them can have found anything to decide.

        For a record that is judged faster than it was made. False: one of them might have; nothing was left out. What a
        look has found nothing for is not found by the next one either, while nothing is received: a report goes by the
        clock only in what it says of the time that is left. What the clock alone can bring is the step's minimum, its
        deadline, too long a silence, or the end of a freeze window.
        """
        if self.phase in COMPARED:
            if self._vain < _NO_HARM and self.evidence.harm_possible:
                return False
            if self._overdue(at, self.evidence.longest_silence) is not None:
                return False
            forward = self._late(at) and self._forward_due(at) and not self.paused
            if forward and (thaws := self._thaws_at(self._looked_at)) is not None and at < thaws:
                forward = False  # frozen since the last look
            if forward and self._vain < _NOTHING and self.evidence.pass_possible:
                return False
            self._look(at)
        return True

    def _late(self, at: float) -> bool:
        """Whether the step has lasted its minimum."""
        step = self.current_step
        return step is not None and at - self.step_began_at >= step.min_seconds

    def _look(self, at: float) -> None:
        self.evidence.look()
        self.looked, self._looked_at = self._look_number(at), at

    def _look_number(self, at: float) -> int:
        return math.floor((at - self.step_began_at) / self.policy.bucket_seconds)

    def _forward_due(self, at: float) -> bool:
        return self._look_number(at) > self.looked

    def on_breaker(self, fact: BreakerTripped) -> Decision | None:
        """The data plane cut the challenger off and its probes found it still failing."""
        if self.phase not in COMPARED or fact.rollout_id != self.rollout_id:
            return None
        reason = (
            f"circuit breaker: {fact.failed} of its last {fact.seen} answers failed, and the probes after the wait too"
        )
        return self.roll_back(fact.at, reason, trigger="breaker")

    def confirmed(self, at: float, reason: str, actor: str) -> Decision:
        """Take note that somebody who was asked says that it may go on."""
        return self._decision(DecisionKind.CONFIRMED, at, reason, self.phase, actor)

    def start(self, at: float, reason: str, actor: str = JUDGE) -> Decision:
        """Enter the first step."""
        return replace(self._decision(DecisionKind.START, at, reason, self._phase_of(0), actor), step=0)

    def hold(self, at: float, reason: str) -> Decision:
        """Say why the first step may not be entered yet."""
        return self._decision(DecisionKind.HOLD, at, reason, Phase.HELD)

    def promote(self, at: float, reason: str, actor: str = JUDGE) -> Decision:
        """Call for @champion to be moved here."""
        decision = self._decision(DecisionKind.PROMOTE, at, reason, Phase.PROMOTING, actor)
        return replace(decision, move=AliasMove(expected=self.reference, to=self.version))

    def signed(self, at: float, reason: str, actor: str) -> Decision:
        """Take note of one of several signatures."""
        return self._decision(DecisionKind.SIGNED, at, reason, Phase.SIGN_OFF, actor)

    def unsigned(self, at: float, reason: str) -> Decision:
        """The signatures so far are void."""
        return self._decision(DecisionKind.UNSIGNED, at, reason, Phase.SIGN_OFF)

    def reject(self, at: float, reason: str, actor: str) -> Decision:
        """A person, or a webhook, turns the version down: out, as in a rollback."""
        return self._decision(DecisionKind.REJECT, at, reason, Phase.ROLLING_BACK, actor)

    def roll_back(self, at: float, reason: str, actor: str = JUDGE, trigger: str = "") -> Decision:
        """Take the challenger out; where it has, or may have, the title already, @champion goes back."""
        decision = self._decision(DecisionKind.ROLL_BACK, at, reason, Phase.ROLLING_BACK, actor)
        titled = self.phase in (Phase.PROMOTING, Phase.WATCH)
        move = AliasMove(expected=self.version, to=self.reference) if titled else None
        return replace(decision, move=move, trigger=trigger)

    def end(self, kind: DecisionKind, at: float, reason: str, actor: str = JUDGE) -> Decision:
        """Abort or supersede."""
        phase = Phase.SUPERSEDED if kind is DecisionKind.SUPERSEDE else Phase.ABORTED
        return self._decision(kind, at, reason, phase, actor)

    def toggle(self, kind: DecisionKind, at: float, reason: str, actor: str) -> Decision:
        """Pause or resume: nothing advances while paused, harm still rolls back."""
        return self._decision(kind, at, reason, self.phase, actor)

    def moved(self, at: float, reason: str, actor: str = JUDGE) -> Decision:
        """The registry confirmed what PROMOTING or ROLLING_BACK waited for."""
        if self.phase is Phase.ROLLING_BACK:
            return replace(self._decision(DecisionKind.MOVED, at, reason, Phase.ROLLED_BACK, actor), move=self.move)
        watch = next((i for i, step in enumerate(self.policy.steps) if step.kind is StepKind.WATCH), -1)
        phase = Phase.PROMOTED if watch < 0 else Phase.WATCH
        return replace(self._decision(DecisionKind.MOVED, at, reason, phase, actor), step=watch, move=self.move)

    # ---- what was recorded becomes so

    def check(self, decision: Decision) -> None:
        """Raise IllegalTransition if the table has no such change of phase."""
        if decision.kind in (DecisionKind.PAUSE, DecisionKind.RESUME, DecisionKind.NOTIFY):
            return
        target = Phase(decision.phase)
        if target not in TRANSITIONS.get((self.phase, decision.kind), frozenset()):
            raise IllegalTransition(f"{decision.kind.value} from {self.phase.value} to {target.value}")

    def apply(self, decision: Decision) -> None:
        """Change phase as a recorded decision says.

        Raises:
            IllegalTransition: the table has no such change of phase; nothing was changed.
        """
        self.check(decision)
        self._changed()
        if decision.kind in (DecisionKind.PAUSE, DecisionKind.RESUME):
            self.paused = decision.kind is DecisionKind.PAUSE
            self.lasts.toggle(decision.at, paused=self.paused)
            self.deaf(decision.at)  # what a person knew of is no reason to end it
            self.last = decision
            return
        if decision.kind is DecisionKind.NOTIFY:
            self._patience.tell(decision.trigger, decision.at)
            self.last = decision
            return
        if decision.kind is DecisionKind.CONFIRMED:
            self.confirmations.apply(decision)
        self.phase = Phase(decision.phase)
        self.signatures = signatures_in(decision)
        self.last = decision
        if decision.kind is not DecisionKind.CONFIRMED:  # others may have to confirm as well
            self.hold_reason = decision.reason if decision.kind is DecisionKind.HOLD else ""
        self.move = decision.move
        if decision.kind is DecisionKind.AWAIT_SIGN_OFF:
            self.lasts.begin(decision.at, self.policy.restraint.freeze, paused=self.paused)
        if decision.kind is DecisionKind.START:
            self.started_at = decision.at
        if decision.step >= 0 and decision.step != self.step:
            self.step = decision.step
            self.step_began_at = decision.at
            self.cap = 100
            self.looked = -1
            step = self.policy.steps[self.step]
            freeze = () if step.kind is StepKind.WATCH else self.policy.restraint.freeze  # see `_thaws_at`
            self.lasts.begin(decision.at, freeze, paused=self.paused)
            self.evidence.enter(_STEP_MODE[step.kind], decision.at, step.percent)
            self.checks.enter()

    # ---- inside

    def _phase_of(self, index: int) -> Phase:
        return _STEP_PHASE[self.policy.steps[index].kind]

    def _forward(self, at: float, reason: str) -> Decision | None:
        following = self.step + 1
        if following >= len(self.policy.steps):
            return None  # a manual split: compared and guarded, never promoted by itself
        step = self.policy.steps[following]
        if step.kind is StepKind.PROMOTE and self.confirmations.missing(Ask.PROMOTE, self.policy.outside):
            return None  # see `asking`
        if step.kind is not StepKind.PROMOTE:
            decision = self._decision(DecisionKind.ADVANCE, at, reason, self._phase_of(following))
            return replace(decision, step=following)
        if step.sign_off:
            return self._decision(DecisionKind.AWAIT_SIGN_OFF, at, reason, Phase.SIGN_OFF)
        return self.promote(at, reason)

    def _decision(self, kind: DecisionKind, at: float, reason: str, phase: Phase, actor: str = JUDGE) -> Decision:
        return Decision(
            kind=kind,
            at=at,
            rollout_id=self.rollout_id,
            version=self.version,
            reason=reason,
            actor=actor,
            phase=phase.value,
            policy_digest=self.policy.digest,
            evidence=self._rests_on(kind, at),
        )

    def _rests_on(self, kind: DecisionKind, at: float) -> Mapping[str, object]:
        """What a decision rests on. A fault of ours in telling it may keep no version in."""
        if self.phase not in COMPARED:
            return self.subject.as_data()
        try:
            return self.report(at).as_data()
        except Exception as error:
            if kind not in WAYS_OUT:
                raise
            return {**self.subject.as_data(), "untold": f"{type(error).__name__}: {error}"}
