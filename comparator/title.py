"""Who holds one model's title: the aliases as last read, the rollout under way, and the versions that had their shot.

`receive` takes every fact about the model, in order, and returns the decisions that the fact calls for. They change
nothing until they are received back as facts, which whoever drives this does once they are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comparator import gate, gated
from comparator.acts import Refused, asked_for
from comparator.agreement import Agreement
from comparator.asking import Question, answered, questions
from comparator.confirming import Ask, Confirmations, Notices, waiting
from comparator.disagreements import Disagreements
from comparator.endings import Endings
from comparator.events import (
    AliasesRead,
    AliasMove,
    BreakerTripped,
    CheckResult,
    Command,
    Confirmation,
    Decision,
    DecisionKind,
    Gated,
    Labels,
    Mode,
    Notified,
    Observations,
    Role,
    Tick,
    VersionFacts,
)
from comparator.guardrail import Verdict
from comparator.lane import Lane
from comparator.pairing import Pairing
from comparator.phases import Phase
from comparator.policy import Policy
from comparator.restraint import Rollbacks
from comparator.rollout import Rollout, Subject
from comparator.scoreboard import Scoreboard
from comparator.sign_off import Shown

if TYPE_CHECKING:
    from comparator.events import Fact
    from comparator.pairing import Joined

REGISTRY = "registry"
"""The actor of what somebody did in the registry, by hand."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves one model's traffic, as the routes should have it."""

    champion: int | None
    other: int | None = None  # the challenger; in a watch the previous champion
    other_role: Role = Role.CHALLENGER
    mode: Mode = Mode.NONE
    rollout_id: int = 0
    share: int = 0  # percent of the clients answered by `other`
    mirror: int = 0  # percent of the traffic copied to `other`
    previous: int | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What the registry still has to be told. Idempotent; carried out in this order: move, previous, marks, aliases."""

    move: AliasMove | None = None  # of @champion
    previous: int | None = None  # @previous := this
    marks: tuple[tuple[int, str], ...] = ()  # (version, "promoted" | "rejected" | "aborted")
    set_challenger: int | None = None
    clear_challenger: int | None = None  # @challenger is deleted if it names this version
    confirms: bool = False  # MOVED is received once it is done
    proof: str = ""  # where the record's chain ends: tagged on what is marked or promoted; added by who carries it out


_ENDED_AS = {
    Phase.PROMOTED: "promoted",
    Phase.WATCH: "promoted",
    Phase.ROLLED_BACK: "rejected",
    Phase.ABORTED: "aborted",
}


class Title:
    """The state of one model.

    Args:
        policy: applies to the next rollout; one under way keeps the policy it began with.
        policies: recorded policies by digest, needed when recorded decisions are received again after a restart.
        sticky: clients of a canary stick to a side, by a header: its split of requests is not judged.
        seed: of the table of what waits for its label; a secret one where clients may choose ids. Decides nothing.
        lane: it is that of a lane, whose alias stands in the place of @challenger; None: it is a model's.
    """

    def __init__(
        self,
        policy: Policy,
        policies: dict[str, Policy] | None = None,
        *,
        sticky: bool = False,
        seed: int = 0,
        lane: Lane | None = None,
    ) -> None:
        self.policy = policy
        self.lane = lane
        self._sticky = sticky
        self.policies = {**(policies or {}), policy.digest: policy}
        self.aliases: AliasesRead | None = None
        self.champion: int | None = None  # whose endpoint serves: the alias, once its endpoint was ready
        self.awaited: int | None = None  # @champion names it, but its endpoint is not ready
        self.rollout: Rollout | None = None
        self.pending: AliasMove | None = None  # a decided move of @champion that the registry has yet to confirm
        self.finished: dict[tuple[int, str], str] = {}  # (version, policy digest) -> promoted | rejected | aborted
        self.endings = Endings()  # the decisions behind `finished`, until the registry tells of them
        self.held: set[int] = set()  # versions that have had the title, as far as is recorded
        self.retry: int | None = None
        self.rollbacks = Rollbacks()
        self.gates: dict[tuple[int, str, int], gated.Outcome] = {}  # (version, policy digest, champion) -> the latest
        self.ready: frozenset[int] = frozenset()  # versions whose endpoint answered its last readiness probe
        self.uncleared = False  # the rollout is over, and @challenger may still name its version
        self.pairing = Pairing(policy.label_retention_seconds, grace_seconds=policy.label_grace_seconds, seed=seed)
        self.scoreboard = Scoreboard(policy.alpha)
        self.disagreements = Disagreements()
        self.agreement = Agreement()
        self.notices = Notices()  # rollbacks that webhooks have yet to be told of
        self.shown = Shown()  # what people who may sign off have seen
        self.fault = ""  # why some evidence could not be taken; nothing goes forward from then on
        self.cause: Exception | None = None  # of that

    # ---- facts in, decisions out

    def receive(self, fact: Fact) -> list[Decision]:
        """Take one fact; return the decisions that it calls for.

        Raises:
            Refused: a command that cannot be carried out now, or a report of the gate that does not fit.
            IllegalTransition: a recorded decision that does not follow from the state; nothing was changed.
        """
        match fact:
            case Observations():
                joined = self.pairing.observe(fact.columns)
                self.scoreboard.observe(fact.columns, joined, multiclass=self.policy.multiclass)
                self.disagreements.take(joined.paired)
                self.agreement.take(joined.paired)
                if self.rollout is not None:
                    self.rollout.take(joined)
            case Labels():
                self._labelled(self.pairing.label(fact.columns))
            case Tick():
                return self._on_tick(fact)
            case BreakerTripped():
                return self._possible(self.rollout.on_breaker(fact)) if self.rollout is not None else []
            case CheckResult() | Confirmation() | Notified():
                return _some(self._from_others(fact))
            case AliasesRead():
                return self._on_aliases(fact)
            case Command():
                return [self._on_command(fact)]
            case Gated():
                return [gated.reported(fact, self.champion, self.policy)]
            case Decision():
                self._apply(fact)
        return []

    def take(self, fact: Observations | Labels | CheckResult) -> None:
        """Receive what is evidence; a fault of ours in doing so is kept in `fault`."""
        self.guarded(lambda: self.receive(fact))

    def guarded(self, work: Callable[[], object]) -> None:
        """Take evidence; a fault of ours in doing so is kept in `fault`.

        It may end neither the other models nor people's way to roll back, and who has not taken everything lets nothing
        pass.
        """
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told and kept, see above
            self.fault = f"some of the evidence could not be taken ({type(error).__name__}: {error})"
            self.cause = error

    def _on_tick(self, fact: Tick) -> list[Decision]:
        self.guarded(lambda: self._time_passes(fact.at))
        if self.rollout is None or self.fault:
            return []
        if fact.deaf:
            self.rollout.deaf(fact.at)
        return self._possible(self.rollout.propose(fact.at))

    def _time_passes(self, at: float) -> None:
        self.pairing.expire(at)
        if (due := self.pairing.come_due(at)) is not None:
            self._labelled(due)

    def _from_others(self, fact: CheckResult | Confirmation | Notified) -> Decision | None:
        if isinstance(fact, Notified):
            return self.notices.receive(fact, self.policy.digest)
        if self.rollout is None:
            return None
        if isinstance(fact, Confirmation):
            return answered(self.rollout, fact)
        self.rollout.take_result(fact)  # the next tick looks at it
        return None

    def _labelled(self, joined: Joined) -> None:
        self.scoreboard.label(joined, multiclass=self.policy.multiclass)
        if self.rollout is not None:
            self.rollout.take(joined)

    def adopt(self, policy: Policy, *, sticky: bool | None = None) -> None:
        """A new policy: for the next rollout; of the one under way only the share may be lowered at once.

        Whether clients stick to a side holds at once, as their assignment does (None: as before).
        """
        if sticky is not None and sticky is not self._sticky:
            self._sticky = sticky
            if self.rollout is not None:
                self.rollout.stick(sticky=sticky)
        self.policy = policy
        self.policies[policy.digest] = policy
        self._lower_share()

    def moved(self, at: float, reason: str) -> Decision | None:
        """The effect that confirms is done: the decision that takes note of it."""
        if self.rollout is not None and self.rollout.phase in (Phase.PROMOTING, Phase.ROLLING_BACK):
            return replace(self.rollout.moved(at, reason), move=self.pending)
        if self.pending is not None:
            return Decision(
                DecisionKind.MOVED, at, 0, self.pending.to, reason, move=self.pending, policy_digest=self.policy.digest
            )
        return None

    # ---- what the world needs to know

    @property
    def serving(self) -> Serving:
        """Who serves, given the aliases last read and what is decided but not yet confirmed."""
        previous = self.aliases.previous if self.aliases is not None else None
        rollout = self.rollout
        if rollout is None or rollout.mode is Mode.NONE:
            return Serving(champion=self.champion, previous=previous)
        if rollout.mode is Mode.WATCH:
            return Serving(
                champion=self.champion,
                other=rollout.reference,
                other_role=Role.PREVIOUS,
                mode=Mode.WATCH,
                rollout_id=rollout.rollout_id,
                mirror=rollout.percent,
                previous=rollout.reference,
            )
        canary = rollout.mode is Mode.CANARY
        return Serving(
            champion=self.champion,
            other=rollout.version,
            mode=rollout.mode,
            rollout_id=rollout.rollout_id,
            share=rollout.percent if canary else 0,
            mirror=0 if canary else rollout.percent,
            previous=previous,
        )

    @property
    def effect(self) -> Effect | None:
        """What the registry still has to be told, or None."""
        rollout = self.rollout
        if self.lane is not None:
            taken_out = rollout is not None and rollout.phase is Phase.ROLLING_BACK
            return Effect(marks=((rollout.version, "rejected"),), confirms=True) if taken_out and rollout else None
        if self.pending is not None:
            promoting = rollout is not None and rollout.phase is Phase.PROMOTING
            return Effect(
                move=self.pending,
                previous=self.pending.expected,
                marks=() if promoting else tuple((version, "rejected") for version in self._rejecting()),
                clear_challenger=None if promoting or rollout is None else rollout.version,
                confirms=True,
            )
        if rollout is not None and rollout.phase is Phase.ROLLING_BACK:
            return Effect(marks=((rollout.version, "rejected"),), clear_challenger=rollout.version, confirms=True)
        named = self.aliases.challenger if self.aliases is not None else None
        if self.retry is not None:
            return Effect(set_challenger=self.retry) if named != self.retry else None
        ended = self._ended_as(named) if named is not None else None
        if named is not None and ended is not None:
            return Effect(marks=((named, ended),), clear_challenger=named)
        return None

    # ---- the registry

    def _on_aliases(self, read: AliasesRead) -> list[Decision]:
        self.aliases, self.ready = read, read.ready
        if self.rollout is not None and read.challenger != self.rollout.version:
            self.uncleared = False
        if self.retry is not None and read.challenger == self.retry:
            self.retry = None
        foreign = self._follow_champion(read)
        return [foreign] if foreign is not None else self._follow_challenger(read)

    def _follow_champion(self, read: AliasesRead) -> Decision | None:
        named = read.champion
        self.awaited = None
        if named is None or named == self.champion:
            return None  # an alias that is gone moves nobody: the last good route stays
        if self.champion is None:
            self.champion = named  # nothing serves yet: rather a server that is still starting than none
            return None
        if self.pending is not None and named in (self.pending.expected, self.pending.to):
            return None  # our own move, not yet confirmed
        if named not in read.ready:
            self.awaited = named
            return None
        return Decision(
            DecisionKind.FOREIGN_MOVE,
            read.at,
            rollout_id=self.rollout.rollout_id if self.rollout is not None and self.rollout.active else 0,
            version=named,
            reason=f"@champion was moved from version {self.champion} to {named} in the registry, not by titleshot"
            if self.lane is None
            else f"@champion was moved from version {self.champion} to {named}: what was compared with it is no more",
            actor=REGISTRY,
            phase=Phase.ABORTED.value,
            move=AliasMove(expected=self.champion, to=named),
            policy_digest=(self.rollout if self.on_trial is not None and self.rollout else self).policy.digest,
        )

    def _follow_challenger(self, read: AliasesRead) -> list[Decision]:
        named, rollout = read.challenger, self.rollout
        if rollout is not None and rollout.active:
            if rollout.phase is Phase.HELD and named == rollout.version:
                if rollout.paused:
                    return []
                return _some(self._start_or_hold(read, rollout.rollout_id, named, rollout.hold_reason))
            if named == rollout.version or rollout.phase in (Phase.PROMOTING, Phase.WATCH, Phase.ROLLING_BACK):
                return []
            if named is None or named == self.champion:
                reason = f"@{self.alias} no longer names version {rollout.version}"
                return [rollout.end(DecisionKind.ABORT, read.at, reason, REGISTRY)]
            reason = f"@{self.alias} was moved from version {rollout.version} to {named}"
            return [rollout.end(DecisionKind.SUPERSEDE, read.at, reason, REGISTRY)]  # the next read starts the new one
        if named is None or self.champion is None or named == self.champion or self.pending is not None:
            return []
        if self._ended_as(named) is not None or self.awaited is not None:
            return []
        return _some(self._start_or_hold(read, int(read.at * 1e6), named, held=""))

    def _start_or_hold(self, read: AliasesRead, rollout_id: int, version: int, held: str) -> Decision | None:
        """Start, or say why not; None where that has been said already (`held`)."""
        champion = self.champion
        if champion is None:
            return None
        challenger = read.versions.get(version, VersionFacts(version))
        digest, gates = (self.policy.digest, self.gates) if self.lane is None else self.lane.gates()
        staged = gates.get((version, digest, champion))
        checked = gate.judge(self.policy, challenger, read.versions.get(champion, VersionFacts(champion)), staged)
        rollout = Rollout(rollout_id, self.policy, challenger, champion, sticky=self._sticky)
        rollout.confirmations = self._confirmations(rollout_id, self.policy.digest)
        if checked.verdict is not Verdict.PASS:
            reason = checked.reason
        elif version not in read.ready:
            reason = f"the endpoint of version {version} has not answered its readiness probe"
        elif self.fault:
            reason = self.fault
        elif restrained := self.rollbacks.why_not(read.at, self.policy.restraint):
            reason = restrained
        elif unconfirmed := rollout.confirmations.missing(Ask.START, self.policy.outside):
            reason = waiting(unconfirmed)
            held = held if self._same(rollout_id, self.policy.digest) else ""  # of another policy: others are asked
        else:
            return rollout.start(read.at, f"@{self.alias} names version {version}; {checked.reason}")
        return rollout.hold(read.at, reason) if reason != held else None

    def questions(self, at: float) -> list[Question]:
        """What webhooks are to be asked to confirm now."""
        return questions(self.rollout, at) if self.rollout is not None and self.rollout.active else []

    def _confirmations(self, rollout_id: int, policy_digest: str) -> Confirmations:
        """What webhooks have said of a rollout that is held still, under the same policy."""
        same = self._same(rollout_id, policy_digest)
        return self.rollout.confirmations if self.rollout is not None and same else Confirmations()

    def _same(self, rollout_id: int, policy_digest: str) -> bool:
        rollout = self.rollout
        return rollout is not None and (rollout.rollout_id, rollout.policy.digest) == (rollout_id, policy_digest)

    def still_held(self, at: float) -> bool:
        """Whether the rollout that was held still is at `at`, for the same reason of restraint."""
        rollout = self.rollout
        return rollout is not None and rollout.hold_reason == self.rollbacks.why_not(at, self.policy.restraint)

    def _lower_share(self) -> None:
        """What the present policy says of the rollout's step holds where it is less than what it began with."""
        rollout = self.rollout
        if rollout is not None and rollout.active and (step := rollout.current_step) is not None:
            same = self.policy.steps[rollout.step] if rollout.step < len(self.policy.steps) else None
            rollout.lower(same.percent if same is not None and same.kind is step.kind else 100)

    def _ended_as(self, version: int) -> str | None:
        """How this version's shot under the present policy, or the one just over, ended; None: it had none."""
        rollout = self.rollout
        if self.uncleared and rollout is not None and rollout.version == version:
            return self.finished.get((version, rollout.policy.digest))
        return self.finished.get((version, self.policy.digest))

    def _possible(self, decision: Decision | None) -> list[Decision]:
        """Nothing moves the title to an endpoint that does not answer: that waits, and is called for again."""
        return [] if decision is None or self._unready(decision) is not None else [decision]

    def _unready(self, decision: Decision) -> int | None:
        """The version that would get the title and is not ready for it, if any."""
        to = decision.move.to if decision.move is not None else self.champion
        return None if to == self.champion or to in self.ready else to

    # ---- people

    @property
    def alias(self) -> str:
        """The alias that names the challenger."""
        return "challenger" if self.lane is None else self.lane.alias

    @property
    def on_trial(self) -> int | None:
        """The version of the rollout under way, if there is one."""
        return self.rollout.version if self.rollout is not None and self.rollout.active else None

    @property
    def way_back(self) -> int | None:
        """The version that a rollback by hand would move @champion to, unless it names one; None: it moves nothing."""
        if self.lane is not None:
            return None
        if self.rollout is not None and self.rollout.active:
            return self.rollout.reference if self.rollout.phase is Phase.WATCH else None
        return self.aliases.previous if self.aliases is not None else None

    def _on_command(self, command: Command) -> Decision:
        decision = asked_for(self, command)
        if (unready := self._unready(decision)) is not None:
            verb = command.kind.value.replace("_", " ")
            raise Refused(f"cannot {verb}: the endpoint of version {unready} is not ready")
        return decision

    def rejected(self, version: int) -> bool:
        """Whether this version had its shot and lost, or was rolled back from."""
        return any(ended == "rejected" for (other, _), ended in self.finished.items() if other == version)

    def _rejecting(self) -> list[int]:
        """The versions that a rollback under way speaks against."""
        versions = [self.pending.expected] if self.pending is not None else []
        if self.rollout is not None and self.rollout.phase is Phase.ROLLING_BACK:
            versions.append(self.rollout.version)
        return sorted(set(versions))

    # ---- what was recorded becomes so

    def check(self, decision: Decision) -> None:
        """Raise IllegalTransition if a decision does not follow from the state. Changes nothing."""
        rollout, begins = self.rollout, decision.kind in (DecisionKind.HOLD, DecisionKind.START)
        if rollout is not None and decision.rollout_id == rollout.rollout_id and not begins:
            rollout.check(decision)

    def _apply(self, decision: Decision) -> None:
        self.check(decision)
        kind = decision.kind
        policy = self.policies.get(decision.policy_digest, self.policy)
        self.rollbacks.take(decision, policy.restraint.max_rollbacks_per_day)
        if kind is DecisionKind.GATED:
            key, outcome = gated.outcome_of(decision)
            self.gates[key] = outcome
        self.endings.take(decision)
        if kind is DecisionKind.RETRY:
            self.finished.pop((decision.version, decision.policy_digest), None)
            self.retry = decision.version
            return
        if kind is DecisionKind.TOLD:
            self.notices.apply(decision)
            return
        if kind in (DecisionKind.HOLD, DecisionKind.START):
            self.rollout = self._begin(decision)
            self.uncleared, self.retry = False, None
            self.held.add(self.rollout.reference)
        rollout = self.rollout
        if rollout is not None and decision.rollout_id == rollout.rollout_id:
            refused = rollout.phase is Phase.ROLLING_BACK  # it has had its shot, whatever ends this
            rollout.apply(decision)
            self._lower_share()
            if rollout.phase in _ENDED_AS and (refused or decision.actor != REGISTRY):
                ended = "rejected" if refused else _ENDED_AS[rollout.phase]
                self.finished[rollout.version, rollout.policy.digest] = ended
                self.endings.end(rollout.version, ended, decision)
                # whose end says that it is cleared; of a lane it never is
                self.uncleared = rollout.phase is not Phase.ROLLED_BACK and self.lane is None
        if kind in (DecisionKind.PROMOTE, DecisionKind.ROLL_BACK):
            self.pending = decision.move
        if decision.move is not None and kind in (DecisionKind.ROLL_BACK, DecisionKind.FOREIGN_MOVE):
            self.champion = decision.move.to  # routes first: the registry follows, or has gone ahead
        if decision.move is not None and kind is DecisionKind.MOVED:
            self._title_moved(decision.move, decision)
        if decision.move is not None and kind in (DecisionKind.MOVED, DecisionKind.FOREIGN_MOVE):
            self.held |= {decision.move.expected, decision.move.to}
        if kind in (DecisionKind.MOVED, DecisionKind.FOREIGN_MOVE):
            self.pending = None
        known = self.policies.get(decision.policy_digest)
        step = rollout.step if rollout is not None else -1
        self.notices.begin(decision, known.outside if known is not None else None, self.champion, step)

    def _title_moved(self, move: AliasMove, decision: Decision) -> None:
        self.champion = move.to
        if decision.rollout_id == 0 or decision.phase == Phase.ROLLED_BACK.value:
            self.finished[move.expected, decision.policy_digest] = "rejected"
            self.endings.end(move.expected, "rejected", decision)
        if self.aliases is not None:
            self.aliases = replace(self.aliases, champion=move.to, previous=move.expected)

    def _begin(self, decision: Decision) -> Rollout:
        subject = Subject.from_data(decision.evidence)
        if self.champion is None:
            self.champion = subject.reference  # after a restart: what served when this rollout began
        rollout = Rollout(
            decision.rollout_id,
            self.policies[decision.policy_digest],
            VersionFacts(decision.version, subject.offline, registered_by=subject.registered_by),
            subject.reference,
            sticky=self._sticky,
        )
        rollout.confirmations = self._confirmations(decision.rollout_id, decision.policy_digest)
        return rollout


def _some(decision: Decision | None) -> list[Decision]:
    return [] if decision is None else [decision]
