"""What waits for the ledger, what does not, and that a decision is in force only once it is recorded."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from comparator.acts import Refused
from comparator.events import OBSERVATION, AliasesRead, Command, CommandKind, Decision, DecisionKind, Observations
from comparator.phases import WAYS_OUT, Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.restraint import Restraint, Then
from comparator.resuming import checkpoint
from comparator.title import Title
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.spool import Spool

POLICY = Policy(
    steps=(Step(StepKind.SHADOW, 100), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
    gate=Gate.OFF,
)


class MemoryLedger:
    """The ledger's interface as far as a journal uses it."""

    def __init__(self):
        self.facts: list = []
        self.states: dict[str, bytes] = {}
        self.policies: dict[str, str] = {}
        self.away = False
        self.gate: asyncio.Event | None = None

    async def append(self, model, facts, term=None, states=()):
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise LedgerUnavailable("away")
        self.facts += facts
        self.states.update(states)
        return len(self.facts)

    async def save_policy(self, digest, canonical):
        if self.away:
            raise LedgerUnavailable("away")
        self.policies[digest] = canonical

    async def decisions(self, model, limit=None):
        if self.away:
            raise LedgerUnavailable("away")
        return [fact for fact in self.facts if isinstance(fact, Decision)][::-1][:limit]


class Rig:
    def __init__(self, folder):
        self.ledger = MemoryLedger()
        self.up: list[bool] = []
        self.spool = Spool(folder / "spool.jsonl")
        self.title = Title(POLICY)
        self.log: list[tuple[str, bool]] = []  # (kind, whether it was recorded when it came into force)
        journal = Journal(self.ledger, self.spool, 1, self.up.append)
        self.published: list = []
        self.controller = ModelController(
            "m", self.title, journal, lambda: self.published.append(self.title.serving), self._on_decision
        )

    def _on_decision(self, model, decision):
        self.log.append((decision.kind.value, decision in self.ledger.facts))

    def read(self, champion=1, challenger=None, previous=None, at=1000.0):
        ready = frozenset(filter(None, (champion, challenger, previous)))
        return AliasesRead(at, champion, challenger, previous, ready=ready)

    async def started(self):
        await self.controller.aliases(self.read())
        await self.controller.aliases(self.read(challenger=2, at=1001.0))
        assert self.title.rollout.phase is Phase.SHADOW
        return self


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_a_start_is_recorded_before_it_is_in_force_and_names_a_kept_policy(rig):
    asyncio.run(rig.started())
    assert rig.log == [("start", True)]
    assert Policy.from_canonical(rig.ledger.policies[POLICY.digest]) == POLICY
    assert rig.published[-1].mirror == 100


def test_a_start_waits_for_the_ledger_and_comes_again(rig):
    async def story():
        await rig.controller.aliases(rig.read())
        rig.ledger.away = True
        await rig.controller.aliases(rig.read(challenger=2, at=1001.0))
        assert rig.title.rollout is None
        rig.ledger.away = False
        await rig.controller.aliases(rig.read(challenger=2, at=1002.0))

    asyncio.run(story())
    assert rig.log == [("start", True)]


def test_a_rollback_is_in_force_before_it_is_recorded_and_survives_a_ledger_that_is_away(rig):
    async def story():
        await rig.started()
        rig.ledger.away = True
        decision = await rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "looks wrong"))
        assert rig.published[-1].other is None
        assert [kept.decision for kept in rig.spool.read()] == [decision]
        assert rig.up[-1] is False
        rig.ledger.away = False
        effect = rig.title.effect
        await rig.controller.settled(effect, 1003.0, "told")
        return decision

    decision = asyncio.run(story())
    assert rig.log[-2:] == [("roll_back", False), ("moved", False)]
    kinds = [fact.kind for fact in rig.ledger.facts if isinstance(fact, Decision)]
    assert kinds == [DecisionKind.START, DecisionKind.ROLL_BACK, DecisionKind.MOVED]  # the spooled one in its place
    assert decision in rig.ledger.facts
    assert rig.spool.read() == []
    assert rig.title.rollout.phase is Phase.ROLLED_BACK


