"""What a new control process makes of what the one before left behind: ledger, spool, routes file."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from comparator.checkpoint import freeze
from comparator.events import OBSERVATION, Decision, DecisionKind, Mode, Observations, Outcome, Role, VersionFacts
from comparator.phases import Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.rollout import Rollout
from router.compose import _model, _settings
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.ledger.codec import encode_state
from router.control.ledger.engine import writing
from router.control.ledger.schema import CHECKPOINTS
from router.control.metrics import Metrics
from router.control.notifier import Notifier
from router.control.probe import Prober
from router.control.publish import Publisher
from router.control.spool import Spool
from router.link.messages import Backend, ModelRoutes, Routes, routes_to_file
from router.settings import load_settings

POLICY = Policy(
    steps=(Step(StepKind.CANARY, 20), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
    gate=Gate.OFF,
)


class Left:
    """A state directory, and what is needed to come back from it."""

    def __init__(self, folder, ledger, term):
        self.folder, self.ledger = folder, ledger
        path = folder / "titleshot.yaml"
        path.write_text(
            f"registry: sqlite:///{folder / 'mlflow.db'}\nmodels:\n  m:\n    protocol: mlflow\n"
            "    endpoints: {1: 'http://127.0.0.1:9', 2: 'http://127.0.0.1:9'}\n"
        )
        self.spool = Spool(folder / "spool.jsonl")
        self.journal = Journal(ledger, self.spool, term, lambda _up: None)
        self.plane = SimpleNamespace(
            settings=load_settings(path),
            ledger=ledger,
            prober=Prober(),
            metrics=Metrics(),
            publish=lambda: None,
            decided=lambda _model, _decision: None,
        )

    def routes(self, champion):
        routes = Routes(3, "before", (ModelRoutes("m", "mlflow", Backend(champion, "http://127.0.0.1:9")),))
        (self.folder / "routes.json").write_bytes(routes_to_file(routes))

    async def back(self):
        publisher = Publisher(self.folder / "routes.json", "new", SimpleNamespace(publish=lambda _routes: None))
        controller, _ = await _model(self.plane, "m", self.journal, None, publisher, Notifier({}, tuple))
        return controller.title


@pytest.fixture
def story(tmp_path, with_ledger):
    """Runs a coroutine function with what was left on a real ledger."""
    return lambda work: with_ledger(lambda ledger, term: work(Left(tmp_path, ledger, term)))


async def started(left):
    rollout = Rollout(7, POLICY, VersionFacts(2), 1)
    start = rollout.start(1000.0, "named")
    rollout.apply(start)
    await left.ledger.save_policy(POLICY.digest, POLICY.canonical())
    await left.journal.record("m", [start])
    return rollout


def test_a_rollback_that_only_the_spool_knows_is_still_in_force(story):
    async def work(left):
        rollout = await started(left)
        left.spool.append("m", rollout.roll_back(1001.0, "harm", trigger="error_rate"))
        title = await left.back()
        assert title.rollout.phase is Phase.ROLLING_BACK
        assert title.serving.share == 0
        assert title.effect.clear_challenger == 2

    story(work)


def test_a_model_does_not_come_back_without_what_the_spool_knows(story, monkeypatch):
    async def work(left):
        rollout = await started(left)
        left.spool.append("m", rollout.roll_back(1001.0, "harm"))

        async def full(*_args):
            raise LedgerUnavailable("disk full")  # reading would do

        monkeypatch.setattr(left.ledger, "append", full)
        with pytest.raises(LedgerUnavailable):
            await left.back()

    story(work)


def test_who_served_goes_on_when_nothing_was_ever_decided(story):
    async def work(left):
        assert (await left.back()).champion is None
        left.routes(champion=2)
        assert (await left.back()).champion == 2
        left.routes(champion=5)  # no endpoint any more
        assert (await left.back()).champion is None

    story(work)


def test_what_was_decided_weighs_more_than_the_routes_file(story):
    async def work(left):
        left.routes(champion=2)
        moved = Decision(DecisionKind.FOREIGN_MOVE, 1.0, 0, 1, "by hand", move=None)
        await started(left)
        await left.journal.record("m", [moved])
        assert (await left.back()).champion == 1

    story(work)


def test_good_settings_are_in_force_although_they_cannot_be_kept(story):
    async def work(left):
        settings, good = _settings(left.folder / "titleshot.yaml", left.folder / "missing" / "settings.json")
        assert good
        assert list(settings.models) == ["m"]

    story(work)


def traffic(rollout, at, count=200):
    """Answers of both sides of a canary, one of ten failing."""
    rows = np.zeros(count, OBSERVATION)
    rows["at"] = at + np.arange(count) * 0.1
    rows["request_lo"] = np.arange(count) + int(at) * 1000
    rows["rollout_id"], rows["mode"] = rollout.rollout_id, Mode.CANARY
    rows["version"] = np.where(np.arange(count) % 2, 2, 1)
    rows["role"] = np.where(np.arange(count) % 2, Role.CHALLENGER, Role.CHAMPION)
    rows["outcome"] = np.where(np.arange(count) % 10 == 0, Outcome.SERVER_ERROR, Outcome.OK)
    rows["latency"] = 0.05
    rows["prediction"] = 1.0
    return Observations(rows)


@pytest.mark.parametrize("damage", [None, "layout", "bytes", "rollout"])
def test_a_restart_goes_on_from_the_checkpoint_if_it_can(story, damage, caplog):
    async def work(left):
        rollout = await started(left)
        title = await left.back()
        controller = ModelController("m", title, left.journal, lambda: None, lambda *_: None)
        now = time.time()
        for at in (now - 60.0, now - 30.0):
            await controller.observations(traffic(rollout, at).columns)
        await controller.checkpoint()
        cursor, state = await left.ledger.checkpoint("m")
        await controller.observations(traffic(rollout, now).columns)
        await controller.observations(traffic(rollout, now - 30.0).columns)  # again: known before and after a restart
        assert title.pairing.repeated == 200
        if damage == "bytes":
            await left.ledger._run(lambda: spoil(left.ledger))
        elif damage is not None:
            state = {**state, "layout": 0} if damage == "layout" else {**state, "rollout_id": 8}
            await left.ledger._run(lambda: put(left.ledger, cursor, state))
        again = await left.back()
        assert freeze(again.rollout.evidence) == freeze(title.rollout.evidence)
        assert again.pairing.totals == title.pairing.totals
        assert again.rollout.evidence._left_out["repeated"] == 200
        assert again.pairing.predictions_waiting == title.pairing.predictions_waiting
        assert again.scoreboard.score(2) == title.scoreboard.score(2)
        assert ("checkpoint cannot be used" in caplog.text) == (damage in ("layout", "rollout"))

    story(work)


def test_what_a_checkpoint_counts_outlives_its_traffic(story):
    async def work(left):
        rollout = await started(left)
        title = await left.back()
        controller = ModelController("m", title, left.journal, lambda: None, lambda *_: None)
        await controller.observations(traffic(rollout, 1010.0).columns)  # older than the label retention
        await controller.checkpoint()
        assert await left.ledger.prune(time.time() - 3600.0) == 1
        again = await left.back()
        assert again.scoreboard.score(2).answers == 100
        assert freeze(again.rollout.evidence) == freeze(title.rollout.evidence)

    story(work)


def test_a_checkpoint_waits_for_what_is_spooled(story, monkeypatch):
    async def work(left):
        await started(left)
        title = await left.back()
        controller = ModelController("m", title, left.journal, lambda: None, lambda *_: None)

        async def full(*_args):
            raise LedgerUnavailable("full")

        left.spool.append("m", Decision(DecisionKind.PAUSE, 1001.0, 7, 2, "wait", phase="canary"))
        with monkeypatch.context() as patched:
            patched.setattr(left.ledger, "append", full)
            with pytest.raises(LedgerUnavailable):
                await controller.checkpoint()
        assert await left.ledger.checkpoint("m") is None
        await controller.checkpoint()
        cursor, _ = await left.ledger.checkpoint("m")
        assert cursor == 2

    story(work)


def test_the_table_of_what_waits_has_a_secret_seed(story):
    async def work(left):
        seeds = [(await left.back()).pairing._store._seed for _ in range(3)]
        assert len({0, *seeds}) == 4

    story(work)


def put(ledger, cursor, state):
    spoil(ledger, encode_state(state))


def spoil(ledger, state=b"\0"):
    with writing(ledger._engine) as connection:
        connection.execute(CHECKPOINTS.update().values(state=state))
