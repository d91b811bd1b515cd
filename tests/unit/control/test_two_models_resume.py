"""Two models that share a ledger and a spool: whatever was spooled and kept, a restart leaves each where it was."""

import asyncio
import contextlib
import copy
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comparator.acts import Refused
from comparator.checkpoint import freeze
from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Command,
    CommandKind,
    Mode,
    Outcome,
    Role,
    VersionFacts,
)
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.title import Title
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger import Ledger, LedgerUnavailable
from router.control.resume import resumed
from router.control.spool import Spool

MODELS = ("a", "b")
POLICY = Policy(
    steps=(Step(StepKind.CANARY, 50), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.PRECISION, 0.1), Guardrail(Metric.ERROR_RATE, 0.01)),
    gate=Gate.OFF,
    bucket_seconds=1.0,
    bucket_min_answers=3,
    min_answers=10_000,
)


class SwitchedLedger:
    """A real ledger that can be away, from the next write on or after a few more."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.writes_left = None  # None: it is there

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def _count(self):
        if self.writes_left == 0:
            raise LedgerUnavailable("disk full")
        if self.writes_left is not None:
            self.writes_left -= 1

    async def append(self, *args):
        self._count()
        return await self._ledger.append(*args)

    async def save_checkpoint(self, *args):
        self._count()
        return await self._ledger.save_checkpoint(*args)


class Two:
    """Two models under control, and what happens to them."""

    def __init__(self, folder, ledger, term):
        self.folder, self.ledger, self.term = folder, SwitchedLedger(ledger), term
        self.at, self.asked, self.restarts = 1000.0, 0, 0
        self.named = dict.fromkeys(MODELS, 2)

    async def come_up(self):
        """As a new control process does: what was spooled goes into the ledger, then each model is resumed."""
        journal = Journal(self.ledger, Spool(self.folder / "spool.jsonl"), self.term, lambda _up: None)
        await journal.drain()
        policies = {digest: Policy.from_canonical(text) for digest, text in (await self.ledger.policies()).items()}
        titles = {
            model: (await resumed(self.ledger, model, 0.0, lambda: Title(POLICY, dict(policies))))[0]
            for model in MODELS
        }
        return {
            model: ModelController(model, title, journal, lambda: None, lambda *_: None)
            for model, title in titles.items()
        }

    async def begin(self):
        self.controlled = await self.come_up()
        for model in MODELS:
            for challenger in (None, 2):
                await self.read(model, challenger)
        self.first = {model: self.controlled[model].title.rollout.rollout_id for model in MODELS}

    async def read(self, model, challenger):
        """The follower's part: the registry says who is the challenger."""
        facts = {version: VersionFacts(version) for version in (1, 2, 3)}
        ready = frozenset(facts)
        await self.controlled[model].aliases(AliasesRead(self.at, 1, challenger, None, versions=facts, ready=ready))

    async def happens(self, what, model, number):
        self.at += 1.0
        controller = self.controlled[model]
        with contextlib.suppress(LedgerUnavailable, Refused):
            match what:
                case "traffic":
                    await self.traffic(controller, number)
                case "tick":
                    await controller.tick(self.at)
                case "registry":
                    self.named[model] = (2, 3, None)[number % 3]
                    await self.read(model, self.named[model])
                case "told":  # the registry was
                    if controller.title.effect is not None:
                        await controller.settled(controller.title.effect, self.at, "done")
                case "away":
                    self.ledger.writes_left = number % 3
                case "back":
                    self.ledger.writes_left = None
                case "checkpoint":
                    await controller.checkpoint()
                case "restart":
                    await self.restart()
                case kind:
                    await controller.command(Command(self.at, CommandKind(kind), "maria"))

    async def traffic(self, controller, number):
        """A second's answers of both sides, the challenger's failing more or less often, and labels of some."""
        rollout = controller.title.rollout
        count = 40
        rows = np.zeros(count, OBSERVATION)
        rows["at"], rows["latency"] = self.at + np.arange(count) / count, 0.05
        rows["request_lo"] = self.asked + np.arange(count)
        mine = np.arange(count) % 2 == 1
        rows["version"] = np.where(mine, rollout.version if rollout is not None else 2, 1)
        rows["role"], rows["mode"] = np.where(mine, Role.CHALLENGER, Role.CHAMPION), Mode.CANARY
        rows["rollout_id"] = rollout.rollout_id if rollout is not None else 0
        rows["outcome"] = np.where(mine & (np.arange(count) % 20 < number), Outcome.SERVER_ERROR, Outcome.OK)
        rows["prediction"], rows["score"] = 1.0, np.nan
        self.asked += count
        await controller.observations(rows)
        labels = np.zeros(count // 2, LABEL)
        labels["at"], labels["request_lo"] = self.at + 1.0, np.resize(rows["request_lo"][number:], labels.size)
        labels["label"] = np.arange(labels.size) % 2
        await controller.labels(labels)

    async def restart(self):
        """Raises LedgerUnavailable: no model comes up, and nothing is lost."""
        again = await self.come_up()
        for model in MODELS:
            before, after = (each[model].title for each in (self.controlled, again))
            assert state(after) == state(before), model
            if before.rollout.rollout_id == self.first[model]:  # a restart leaves out what was before the last rollout
                assert counts(after) == counts(before), model
        self.controlled, self.restarts = again, self.restarts + 1
        for model in MODELS:
            await self.read(model, self.named[model])


def state(title):
    rollout = title.rollout
    evidence = copy.deepcopy(rollout.evidence)
    evidence.look()  # when it was looked at is not recorded
    fields = ("rollout_id", "version", "reference", "phase", "paused", "step", "step_began_at", "last", "cap", "move")
    return {
        **{name: getattr(rollout, name) for name in fields},
        **{name: getattr(title, name) for name in ("champion", "pending", "finished", "retry")},
        "evidence": freeze(evidence),
    }


def counts(title):
    pairing = title.pairing
    return freeze(title.scoreboard), pairing.totals, pairing.labels_waiting, pairing.predictions_waiting


HAPPENINGS = st.one_of(
    st.just("traffic"),
    st.just("traffic"),
    st.sampled_from(["tick", "told", "registry", "pause", "resume", "abort", "roll_back"]),
    st.sampled_from(["away", "back", "checkpoint", "checkpoint", "restart"]),
)
SPOOLED = [
    ("traffic", "a", 1), ("traffic", "b", 1), ("checkpoint", "a", 0), ("traffic", "a", 1), ("away", "a", 0),
    ("pause", "a", 0), ("roll_back", "b", 0), ("resume", "a", 0), ("told", "b", 0), ("traffic", "a", 2),
    ("restart", "a", 0), ("back", "a", 0), ("checkpoint", "b", 0), ("traffic", "a", 3), ("restart", "a", 0),
    ("registry", "b", 1), ("traffic", "b", 2), ("away", "a", 1), ("abort", "b", 0), ("abort", "a", 0),
    ("checkpoint", "a", 0), ("back", "a", 0), ("checkpoint", "a", 0), ("checkpoint", "b", 0),
]  # fmt: skip


@given(st.lists(st.tuples(HAPPENINGS, st.sampled_from(MODELS), st.integers(0, 12)), max_size=25))
@example(SPOOLED)
@settings(max_examples=settings().max_examples // 2, deadline=None)
def test_a_restart_leaves_both_models_where_they_were(happened):
    async def work(folder):
        ledger = await Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        try:
            two = Two(folder, ledger, await ledger.acquire("me", 60.0))
            await two.begin()
            for each in happened:
                await two.happens(*each)
            two.ledger.writes_left = None
            await two.restart()
            assert two.restarts > 0
        finally:
            await ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work(Path(folder)))