def test_a_promotion_by_hand_needs_its_record_first(rig):
    async def story():
        await rig.started()
        rig.ledger.away = True
        with pytest.raises(LedgerUnavailable):
            await rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand"))
        assert rig.title.rollout.phase is Phase.SHADOW
        assert rig.title.effect is None

    asyncio.run(story())


def test_traffic_that_is_not_recorded_is_no_evidence(rig):
    async def story():
        await rig.started()
        rig.ledger.away = True
        columns = np.zeros(3, dtype=OBSERVATION)
        columns["version"], columns["at"] = 1, 1002.0
        with pytest.raises(LedgerUnavailable):
            await rig.controller.observations(columns)
        assert rig.title.scoreboard.versions == []
        rig.ledger.away = False
        await rig.controller.observations(columns)
        assert rig.title.scoreboard.score(1).answers == 3

    asyncio.run(story())
    assert isinstance(rig.ledger.facts[-1], Observations)


def test_an_effect_that_was_overtaken_confirms_nothing(rig):
    async def story():
        await rig.started()
        await rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand"))
        overtaken = rig.title.effect
        await rig.controller.command(Command(1003.0, CommandKind.ROLL_BACK, "ben", "by hand"))
        await rig.controller.settled(overtaken, 1004.0, "told")
        assert rig.title.rollout.phase is Phase.ROLLING_BACK
        assert rig.title.effect.move.to == 1

    asyncio.run(story())


def test_what_takes_traffic_away_never_waits():
    assert {DecisionKind.ROLL_BACK, DecisionKind.ABORT, DecisionKind.SUPERSEDE, DecisionKind.PAUSE} <= WAYS_OUT
    assert not {DecisionKind.START, DecisionKind.ADVANCE, DecisionKind.PROMOTE, DecisionKind.RESUME} & WAYS_OUT


def test_a_spool_cut_short_by_a_crash_keeps_what_came_before(tmp_path):
    spool = Spool(tmp_path / "spool.jsonl")
    kept = Decision(DecisionKind.ROLL_BACK, 1.0, 0, 7, "why", evidence={"e": float("inf")})
    spool.append("m", kept)
    with (tmp_path / "spool.jsonl").open("ab") as file:
        file.write(b'{"model": "m", "deci')
    assert [each.decision for each in spool.read()] == [kept]


def test_a_decision_from_evidence_is_recorded_with_the_evidence_that_it_saw(rig):
    """Also where traffic is recorded between the proposal and its record."""
    from comparator.proof import recompute

    async def story():
        await rig.started()
        traffic = np.zeros(3, dtype=OBSERVATION)
        traffic["version"], traffic["at"], traffic["request_lo"] = [1, 2, 2], 1002.0, [1, 1, 2]
        traffic["rollout_id"], traffic["mode"], traffic["attempted_both"] = rig.title.rollout.rollout_id, 1, True
        await rig.controller.observations(traffic)
        more = traffic.copy()
        more["request_lo"] += 10
        rig.ledger.gate = asyncio.Event()
        batch = asyncio.create_task(rig.controller.observations(more))
        promotion = asyncio.create_task(rig.controller.command(Command(1003.0, CommandKind.PROMOTE, "ann", "by hand")))
        for _ in range(20):  # the batch has its turn first; the promotion is proposed while it waits for the record
            await asyncio.sleep(0)
        rig.ledger.gate.set()
        await asyncio.gather(batch, promotion)
        assert rig.title.rollout.report(1004.0).answers == 4

    asyncio.run(story())
    decisions = [fact for fact in rig.ledger.facts if isinstance(fact, Decision)]
    assert [type(fact) for fact in rig.ledger.facts[-2:]] == [Observations, Decision]
    promote = decisions[-1]
    again = recompute(decisions[:-1], promote, rig.ledger.states[promote.state_digest], POLICY)
    assert again.report.answers == 2
    assert again.differences == ()


def test_a_spooled_decision_keeps_its_evidence(rig):
    async def story():
        await rig.started()
        rig.ledger.away = True
        await rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        (kept,) = rig.spool.read()
        rig.ledger.away = False
        await rig.controller.settled(rig.title.effect, 1003.0, "told")
        assert rig.ledger.states == {kept.decision.state_digest: kept.state}

    asyncio.run(story())


