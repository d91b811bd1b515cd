"""What follows the registry: a failing effect stops no reading, and readiness is known without it."""

import asyncio
from types import SimpleNamespace

import pytest

from comparator.events import AliasesRead, AliasMove, Command, CommandKind, VersionFacts
from comparator.phases import Phase
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.title import Title
from router.control.controller import ModelController
from router.control.follow import Follower
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.ledger.chain import Head
from router.control.metrics import Metrics
from router.control.registry import Aliases, Denied, ForeignMove, RegistryUnavailable, UnknownVersion
from router.control.spool import Spool
from router.link.endpoint import Tls

POLICY = Policy(
    steps=(Step(StepKind.SHADOW, 100), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
    gate=Gate.OFF,
)


class Ledger:
    away = False

    async def append(self, model, facts, term=None, states=()):
        pass

    async def save_policy(self, digest, canonical):
        pass

    async def decisions(self, model, limit=None):
        return []

    async def head(self, model):
        if self.away:
            raise LedgerUnavailable("away")
        return Head(4, "ab" * 32)


class Registry:
    """The registry's interface as far as a follower uses it."""

    def __init__(self):
        self.aliases = {"champion": 1, "challenger": None, "previous": None}
        self.refuses = None  # an exception: of writes
        self.away = None  # an exception: of reads
        self.deleted = set()
        self.denied = {}  # version -> an exception
        self.told = []
        self.reads = 0
        self.tags = {}  # by version
        self.no_tags = {}  # version -> an exception

    async def read(self, model, challenger="challenger"):
        self.reads += 1
        if self.away is not None:
            raise self.away
        return Aliases(**self.aliases)

    async def version(self, model, version):
        if version in self.deleted:
            raise UnknownVersion("gone")
        if version in self.denied:
            raise self.denied[version]
        return VersionFacts(version)

    async def carry_out(self, model, effect):
        self.told.append(effect)
        if self.refuses is not None:
            raise self.refuses
        if effect.move is not None:
            if self.aliases["champion"] not in (effect.move.expected, effect.move.to):
                raise ForeignMove(model, self.aliases["champion"], effect.move)
            self.aliases.update(champion=effect.move.to, previous=effect.previous)
        if effect.clear_challenger == self.aliases["challenger"]:
            self.aliases["challenger"] = None

    async def annotate(self, model, version, tags):
        if version in self.no_tags:
            raise self.no_tags[version]
        self.tags.setdefault(version, {}).update(tags)


class Prober:
    def __init__(self):
        self.targets = {}

    def set_targets(self, model, targets, ready_path, tls):
        self.targets = dict(targets)

    def ready(self, model):
        return frozenset(self.targets)


class Rig:
    def __init__(self, folder):
        self.registry, self.prober, self.title = Registry(), Prober(), Title(POLICY)
        self.ledger = Ledger()
        journal = Journal(self.ledger, Spool(folder / "spool.jsonl"), 1, lambda _up: None)
        self.controller = ModelController("m", self.title, journal, lambda: None, lambda _m, _d: None)
        settings = SimpleNamespace(
            registered_model="m",
            ready_path="/ping",
            tls=Tls(),
            probed_at=lambda version: f"http://127.0.0.1:{9000 + version}",
        )
        self.follower = Follower(self.controller, settings, self.registry, self.prober, Metrics(), 0.001)

    async def until(self, condition):
        task = asyncio.create_task(self.follower.run())
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await asyncio.sleep(0)
                    if task.done():
                        task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def on_trial(self):
        await self.until(lambda: self.title.champion == 1)
        self.registry.aliases["challenger"] = 2
        await self.until(lambda: self.title.rollout is not None and self.title.rollout.phase is Phase.SHADOW)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


@pytest.mark.parametrize("refusal", [UnknownVersion("no version 2"), RegistryUnavailable("403 on tags")])
def test_the_champion_is_followed_although_an_effect_cannot_be_carried_out(rig, refusal):
    async def story():
        await rig.on_trial()
        rig.registry.refuses = refusal
        await rig.controller.command(Command(1.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        rig.registry.aliases["champion"] = 3
        await rig.until(lambda: rig.title.champion == 3)
        assert rig.title.rollout.phase is Phase.ABORTED

    asyncio.run(story())


def test_an_effect_that_cannot_be_carried_out_is_told(rig):
    async def story():
        await rig.on_trial()
        rig.registry.refuses = RegistryUnavailable("403 on tags")
        await rig.controller.command(Command(1.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        before = rig.registry.reads
        await rig.until(lambda: rig.registry.reads > before + 1)
        assert rig.follower.error == "403 on tags"
        rig.registry.refuses = None
        await rig.until(lambda: rig.title.rollout.phase is Phase.ROLLED_BACK and not rig.follower.error)

    asyncio.run(story())


def test_a_version_without_facts_does_not_keep_the_champion_from_being_followed(rig):
    async def story():
        await rig.until(lambda: rig.title.champion == 1)
        rig.registry.aliases.update(champion=3, challenger=2)
        rig.registry.deleted = {2}
        await rig.until(lambda: rig.title.champion == 3)

    asyncio.run(story())


def test_a_version_that_we_may_not_look_at_is_said_and_nothing_else_waits_for_it(rig):
    async def story():
        rig.registry.denied = {2: Denied("READ is needed")}
        await rig.until(lambda: rig.title.champion == 1)
        rig.registry.aliases.update(champion=3, challenger=2)
        await rig.until(lambda: rig.title.champion == 3)
        assert rig.follower.error == "version 2 cannot be looked at: READ is needed"
        rig.registry.denied = {}
        await rig.until(lambda: not rig.follower.error)

    asyncio.run(story())


def test_endpoints_are_probed_before_the_registry_has_answered(rig):
    async def story():
        rig.title.champion = 2
        rig.registry.away = RegistryUnavailable("away")
        await rig.until(lambda: rig.follower.error == "away")
        assert set(rig.prober.targets) == {2}

    asyncio.run(story())


def test_a_foreign_move_during_a_rollback_wins(rig):
    async def story():
        await rig.on_trial()
        rig.registry.refuses = RegistryUnavailable("away")
        rig.registry.away = RegistryUnavailable("away")
        await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
        await rig.controller.command(Command(2.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        assert rig.title.pending == AliasMove(2, 1)
        rig.registry.aliases["champion"] = 3
        rig.registry.refuses = rig.registry.away = None
        await rig.until(lambda: rig.title.champion == 3)
        assert rig.title.pending is None
        assert rig.registry.aliases["champion"] == 3
        await rig.until(lambda: rig.registry.aliases["challenger"] is None)  # it had its shot

    asyncio.run(story())


def test_a_read_that_began_before_a_rollback_is_no_foreign_move(rig):
    async def story():
        await rig.on_trial()
        await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
        await rig.until(lambda: rig.title.champion == 2)
        old = AliasesRead(2.0, 2, None, 1, ready=frozenset({1, 2}))
        await rig.controller.command(Command(3.0, CommandKind.ROLL_BACK, "ann", "by hand"))
        await rig.controller.aliases(old)
        assert rig.title.champion == 1
        await rig.until(lambda: rig.registry.aliases["champion"] == 1)

    asyncio.run(story())


@pytest.mark.parametrize("away", [False, True])
def test_a_promotion_is_told_with_the_end_of_the_chain_if_it_is_known(rig, away):
    async def story():
        await rig.on_trial()
        await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
        rig.ledger.away = away
        await rig.until(lambda: rig.title.champion == 2)
        (told,) = [effect for effect in rig.registry.told if effect.move is not None]
        assert told.proof == ("" if away else "4:" + "ab" * 32)
        assert rig.title.rollout.phase is Phase.PROMOTED

    asyncio.run(story())


@pytest.mark.parametrize("turns", range(5))
def test_it_ends_when_it_is_cancelled_although_it_is_woken_at_the_same_time(rig, turns):
    async def story():
        rig.follower._poll_seconds = 60.0
        task = asyncio.create_task(rig.follower.run())
        for _ in range(50):  # it has read, and waits
            await asyncio.sleep(0)
        assert rig.title.champion == 1
        rig.controller.wake.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        assert done

    asyncio.run(story())


async def promoted(rig):
    await rig.on_trial()
    await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
    await rig.until(lambda: rig.title.rollout.phase is Phase.PROMOTED and rig.registry.aliases["challenger"] is None)


def test_tags_that_cannot_be_set_hold_nothing_up_are_said_and_set_later(rig):
    async def story():
        rig.registry.no_tags = {2: RegistryUnavailable("no tags today")}
        await promoted(rig)
        assert (rig.title.champion, rig.registry.tags) == (2, {})
        await rig.until(lambda: rig.follower.error == "no tags today")
        rig.registry.aliases["challenger"] = 3  # the next one goes its way meanwhile, and is told of
        await rig.until(lambda: rig.title.on_trial == 3)
        await rig.controller.command(Command(2.0, CommandKind.ABORT, "ben", "not now"))
        await rig.until(lambda: 3 in rig.registry.tags)
        assert rig.registry.tags[3]["titleshot.aborted_by"] == "ben"
        rig.registry.no_tags = {}
        await rig.until(lambda: 2 in rig.registry.tags and not rig.follower.error)
        assert rig.registry.tags[2]["titleshot.promoted_by"] == "ann"
        assert rig.title.endings.untold == []

    asyncio.run(story())


def test_a_deleted_version_is_not_told_of_for_ever(rig):
    async def story():
        rig.registry.no_tags = {2: UnknownVersion("gone")}
        await promoted(rig)
        await rig.until(lambda: rig.title.endings.untold == [])
        assert rig.follower.error == ""

    asyncio.run(story())


def test_no_tag_is_set_before_the_title_has_moved_and_is_recorded(rig):
    async def story():
        await rig.on_trial()
        rig.registry.refuses = RegistryUnavailable("away")
        await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
        tried = len(rig.registry.told)
        await rig.until(lambda: len(rig.registry.told) > tried + 2)
        assert rig.registry.tags == {}
        rig.registry.refuses = None
        await rig.until(lambda: rig.registry.tags)
        assert rig.registry.tags[2]["titleshot.promoted_at"] == "1970-01-01T00:00:01+00:00"

    asyncio.run(story())
