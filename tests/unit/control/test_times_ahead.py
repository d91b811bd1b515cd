"""What a worker says of the time is not believed beyond now: a clock set wrong for a moment must not stop the judge."""

import asyncio
import math
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

from comparator.events import AliasesRead, BreakerTripped, Decision, DecisionKind, Mode, Observations, Outcome, Role
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.title import Title
from router.control.controller import ModelController
from router.control.ingest import Ingest
from router.control.journal import Journal
from router.control.metrics import Metrics
from router.control.recordings import Recordings
from router.control.spool import Spool
from router.link.messages import BODY_NONE, EXCHANGE_ROW, Exchanges
from router.settings import load_settings

POLICY = Policy(
    steps=(Step(StepKind.CANARY, 50), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
    gate=Gate.OFF,
    bucket_seconds=10.0,
    bucket_min_answers=1,
)
BUCKETS = 6


class Ledger:
    """Takes everything."""

    def __init__(self):
        self.facts = []

    async def append(self, model, facts, term=None, states=()):
        self.facts += facts

    async def save_policy(self, digest, canonical):
        pass

    async def decisions(self, model, limit=None):
        return []


class Rig:
    """One model in a canary, and its ingest."""

    def __init__(self, folder):
        self.ledger, self.metrics, self.title = Ledger(), Metrics(), Title(POLICY)
        journal = Journal(self.ledger, Spool(folder / "spool.jsonl"), 1, lambda _up: None)
        self.controller = ModelController("m", self.title, journal, lambda: None, lambda *_: None)
        self.ingest = Ingest({"m": self.controller}, self.metrics, Recordings(lambda: None))
        path = folder / "titleshot.yaml"
        path.write_text(
            f"registry: sqlite:///{folder / 'mlflow.db'}\nmodels:\n  m:\n    protocol: mlflow\n"
            "    endpoints: {1: 'http://127.0.0.1:9', 2: 'http://127.0.0.1:9'}\n"
        )
        self.settings = load_settings(path).models["m"]
        self.asked = 0

    async def started(self, at):
        for challenger in (None, 2):
            await self.controller.aliases(AliasesRead(at, 1, challenger, None, ready=frozenset({1, 2})))

    async def exchanged(self, times):
        """One exchange of both sides at each of these times."""
        rollout = self.title.rollout.rollout_id
        rows = [
            EXCHANGE_ROW.pack(at, rollout, 0, 2 * index + version, version, 0, 0.01, 0.02, 0, 500, role, Mode.CANARY,
                              False, Outcome.SERVER_ERROR, BODY_NONE)
            for index, at in enumerate(times, self.asked)
            for version, role in ((1, Role.CHAMPION), (2, Role.CHALLENGER))
        ]  # fmt: skip
        self.asked += len(times)  # an id that comes again is no evidence
        self.ingest.take(Exchanges("m", b"".join(rows), b""), self.settings)
        await self.ingest.flush()

    @property
    def recorded(self):
        return np.concatenate([fact.columns["at"] for fact in self.ledger.facts if isinstance(fact, Observations)])

    @property
    def clamped(self):
        page = self.metrics.expose("")[0].decode()
        return next(
            sample.value
            for family in read_text(page)
            for sample in family.samples
            if sample.name == "titleshot_observations_clamped_total"
        )


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


@pytest.mark.parametrize("wrong", [3600.0, 1e12, math.inf, math.nan])
def test_a_time_that_is_not_yet_counts_as_now_and_stops_no_bucket(rig, wrong, monkeypatch):
    now = time.time()

    async def story():
        await rig.started(now)
        await rig.exchanged([now, now + wrong])
        before = rig.recorded
        assert (before <= time.time()).all()
        for second in range(1, 10 * BUCKETS):
            monkeypatch.setattr(time, "time", lambda at=now + second: at)
            await rig.exchanged([now + second])
        assert rig.title.rollout.evidence._errors.buckets >= BUCKETS - 1
        assert rig.clamped == 2
        assert (rig.recorded <= time.time()).all()

    asyncio.run(story())


def test_times_that_have_been_stay(rig):
    async def story():
        now = time.time()
        await rig.started(now - 60.0)
        times = [now - 50.0, now - 40.0, now]
        await rig.exchanged(times)
        assert rig.recorded.tolist() == np.repeat(times, 2).tolist()
        assert rig.clamped == 0

    asyncio.run(story())


def test_a_breaker_does_not_trip_in_the_future(rig):
    async def story():
        now = time.time()
        await rig.started(now)
        await rig.controller.breaker(BreakerTripped(now + 3600.0, rig.title.rollout.rollout_id, 10, 20))
        (found,) = (
            fact for fact in rig.ledger.facts if isinstance(fact, Decision) and fact.kind is DecisionKind.ROLL_BACK
        )
        assert now <= found.at <= time.time()

    asyncio.run(story())


def test_the_judges_clock_does_not_run_backwards(rig):
    async def story():
        looked = []
        rig.title.receive = lambda fact: looked.append(fact.at) or []
        for at in (1000.0, 1000.5, 400.0, 1001.0):
            await rig.controller.tick(at)
        assert looked == [1000.0, 1000.5, 1000.5, 1001.0]
        assert rig.controller.last_tick == 1001.0

    asyncio.run(story())