def test_evidence_that_cannot_be_kept_stops_no_rollback(rig, caplog):
    async def story():
        await rig.started()
        rig.title.rollout.evidence.odd = object()
        await rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        assert rig.title.rollout.phase is Phase.ROLLING_BACK

    asyncio.run(story())
    assert rig.log[-1] == ("roll_back", False)
    assert "the evidence of roll_back cannot be kept" in caplog.text


@pytest.mark.parametrize("kind", [DecisionKind.ABORT, DecisionKind.ADVANCE])
def test_a_decision_that_the_state_does_not_allow_is_neither_recorded_nor_in_force(rig, caplog, monkeypatch, kind):
    async def story():
        await rig.started()
        await rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand"))
        recorded, before = list(rig.ledger.facts), rig.title.rollout.phase
        faulty = replace(rig.title.rollout.last, kind=kind, phase=Phase.ABORTED.value, at=1003.0)
        monkeypatch.setattr(rig.title.rollout, "propose", lambda _at: faulty)
        await rig.controller.tick(1003.0)  # goes on
        assert (rig.title.rollout.phase, rig.ledger.facts, rig.spool.read()) == (before, recorded, [])
        assert rig.controller.unrecorded is None

    asyncio.run(story())
    assert rig.log[-1] == ("promote", True)
    assert f"m: {kind.value} is not carried out" in caplog.text
    assert "IllegalTransition" in caplog.text


RESTLESS = replace(POLICY, restraint=Restraint(no_data_seconds=600.0, no_data_then=Then.ABORT))


def answered(rig, at, request):
    """Both versions have answered one request."""
    rows = np.zeros(2, OBSERVATION)
    rows["at"], rows["request_lo"], rows["version"], rows["role"] = at, request, [1, 2], [0, 1]
    rows["rollout_id"], rows["mode"], rows["attempted_both"] = rig.title.rollout.rollout_id, 1, True
    rows["latency"], rows["prediction"] = 0.1, 1.0
    return rows


@pytest.mark.parametrize("way", ["away", "hangs"])
def test_answers_that_wait_for_the_ledger_are_no_silence(tmp_path, monkeypatch, way):
    monkeypatch.setattr(f"{__name__}.POLICY", RESTLESS)
    rig = Rig(tmp_path)

    async def story():
        await rig.started()
        await rig.controller.tick(1001.5)
        waiting = answered(rig, 1002.0, 1)
        if way == "away":
            rig.ledger.away = True
        else:
            rig.ledger.gate = asyncio.Event()
            recorded = asyncio.create_task(rig.controller.observations(waiting))
        for at in range(1002, 3000):  # as if the flush and the judge took turns
            if way == "away":
                with pytest.raises(LedgerUnavailable):
                    await rig.controller.observations(waiting)
            await rig.controller.tick(float(at))
        assert rig.title.rollout.phase is Phase.SHADOW
        rig.ledger.away = False
        if way == "away":
            await rig.controller.observations(waiting)
        else:
            rig.ledger.gate.set()
            await recorded
        for at in range(3000, 3598):
            await rig.controller.tick(float(at))
        assert rig.title.rollout.phase is Phase.SHADOW
        for at in range(3598, 3601):  # now it is silent
            await rig.controller.tick(float(at))
        assert rig.title.rollout.phase is Phase.ABORTED

    asyncio.run(story())
    assert rig.log[-1][0] == "abort"


def test_time_in_which_nobody_listened_is_no_silence(tmp_path, monkeypatch):
    """At the first tick of a control process, and after it stood still."""
    monkeypatch.setattr(f"{__name__}.POLICY", RESTLESS)
    rig = Rig(tmp_path)

    async def story():
        await rig.started()
        await rig.controller.observations(answered(rig, 1002.0, 1))
        for begin in (5000.0, 9000.0):
            for second in range(600):
                await rig.controller.tick(begin + second)
            assert rig.title.rollout.phase is Phase.SHADOW
        await rig.controller.tick(9600.0)
        assert rig.title.rollout.phase is Phase.ABORTED

    asyncio.run(story())


