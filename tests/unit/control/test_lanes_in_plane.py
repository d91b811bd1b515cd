"""Lanes in the control plane: who joins when, what reaches them, what the routes say of them."""

import asyncio
import time
from pathlib import Path
from urllib.parse import unquote_plus

import numpy as np
import pytest

from comparator.acts import Refused
from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Command,
    CommandKind,
    Decision,
    DecisionKind,
    Gated,
    Mode,
    Role,
)
from comparator.lane import Lane as TitleLane
from comparator.outside import Check
from comparator.title import Serving, Title
from router.control.admin.operations import UnknownModel
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.metrics import Metrics
from router.control.notifier import Notifier
from router.control.outgoing import Failed
from router.control.plane import ControlPlane
from router.control.probe import Prober
from router.control.publish import Publisher
from router.control.queries import NoAnswer, Queries
from router.control.routing import model_routes
from router.control.spool import Spool
from router.link.messages import EXCHANGE_ROW, Backend, BreakerChanged, Exchanges, Lane
from router.settings import load_settings
from router.settings.lanes import alias_of, model_of
from router.settings.notify import NotifySettings
from router.settings.outside import PrometheusSettings

B, C = "eta@b", "eta@c"


class Link:
    def __init__(self):
        self.sent = []

    def publish(self, routes):
        self.sent.append(routes)


class Idle:
    settings = None
    error = ""
    read_at = 0.0

    async def run(self):
        await asyncio.Event().wait()


class NoLedger:
    """Takes everything, or nothing."""

    def __init__(self):
        self.away = set()
        self.taken = []

    async def append(self, model, facts, term=None, states=()):
        if model in self.away:
            raise LedgerUnavailable("away")
        self.taken.append((model, facts))

    async def save_policy(self, digest, canonical):
        pass

    async def decisions(self, model, limit=None):
        return []


class Rig:
    """A control plane of one model with the lanes b and c, in memory."""

    def __init__(self, folder: Path, challengers="[b, c]"):
        self.folder = folder
        self.ledger, self.link = NoLedger(), Link()
        self.joined = []
        self.broken = set()
        publisher = Publisher(folder / "routes.json", "generation", self.link)
        self.plane = ControlPlane(self.settings(challengers), self.ledger, publisher, Prober(), Metrics(), self._join)

    def settings(self, challengers):
        path = self.folder / "titleshot.yaml"
        path.write_text(
            f"registry: sqlite:///{self.folder / 'mlflow.db'}\nmodels:\n  eta:\n    protocol: mlflow\n"
            f"    endpoint: http://eta-v{{version}}:8080\n    gate: 'off'\n    challengers: {challengers}\n"
        )
        return load_settings(path)

    async def _join(self, plane, name):
        if name in self.broken:
            raise LedgerUnavailable("away")
        self.joined.append(name)
        journal = Journal(self.ledger, Spool(self.folder / "spool.jsonl"), 1, lambda _up: None)
        of_model = plane.settings.models[model_of(name)]
        lane, policy = None, of_model.policy()
        if (alias := alias_of(name)) is not None:
            own = plane.controllers[model_of(name)].title
            lane, policy = TitleLane(alias, lambda: (own.policy.digest, own.gates)), of_model.lane_policy()
        return ModelController(name, Title(policy, lane=lane), journal, plane.publish, plane.decided), Idle()

    async def named(self, name, champion=1, challenger=None):
        ready = frozenset({1, 2, 3, 4})
        await self.plane.controllers[name].aliases(AliasesRead(time.time(), champion, challenger, None, ready=ready))

    async def begun(self):
        """The model has no rollout, lane b has version 3 on trial, lane c nothing."""
        await self.plane.join_missing()
        for name, challenger in (("eta", None), (B, 3), (C, None)):
            await self.named(name)
            await self.named(name, challenger=challenger)

    def routes(self):
        return self.link.sent[-1].models[0]


def row(lane_id, role, version, prediction=b'{"predictions": [1]}', request=7):
    packed = EXCHANGE_ROW.pack(
        time.time(), lane_id, 0, request, version, len(prediction), 0.01, 0.02, 0, 200, role, Mode.SHADOW, True, 0, 0
    )
    return packed, prediction


