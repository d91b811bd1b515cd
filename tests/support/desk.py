"""Drives one Title as the controller and the registry do, in memory: propose, record, apply, confirm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    BreakerTripped,
    Command,
    CommandKind,
    Decision,
    DecisionKind,
    Labels,
    Mode,
    Observations,
    Outcome,
    Role,
    Tick,
    VersionFacts,
)
from comparator.phases import COMPARED, TRANSITIONS, Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.sign_off import Screen
from comparator.title import Title

SHADOW, CANARY = Step(StepKind.SHADOW), Step(StepKind.CANARY, 10)
PROMOTE, SIGNED, WATCH = Step(StepKind.PROMOTE), Step(StepKind.PROMOTE, sign_off=True), Step(StepKind.WATCH)
ERRORS = Guardrail(Metric.ERROR_RATE, 0.5)


def policy(*steps: Step, **changes: object) -> Policy:
    """One that a single batch of answers can pass or fail."""
    numbers = {
        "guardrails": (ERRORS,),
        "gate": Gate.OFF,
        "bucket_seconds": 1.0,
        "bucket_min_answers": 1,
        "min_buckets": 1,
        "min_answers": 5,
        "min_labelled_positives": 1,
    }
    return Policy(steps=steps or (SHADOW, CANARY, PROMOTE, WATCH), **{**numbers, **changes})


class Desk:
    """One Title and what was recorded of it; the registry is two dicts."""

    def __init__(self, rules: Policy | None = None, *, champion: int | None = 1) -> None:
        self.policy = rules or policy()
        self.title = Title(self.policy, sticky=True)
        self.recorded: list[Observations | Labels | Decision] = []
        self.at = 1000.0
        self.aliases = {"champion": champion, "challenger": None, "previous": None}
        self.facts = {version: VersionFacts(version, {}) for version in (1, 2, 3)}
        self.ready = frozenset({1, 2, 3})
        self._request = 0

    # ---- facts

    def read(self, **aliases: int | None) -> list[Decision]:
        """The aliases are read, after these changes by somebody's hand."""
        self.aliases.update(aliases)
        self.at += 1
        return self.take(
            AliasesRead(self.at, versions=self.facts, ready=self.ready, **self.aliases)  # type: ignore[arg-type]
        )

    def tick(self, seconds: float = 1.0) -> list[Decision]:
        """Time passes."""
        self.at += seconds
        return self.take(Tick(self.at))

    def command(
        self, kind: CommandKind, to: int | None = None, actor: str = "ann", reason: str = "by hand", evidence: str = ""
    ) -> list[Decision]:
        """A person acts; whoever signs off has looked at the evidence just before."""
        if kind is CommandKind.SIGN_OFF and not evidence:
            evidence = self.look()
        self.at += 1
        return self.take(Command(self.at, kind, actor, reason, to, evidence, since=self.at))

    def look(self) -> str:
        """The digest of the evidence that somebody is shown."""
        rollout = self.title.rollout
        if rollout is None or rollout.phase not in COMPARED:
            return ""
        screen = Screen(rollout.rollout_id, rollout.step, rollout.report(self.at).as_data())
        return self.title.shown.keep(self.at, screen)

    def breaker(self, rollout_id: int | None = None) -> list[Decision]:
        """The data plane cut the challenger off."""
        self.at += 1
        rollout = self.title.rollout
        mine = rollout.rollout_id if rollout is not None else 0
        return self.take(BreakerTripped(self.at, mine if rollout_id is None else rollout_id, 18, 20))

    def answers(self, count: int = 20, *, failing: int | None = None) -> None:
        """Both versions answer, as traffic is shared now; the version `failing` fails."""
        serving = self.title.serving
        if serving.champion is None:
            return
        rows = np.zeros(2 * count, dtype=OBSERVATION)
        paired = serving.mode in (Mode.SHADOW, Mode.WATCH)
        rows["at"] = self.at + np.arange(2 * count) * 0.25
        self.at = float(rows["at"][-1])
        rows["rollout_id"], rows["mode"], rows["attempted_both"] = serving.rollout_id, serving.mode, paired
        other = serving.other if serving.other is not None else serving.champion
        rows["version"] = np.tile([serving.champion, other], count)
        rows["role"] = np.tile([Role.CHAMPION, serving.other_role], count)
        ids = np.arange(count) if paired else np.arange(2 * count)
        rows["request_lo"] = self._request + (np.repeat(ids, 2) if paired else ids)
        self._request += 2 * count
        rows["outcome"] = np.where(rows["version"] == (failing or -1), Outcome.SERVER_ERROR, Outcome.OK)
        rows["latency"] = 0.05
        rows["prediction"] = np.where(rows["outcome"] == Outcome.OK, 1.0, np.nan)
        self.take(Observations(rows))
        labels = np.zeros(len(ids), dtype=LABEL)
        labels["at"], labels["label"] = self.at, 1.0
        labels["request_lo"] = np.unique(rows["request_lo"])
        self.take(Labels(labels))

    def confirm(self) -> list[Decision]:
        """The registry is told what is outstanding, as the follower does it, and what confirms is taken note of."""
        effect = self.title.effect
        if effect is None:
            return []
        self.at += 1
        if effect.move is not None and self.aliases["champion"] == effect.move.expected:
            self.aliases["champion"] = effect.move.to
        if effect.previous is not None:
            self.aliases["previous"] = effect.previous
        if effect.set_challenger is not None:
            self.aliases["challenger"] = effect.set_challenger
        if effect.clear_challenger is not None and self.aliases["challenger"] == effect.clear_challenger:
            self.aliases["challenger"] = None
        moved = self.title.moved(self.at, "confirmed") if effect.confirms else None
        return self._record([moved]) if moved is not None else []

    # ---- recording

    def take(self, fact: object) -> list[Decision]:
        """One fact, and all that it calls for is recorded and applied."""
        decided = self.title.receive(fact)  # type: ignore[arg-type]
        if isinstance(fact, (Observations, Labels)):
            self.recorded.append(fact)
        return self._record(decided)

    def _record(self, decided: list[Decision]) -> list[Decision]:
        for decision in decided:
            before = self.phase if decision.kind not in (DecisionKind.START, DecisionKind.HOLD) else Phase.HELD
            about = self.title.rollout is not None and self.title.rollout.rollout_id == decision.rollout_id
            self.recorded.append(decision)
            self.title.receive(decision)
            if about and decision.kind not in (DecisionKind.PAUSE, DecisionKind.RESUME, DecisionKind.NOTIFY):
                assert before is not None
                assert self.phase in TRANSITIONS[before, decision.kind]
        return decided

    def restarted(self, rules: Policy | None = None) -> Title:
        """A new Title that has received what was recorded, in order."""
        fresh = Title(rules or self.title.policy, dict(self.title.policies), sticky=True)
        for fact in self.recorded:
            assert fresh.receive(fact) == []
        return fresh

    @property
    def phase(self) -> Phase | None:
        """Of the rollout, if there is one."""
        return self.title.rollout.phase if self.title.rollout is not None else None