def test_a_deadline_that_passes_while_the_registry_is_away_from_a_promotion_ends_nothing(tmp_path, monkeypatch):
    step = Step(StepKind.SHADOW, 100, within_seconds=600.0, at_deadline=Then.ABORT)
    monkeypatch.setattr(f"{__name__}.POLICY", replace(POLICY, steps=(step, Step(StepKind.PROMOTE))))
    rig = Rig(tmp_path)

    async def story():
        await rig.started()
        await rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand"))
        for at in (1600.0, 1601.0, 5000.0):
            await rig.controller.tick(at)
        assert rig.title.rollout.phase is Phase.PROMOTING
        await rig.controller.settled(rig.title.effect, 5001.0, "told")
        assert rig.title.rollout.phase is Phase.PROMOTED

    asyncio.run(story())
    assert rig.log[-2:] == [("promote", True), ("moved", False)]


def broken(*_columns):
    raise ZeroDivisionError("a fault of ours")


@pytest.mark.parametrize("way_back", [CommandKind.ROLL_BACK, CommandKind.ABORT])
def test_evidence_that_cannot_be_taken_lets_nothing_pass_and_people_roll_back(rig, way_back):
    async def story():
        await rig.started()
        rig.title.pairing.observe = broken
        await rig.controller.observations(np.zeros(1, dtype=OBSERVATION))
        await rig.controller.observations(np.zeros(1, dtype=OBSERVATION))
        assert len([fact for fact in rig.ledger.facts if isinstance(fact, Observations)]) == 2
        assert "ZeroDivisionError: a fault of ours" in rig.title.fault
        await rig.controller.tick(2000.0)
        assert rig.controller.last_tick == 0.0  # the age of the last look is what tells
        for kind in (CommandKind.PROMOTE, CommandKind.SIGN_OFF):
            with pytest.raises(Refused, match="some of the evidence could not be taken"):
                await rig.controller.command(Command(2001.0, kind, "ann", "by hand"))
        await rig.controller.command(Command(2002.0, way_back, "ann", "by hand"))
        assert rig.title.serving.other is None
        await rig.controller.aliases(rig.read(challenger=3, at=2003.0))  # the one before is over
        await rig.controller.aliases(rig.read(challenger=3, at=2004.0))

    asyncio.run(story())
    assert rig.title.rollout.phase is not Phase.SHADOW


def test_a_paused_rollout_is_not_promoted_by_hand(rig):
    async def story():
        await rig.started()
        await rig.controller.command(Command(1002.0, CommandKind.PAUSE, "ann", "wait"))
        with pytest.raises(Refused, match="paused; resume it first"):
            await rig.controller.command(Command(1003.0, CommandKind.PROMOTE, "ann", "by hand"))

    asyncio.run(story())


def test_a_fault_keeps_no_checkpoint_that_a_restart_would_go_on_from(rig):
    async def story():
        await rig.started()
        before = checkpoint(rig.title)
        rig.title.pairing.observe = broken
        await rig.controller.observations(np.zeros(1, dtype=OBSERVATION))
        return before, checkpoint(rig.title)

    before, after = asyncio.run(story())
    assert before is not None
    assert after is None


def test_a_fault_in_labels_that_come_due_at_a_tick_is_one_too(rig):
    async def story():
        await rig.started()
        rig.title.pairing.come_due = broken
        await rig.controller.tick(2000.0)
        del rig.title.pairing.come_due
        await rig.controller.tick(2001.0)

    asyncio.run(story())
    assert "ZeroDivisionError" in rig.title.fault
    assert rig.controller.last_tick == 0.0


@pytest.mark.parametrize("kind", [CommandKind.ROLL_BACK, CommandKind.ABORT, CommandKind.PAUSE])
def test_a_report_that_cannot_be_made_keeps_nothing_in(rig, kind):
    async def story():
        await rig.started()
        rig.title.rollout.evidence.report = broken
        await rig.controller.command(Command(2002.0, kind, "ann", "by hand"))

    asyncio.run(story())
    (decision,) = [each for each in rig.ledger.facts if isinstance(each, Decision) and each.actor == "ann"]
    assert decision.evidence["untold"] == "ZeroDivisionError: a fault of ours"


def test_what_was_proposed_before_a_fault_is_not_carried_out_after_it(rig):
    async def story():
        await rig.controller.aliases(rig.read())
        (start,) = rig.title.receive(rig.read(challenger=2, at=1001.0))
        rig.title.fault = "some of the evidence could not be taken"
        await rig.controller._carry([start])

    asyncio.run(story())
    assert rig.title.rollout is None
    assert rig.ledger.facts == []
