"""A rollback never waits for the ledger, and neither a reload nor a shutdown loses what is in force."""

import asyncio

import numpy as np
import pytest

from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Command,
    CommandKind,
    Decision,
)
from comparator.phases import Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.title import Refused, Title
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.spool import Spool

POLICY = Policy(
    steps=(Step(StepKind.SHADOW, 100), Step(StepKind.PROMOTE), Step(StepKind.WATCH)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
    gate=Gate.OFF,
)


class SlowLedger:
    """The ledger's interface as far as a journal uses it; a write waits for `gate`, if there is one."""

    def __init__(self):
        self.facts: list = []
        self.gate: asyncio.Event | None = None
        self.asked = 0

    async def append(self, model, facts, term=None, states=()):
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        self.facts += facts

    async def save_policy(self, digest, canonical):
        if self.gate is not None:
            await self.gate.wait()

    async def decisions(self, model, limit=None):
        return [fact for fact in self.facts if isinstance(fact, Decision)][::-1]


class Rig:
    def __init__(self, folder):
        self.ledger = SlowLedger()
        self.title = Title(POLICY)
        self.published: list = []
        self.controller = ModelController(
            "m",
            self.title,
            Journal(self.ledger, Spool(folder / "spool.jsonl"), 1, lambda _up: None),
            lambda: self.published.append(self.title.serving),
            lambda _model, _decision: None,
        )

    async def started(self):
        await self.read(1000.0)
        await self.read(1001.0, challenger=2)
        assert self.title.rollout.phase is Phase.SHADOW

    async def read(self, at, champion=1, challenger=None):
        await self.controller.aliases(
            AliasesRead(at, champion, challenger, None, ready=frozenset(filter(None, (1, champion, challenger))))
        )

    def kinds(self):
        return [fact.kind.value for fact in self.ledger.facts if isinstance(fact, Decision)]


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


async def _until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the loop has gone round 200 times")


def labels(count=3):
    return np.zeros(count, dtype=LABEL)


def test_a_rollback_by_hand_does_not_wait_for_labels_that_wait_for_the_ledger(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        traffic = [asyncio.create_task(rig.controller.labels(labels())) for _ in range(20)]
        traffic.append(asyncio.create_task(rig.controller.observations(np.zeros(3, dtype=OBSERVATION))))
        await _until(lambda: rig.ledger.asked > 1)
        rollback = asyncio.create_task(rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "by hand")))
        await _until(lambda: rig.title.rollout.phase is Phase.ROLLING_BACK)
        assert rig.published[-1].other is None
        assert not rollback.done()  # its record waits for its turn
        rig.ledger.gate.set()
        await asyncio.gather(rollback, *traffic)
        assert rig.kinds() == ["start", "roll_back"]

    asyncio.run(story())


def test_a_decision_waits_for_one_record_of_traffic_at_most(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        traffic = [asyncio.create_task(rig.controller.labels(labels())) for _ in range(20)]
        await _until(lambda: rig.ledger.asked > 1)
        promotion = asyncio.create_task(rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand")))
        await asyncio.sleep(0)
        rig.ledger.gate.set()
        await asyncio.gather(promotion, *traffic)
        before = [isinstance(fact, Decision) for fact in rig.ledger.facts].index(True, 1)
        assert before <= 2  # the start, and the one that was under way

    asyncio.run(story())


def test_a_rollback_that_is_interrupted_is_recorded_all_the_same(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        asked = rig.ledger.asked
        rollback = asyncio.create_task(rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "by hand")))
        await _until(lambda: rig.ledger.asked > asked)
        rollback.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rollback
        assert rig.title.rollout.phase is Phase.ROLLING_BACK
        finishing = asyncio.create_task(rig.controller.finish())
        await asyncio.sleep(0)
        assert not finishing.done()
        rig.ledger.gate.set()
        await finishing
        assert rig.kinds() == ["start", "roll_back"]

    asyncio.run(story())


def test_a_promotion_that_is_interrupted_is_in_force_once_it_is_recorded(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        asked = rig.ledger.asked
        promotion = asyncio.create_task(rig.controller.command(Command(1002.0, CommandKind.PROMOTE, "ann", "by hand")))
        await _until(lambda: rig.ledger.asked > asked)
        promotion.cancel()
        with pytest.raises(asyncio.CancelledError):
            await promotion
        second = asyncio.create_task(rig.controller.command(Command(1003.0, CommandKind.PROMOTE, "ben", "by hand")))
        await asyncio.sleep(0)
        rig.ledger.gate.set()
        with pytest.raises(Refused, match="promoting"):
            await second
        assert rig.kinds() == ["start", "promote"]
        assert rig.title.rollout.phase is Phase.PROMOTING

    asyncio.run(story())


def test_what_is_in_force_is_recorded_in_the_order_in_which_it_came_into_force(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        asked = rig.ledger.asked
        slow = asyncio.create_task(rig.controller.labels(labels()))
        await _until(lambda: rig.ledger.asked > asked)
        rollback = asyncio.create_task(rig.controller.command(Command(1002.0, CommandKind.ROLL_BACK, "ann", "by hand")))
        await _until(lambda: rig.title.rollout.phase is Phase.ROLLING_BACK)
        moved = asyncio.create_task(rig.controller.settled(rig.title.effect, 1003.0, "told"))
        foreign = asyncio.create_task(rig.read(1004.0, champion=3))
        await asyncio.sleep(0)
        rig.ledger.gate.set()
        await asyncio.gather(slow, rollback, moved, foreign)
        assert rig.kinds() == ["start", "roll_back", "moved", "foreign_move"]
        fresh = Title(POLICY)
        for fact in rig.ledger.facts:
            fresh.receive(fact)
        assert (fresh.champion, fresh.rollout.phase) == (rig.title.champion, rig.title.rollout.phase)

    asyncio.run(story())


def test_new_settings_do_not_need_the_ledger(rig):
    async def story():
        await rig.started()
        rig.ledger.gate = asyncio.Event()
        lower = Policy(steps=(Step(StepKind.SHADOW, 5),), guardrails=POLICY.guardrails, gate=Gate.OFF)
        rig.controller.adopt(lower)
        assert rig.published[-1].mirror == 5

    asyncio.run(story())
