"""Models come and go while everything runs: no loop ends by it, no model loses its routes."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from comparator.events import OBSERVATION, AliasesRead
from comparator.title import Title
from router.control import plane
from router.control.controller import ModelController
from router.control.ingest import Batch, Ingest
from router.control.journal import Journal
from router.control.ledger import Ledger, LedgerUnavailable
from router.control.metrics import Metrics
from router.control.plane import ControlPlane
from router.control.probe import Prober
from router.control.publish import Publisher
from router.control.spool import Spool
from router.link.messages import Backend, ModelRoutes, Routes, routes_from_file, routes_to_file
from router.settings import Settings, load_settings


class Link:
    """What a publisher uses of the link."""

    def __init__(self):
        self.sent: list[Routes] = []

    def publish(self, routes):
        self.sent.append(routes)


class Idle:
    """A follower that has nothing to follow."""

    settings = None
    error = ""

    async def run(self):
        await asyncio.Event().wait()


class NoLedger:
    """Takes everything, or nothing."""

    def __init__(self):
        self.away = False
        self.gate = None

    async def append(self, model, facts, term=None, states=()):
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise LedgerUnavailable("away")

    async def save_policy(self, digest, canonical):
        await self.append("", [])

    async def decisions(self, model, limit=None):
        return []


def settings_of(folder: Path, *models: str) -> Settings:
    path = folder / "titleshot.yaml"
    body = "".join(f"  {name}:\n    protocol: mlflow\n    endpoints: {{1: 'http://127.0.0.1:9'}}\n" for name in models)
    path.write_text(f"registry: sqlite:///{folder / 'mlflow.db'}\nmodels:\n{body}")
    return load_settings(path)


class Rig:
    def __init__(self, folder, *models):
        self.folder = folder
        self.ledger = NoLedger()
        self.link = Link()
        self.metrics = Metrics()
        self.plane = ControlPlane(
            settings_of(folder, *models),
            self.ledger,
            Publisher(folder / "routes.json", "generation", self.link),
            Prober(),
            self.metrics,
            self._join,
        )

    async def _join(self, plane, model):
        if self.ledger.away:
            raise LedgerUnavailable("away")
        journal = Journal(self.ledger, Spool(self.folder / "spool.jsonl"), 1, lambda _up: None)
        title = Title(plane.settings.models[model].policy())
        return ModelController(model, title, journal, plane.publish, plane.decided), Idle()

    async def champion(self, model, version=1):
        await self.plane.controllers[model].aliases(
            AliasesRead(time.time(), version, None, None, ready=frozenset({version}))
        )

    def routed(self):
        return [model.name for model in self.link.sent[-1].models]


def kept_routes(folder, *names):
    routes = Routes(3, "before", tuple(ModelRoutes(n, "mlflow", Backend(1, "http://127.0.0.1:9")) for n in names))
    (folder / "routes.json").write_bytes(routes_to_file(routes))


def test_a_model_that_is_known_first_does_not_take_the_others_out_of_the_routes(tmp_path):
    kept_routes(tmp_path, "a", "b")
    rig = Rig(tmp_path, "a", "b")

    async def story():
        await rig.plane.add("a")
        await rig.champion("a")  # b's records are still being read
        assert rig.routed() == ["a", "b"]
        assert [model.name for model in routes_from_file((tmp_path / "routes.json").read_bytes()).models] == ["a", "b"]
        await rig.plane.add("b")
        rig.plane.publish()
        assert rig.routed() == ["a", "b"]  # and the registry is away: nothing is known of b yet
        await rig.plane.close()

    asyncio.run(story())


def test_a_model_may_come_while_observations_are_flushed(tmp_path):
    rig = Rig(tmp_path, "a", "b")

    async def story():
        await rig.plane.add("a")
        rig.plane.ingest._waiting["a"].append(Batch(np.zeros(1, dtype=OBSERVATION)))
        rig.ledger.gate = asyncio.Event()
        flushing = asyncio.create_task(rig.plane.ingest.flush())
        await asyncio.sleep(0)
        await rig.plane.add("b")
        rows, seconds = rig.plane.ingest.unrecorded("a")
        assert rows == 1
        assert seconds > 0
        rig.ledger.gate.set()
        await flushing
        assert rig.plane.ingest.unrecorded("a") == (0, 0.0)
        await rig.plane.close()

    asyncio.run(story())


def test_a_model_may_go_while_its_observations_wait_for_the_ledger(tmp_path):
    rig = Rig(tmp_path, "a", "b")

    async def story():
        await rig.plane.add("a")
        ingest: Ingest = rig.plane.ingest
        ingest._waiting["a"].append(Batch(np.zeros(600_000, dtype=OBSERVATION)))
        rig.ledger.gate, rig.ledger.away = asyncio.Event(), True
        flushing = asyncio.create_task(ingest.flush())
        await asyncio.sleep(0)
        assert ingest.unrecorded("a")[0] == 600_000  # being recorded is not recorded
        await rig.plane.remove("a")
        rig.ledger.gate.set()
        await flushing
        assert not ingest._waiting.get("a")
        assert ingest.unrecorded("a") == (0, 0.0)
        await rig.plane.close()

    asyncio.run(story())


@pytest.mark.parametrize("more", [("a",), ("a", "b")])
def test_new_settings_while_the_ledger_is_away_end_nothing(tmp_path, more):
    rig = Rig(tmp_path, "a")

    async def story():
        await rig.plane.add("a")
        await rig.champion("a")
        rig.ledger.away = True
        await rig.plane.adopt(settings_of(tmp_path, *more))
        assert list(rig.plane.controllers) == ["a"]
        rig.ledger.away = False
        await rig.plane.join_missing()
        assert list(rig.plane.controllers) == list(more)
        await rig.plane.close()

    asyncio.run(story())


def test_a_fault_in_judging_one_model_is_told_once_and_ends_nothing(tmp_path, caplog, monkeypatch):
    rig = Rig(tmp_path, "a", "b")
    monkeypatch.setattr(plane, "TICK_SECONDS", 0.001)

    async def story():
        await rig.plane.add("a")
        await rig.plane.add("b")
        a, b = rig.plane.controllers["a"], rig.plane.controllers["b"]
        monkeypatch.setattr(a.title.pairing, "expire", lambda _at: 1 / 0)
        looks, twice = [], asyncio.Event()

        def look(at):
            looks.append(at)
            if len(looks) == 2:
                twice.set()

        monkeypatch.setattr(b.title.pairing, "expire", look)
        judging = asyncio.create_task(rig.plane.tick_forever())
        waits = asyncio.create_task(twice.wait())
        await asyncio.wait((judging, waits), return_when=asyncio.FIRST_COMPLETED)
        assert not judging.done()
        assert (a.last_tick, b.last_tick > 0) == (0.0, True)  # titleshot_last_tick_timestamp_seconds tells it
        judging.cancel()
        await rig.plane.close()

    asyncio.run(story())
    assert [record.getMessage()[:2] for record in caplog.records if record.exc_info] == ["a:"]
    assert "ZeroDivisionError" in caplog.text


def test_the_past_is_read_from_the_ledger_that_is_written_whatever_the_settings_say_now(tmp_path):
    rig = Rig(tmp_path, "a")

    async def run():
        first = rig.plane.settings.ledger
        other = settings_of(tmp_path, "a")
        await rig.plane.adopt(other.model_copy(update={"ledger_url": f"sqlite:///{tmp_path / 'other.db'}"}))
        rig.plane.settings.state.mkdir(exist_ok=True)
        await (await Ledger.open(first)).close()
        assert rig.plane.explained("a", 1) is None
        assert list(rig.plane.traffic("a", 0.0)) == []

    asyncio.run(run())