def state(title: Title) -> Mapping[str, object]:
    """What must be the same after a restart."""
    rollout = title.rollout
    return {
        "pending": title.pending,
        "finished": title.finished,
        "held": title.held,
        "untold": {number: notice.webhooks for number, notice in title.notices.open.items()},
        "endings": title.endings.decisions,
        "rollout": None
        if rollout is None
        else (
            rollout.rollout_id,
            rollout.version,
            rollout.reference,
            rollout.phase,
            rollout.step,
            rollout.step_began_at,
            rollout.paused,
            vars(rollout.lasts),
            rollout.percent,
            rollout.move,
            rollout.hold_reason,
            rollout.policy.digest,
            rollout.last,
            rollout.signatures,
            rollout.confirmations.confirmed,
            rollout.report(1e9).as_data(),
        ),
        "scores": [title.scoreboard.score(version) for version in title.scoreboard.versions],
        "labels": (title.pairing.matched, title.pairing.labels_waiting, title.pairing.duplicates),
    }


def kinds(decisions):
    return [decision.kind for decision in decisions]


def on_trial(rules=None, phase=Phase.SHADOW):
    """A desk whose rollout of version 2 has come to this phase."""
    desk = Desk(rules)
    desk.read(challenger=2)
    for _ in range(6):
        if desk.phase is phase:
            return desk
        desk.answers()
        desk.tick()
        if desk.phase is Phase.PROMOTING and phase is not Phase.PROMOTING:
            desk.confirm()
    assert desk.phase is phase
    return desk