def test_lanes_join_after_their_model_and_not_without_it(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        rig.broken = {"eta"}
        await rig.plane.join_missing()
        assert rig.joined == []
        rig.broken = {B}
        await rig.plane.join_missing()
        assert rig.joined == ["eta", C]
        rig.broken = set()
        await rig.plane.join_missing()
        assert rig.joined == ["eta", C, B]
        await rig.plane.close()

    asyncio.run(story())


def test_the_routes_have_the_lanes_in_which_a_version_is_on_trial(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        title = rig.plane.controllers[B].title
        assert rig.routes().lanes == (Lane(B, Backend(3, "http://eta-v3:8080"), title.rollout.rollout_id, 100),)
        assert rig.routes().mode == Mode.NONE
        await rig.named("eta", champion=2)  # it has moved, and the lane has not seen it yet
        assert rig.routes().champion.version == 2
        assert rig.routes().lanes == ()
        await rig.named(B, champion=2, challenger=3)
        await rig.named(B, champion=2, challenger=3)
        assert [lane.other.version for lane in rig.routes().lanes] == [3]
        await rig.plane.close()

    asyncio.run(story())


def test_a_lane_that_is_not_in_shadow_or_has_no_endpoint_is_not_in_the_routes(tmp_path):
    settings = Rig(tmp_path).plane.settings.models["eta"]
    beside = {
        "held": Serving(1),
        "other champion": Serving(2, 3, mode=Mode.SHADOW, rollout_id=5, mirror=100),
        "on trial": Serving(1, 3, mode=Mode.SHADOW, rollout_id=6, mirror=40),
    }
    found = model_routes("eta", settings, Serving(1), lanes=beside)
    assert found.lanes == (Lane("on trial", Backend(3, "http://eta-v3:8080"), 6, 40),)
    assert model_routes("eta", settings, Serving(1)).lanes == ()


def test_rows_of_a_lane_are_recorded_and_judged_under_its_name(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        rollout = rig.plane.controllers[B].title.rollout.rollout_id
        rows = [row(rollout, Role.CHAMPION, 1), row(rollout, Role.CHALLENGER, 3)]
        message = Exchanges(B, b"".join(packed for packed, _ in rows), b"".join(body for _, body in rows))
        rig.plane.on_message(0, message)
        rig.plane.on_message(0, Exchanges("eta@nobody", message.rows, message.bodies))
        await rig.plane.ingest.flush()
        assert [model for model, facts in rig.ledger.taken if hasattr(facts[0], "columns")] == [B]
        evidence = rig.plane.controllers[B].title.rollout.evidence
        assert evidence._copies == [1, 0]
        page = rig.plane.exposition("")[0].decode()
        counted = [line for line in page.splitlines() if line.startswith("titleshot_requests_total{") and B in line]
        assert [line for line in counted if 'role="challenger"' in line and line.endswith(" 1.0")]
        assert not [line for line in counted if 'role="champion"' in line and not line.endswith(" 0.0")]
        await rig.plane.close()

    asyncio.run(story())


def test_labels_reach_the_lanes_in_which_a_version_is_on_trial(tmp_path):
    rig = Rig(tmp_path)
    labels = np.zeros(2, LABEL)

    async def story():
        await rig.begun()
        await rig.plane.add_labels("eta", labels)
        assert [model for model, facts in rig.ledger.taken if type(facts[0]).__name__ == "Labels"] == ["eta", B]
        with pytest.raises(UnknownModel):
            await rig.plane.add_labels(B, labels)
        rig.ledger.away = {B}
        with pytest.raises(LedgerUnavailable):
            await rig.plane.add_labels("eta", labels)  # nothing is acknowledged: it is sent again
        rig.ledger.away = set()
        await rig.plane.close()

    asyncio.run(story())


def test_what_is_the_models_is_refused_of_a_lane(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        assert [rig.plane.known(name) for name in ("eta", B, "eta@nobody", "eta@")] == [True, True, False, False]
        assert rig.plane.models() == ["eta"]  # alerts and labels are about these
        for asks in (rig.plane.coding, rig.plane.rollback_on):
            with pytest.raises(UnknownModel):
                asks(B)
        with pytest.raises(UnknownModel):
            rig.plane.recording(B, 100)
        with pytest.raises(Refused, match="report to eta"):
            await rig.plane.gated(B, Gated(time.time(), "ann", {"version": 3}))
        with pytest.raises(Refused, match="set @challenger"):
            await rig.plane.command(B, Command(time.time(), CommandKind.PROMOTE, "ann", "because"))
        await rig.plane.command(B, Command(time.time(), CommandKind.ABORT, "ann", "because"))
        assert rig.routes().lanes == ()
        await rig.plane.close()

    asyncio.run(story())


def test_a_breaker_is_that_of_the_lane_it_names(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        rollout = rig.plane.controllers[B].title.rollout
        rig.plane.on_message(0, BreakerChanged(B, rollout.rollout_id, "open", True, 18, 20, time.time()))
        await asyncio.gather(*rig.plane._soon)
        assert rig.plane.controllers[B].title.rollout.phase.value == "rolling_back"
        assert rig.plane.controllers["eta"].title.rollout is None
        await rig.plane.close()

    asyncio.run(story())


def test_lanes_go_and_come_with_the_settings_and_alpha_follows(tmp_path):
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        await rig.plane.adopt(rig.settings("[b]"))
        assert set(rig.plane.controllers) == {"eta", B}
        assert [rig.plane.controllers[name].title.policy.alpha for name in ("eta", B)] == [0.025, 0.025]
        assert not rig.plane.controllers[B].title.policy.promotes
        await rig.plane.adopt(rig.settings("[]"))
        assert set(rig.plane.controllers) == {"eta"}
        assert rig.routes().lanes == ()
        assert rig.plane.controllers["eta"].title.policy.alpha == 0.05
        await rig.plane.adopt(rig.settings("[b, c]"))
        assert set(rig.plane.controllers) == {"eta", B, C}
        await rig.plane.close()

    asyncio.run(story())


def test_an_observation_is_none_of_another_lane(tmp_path):
    """What a lane's rows say is of that lane's rollout alone."""
    rig = Rig(tmp_path)

    async def story():
        await rig.begun()
        columns = np.zeros(1, OBSERVATION)
        columns["rollout_id"], columns["version"] = 99, 3
        await rig.plane.controllers[B].observations(columns)
        assert rig.plane.controllers[B].title.rollout.evidence._copies == [0, 0]
        await rig.plane.close()

    asyncio.run(story())


def test_a_check_names_the_model_in_its_query_whose_lane_it_is(tmp_path):
    asked = []

    class Outgoing:
        async def post(self, url, content, headers, **_):
            asked.append(unquote_plus(content.decode()))
            raise Failed("away")

    place = PrometheusSettings(url="http://127.0.0.1:9090")
    check = Check("queue", 'q{m="{model}",v="{version}",role="{role}"}', at_most=1.0)

    async def story():
        with pytest.raises(NoAnswer):
            await Queries({}, lambda: place, Outgoing(), {})._number(check, B, Role.CHALLENGER, 3)

    asyncio.run(story())
    assert asked == ['query=q{m="eta",v="3",role="challenger"}&timeout=' + f"{place.timeout:g}"]


def test_news_of_a_lane_goes_to_who_hears_of_its_model_and_a_moved_champion_is_told_once(tmp_path):
    def target(name, **more):
        return NotifySettings(name=name, url="http://127.0.0.1:9/x", format="slack", **more)

    async def story():
        rig = Rig(tmp_path)
        await rig.begun()
        targets = [target("all", events=("paused", "registry_moved")), target("other", models=("other",))]
        notifier = Notifier(rig.plane.controllers, lambda: targets)
        notifier.recorded(B, Decision(DecisionKind.PAUSE, 1.0, 7, 3, "why", "ann", phase="shadow"), 1)
        for name in (B, "eta"):
            notifier.recorded(name, Decision(DecisionKind.FOREIGN_MOVE, 1.0, 0, 2, "why", "registry"), 2)
        told = {
            name: [(each.model, each.event.value) for each, _ in line.waiting] for name, line in notifier.lines.items()
        }
        assert told == {"all": [(B, "paused"), ("eta", "registry_moved")], "other": []}
        await rig.plane.close()

    asyncio.run(story())
