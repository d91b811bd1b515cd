"""Crashes and races anywhere in a promotion or a rollback, on the real control code: both end in one legal state.

Ledger and registry are in memory, so that every single write of theirs can be the last thing that a process does, or
the first that it does not do. A process that is gone left what it had written; the next one starts from that alone. A
second control process may take the lease over at any moment, and the first may have one call to the registry on its
way still.
"""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from desk import PROMOTE, SHADOW, WATCH, policy
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from comparator.acts import Refused
from comparator.events import Command, CommandKind, Decision, DecisionKind, VersionFacts
from comparator.phases import TERMINAL, Phase
from comparator.title import Title
from router.control import registry as registry_module
from router.control.controller import ModelController
from router.control.follow import Follower
from router.control.journal import Journal
from router.control.ledger import Fenced
from router.control.ledger.chain import Head
from router.control.metrics import Metrics
from router.control.registry import Aliases
from router.control.spool import Spool
from router.control.version_tags import ending_tags
from router.link.endpoint import Tls

POLICY = policy(SHADOW, PROMOTE, WATCH)
LOOP = asyncio.new_event_loop()


class Crash(BaseException):
    """kill -9, here."""


class World:
    """What outlives every process: ledger, registry, and how many writes are left until the next crash."""

    def __init__(self, folder):
        self.folder = folder
        self.decisions = []
        self.term = 0
        self.registry = {"champion": "1", "challenger": None, "previous": None}
        self.tags = {}
        self.writes_left = None  # until the crash; None: there is none
        self.written_before = False  # whether the write at which it crashes still happens
        self.at = 1_000_000.0

    def write(self, change):
        """One write of anything."""
        if self.writes_left is not None:
            if self.writes_left == 0:
                if self.written_before:
                    change()
                raise Crash
            self.writes_left -= 1
        change()


class Ledger:
    """The ledger's interface as far as journal and controller use it."""

    def __init__(self, world):
        self.world = world

    async def append(self, model, facts, term=None, states=()):
        if term != self.world.term:
            raise Fenced("another leads")
        self.world.write(lambda: self.world.decisions.extend(each for each in facts if isinstance(each, Decision)))

    async def save_policy(self, digest, canonical):
        pass

    async def decisions(self, model, limit=None):
        return self.world.decisions[::-1]

    async def head(self, model):
        return Head(len(self.world.decisions), "0" * 64)


class Client:
    """MLflow's methods, one write each."""

    def __init__(self, world):
        self.world = world

    def __call__(self, method, *args):
        return getattr(self, method)(*args)

    def get_registered_model(self, _model):
        named = {alias: version for alias, version in self.world.registry.items() if version is not None}
        return SimpleNamespace(aliases=named)

    def get_model_version(self, _model, version):
        return SimpleNamespace(tags=dict(self.world.tags.get(version, {})), version=version)

    def set_registered_model_alias(self, _model, alias, version):
        self.world.write(lambda: self.world.registry.update({alias: version}))

    def delete_registered_model_alias(self, _model, alias):
        self.world.write(lambda: self.world.registry.update({alias: None}))

    def set_model_version_tag(self, _model, version, name, value):
        self.world.write(lambda: self.world.tags.setdefault(version, {}).update({name: value}))


class Registry:
    """The real order of calls, over the client above."""

    def __init__(self, world):
        self.world = world

    async def read(self, _model, _challenger):
        found = registry_module._aliases(Client(self.world), "m")
        return Aliases(found.champion, found.challenger, found.previous)

    async def version(self, _model, version):
        return VersionFacts(version)

    async def carry_out(self, _model, effect):
        registry_module._carry_out(Client(self.world), "m", effect)

    async def annotate(self, _model, version, tags):
        registry_module._annotate(Client(self.world), "m", version, tags)


class Prober:
    """Every endpoint answers."""

    def set_targets(self, *_):
        pass

    def ready(self, _model):
        return frozenset({1, 2, 3})


class Process:
    """One control process: what it knows is what was recorded, in the ledger and in the spool of its host."""

    def __init__(self, world, host):
        self.world, self.host = world, host
        world.term += 1
        self.title = Title(POLICY, sticky=True)
        spool = Spool(world.folder / f"spool-{host}.jsonl")
        journal = Journal(Ledger(world), spool, world.term, lambda _up: None)
        LOOP.run_until_complete(journal.drain())
        for decision in world.decisions:
            self.title.receive(decision)
        self.served = self.title.serving.champion
        self.controller = ModelController("m", self.title, journal, self.published, lambda _m, _d: None)
        model = SimpleNamespace(
            registered_model="m",
            ready_path="/ping",
            tls=Tls(),
            probed_at=lambda version: f"http://127.0.0.1:{version}",
        )
        self.follower = Follower(self.controller, model, Registry(world), Prober(), Metrics(), 0.001)

    def published(self):
        self.served = self.title.serving.champion

    def turn(self):
        """What the loops of a control process do, once each."""
        world = self.world
        world.at += 1.0

        async def both():
            await self.controller.tick(world.at)
            await self.follower._read(await self.follower._settle())
            await self.follower._annotate()

        LOOP.run_until_complete(both())

    def command(self, kind, to=None):
        self.world.at += 1.0
        LOOP.run_until_complete(self.controller.command(Command(self.world.at, kind, "ann", "because", to)))


ACTS = (CommandKind.PROMOTE, CommandKind.ROLL_BACK, CommandKind.ABORT)
FATES = st.none() | st.tuples(st.integers(0, 11), st.booleans())
"""At which write the process dies, if it does, and whether that write still happens."""


class CrashMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.crashes = self.foreign = self.late = 0
        self.process = Process(self.world, 0)
        self.living(self.process.turn)

    def living(self, work):
        """Do it; if the process dies of it, or leads no more, another takes over from what there is."""
        try:
            work()
        except Crash:
            self.crashes += 1
            self.world.writes_left = None
            self.process = self.restarted(self.process.host)
        except Fenced:
            self.process = self.restarted(1 - self.process.host)

    def restarted(self, host):
        return Process(self.world, host)

    def act(self, fate, work):
        """Do it, and the loops' next turn, unless the process dies at the write that fate says."""
        self.world.writes_left, self.world.written_before = fate if fate is not None else (None, False)
        self.living(work)
        self.living(self.process.turn)
        self.world.writes_left = None

    @rule(version=st.sampled_from([1, 2, 3]), then=st.sampled_from(ACTS), fates=st.tuples(FATES, FATES, FATES))
    def a_shot(self, version, then, fates):
        """A challenger is named, a person promotes it, and something is done about that."""
        if self.world.registry["challenger"] is None:
            self.world.registry["challenger"] = str(version)
        self.act(fates[0], self.process.turn)
        self.act(fates[1], lambda: self.asked(CommandKind.PROMOTE))
        self.act(fates[2], lambda: self.asked(then))

    @rule(fate=FATES)
    def time_passes(self, fate):
        self.act(fate, self.process.turn)

    @rule(
        kind=st.sampled_from([CommandKind.PROMOTE, CommandKind.PROMOTE, CommandKind.ROLL_BACK, CommandKind.ABORT]),
        fate=FATES,
    )
    def a_person_acts(self, kind, fate):
        self.act(fate, lambda: self.asked(kind))

    def asked(self, kind):
        with suppress(Refused):
            self.process.command(kind)

    @rule(version=st.sampled_from(["1", "2", "3"]), fate=FATES)
    def somebody_else_moves_the_title(self, version, fate):
        """And wins, unless it names what a move under way is from or to anyway."""
        self.foreign += 1
        pending = self.process.title.pending
        self.world.registry["champion"] = version
        self.act(fate, self.process.turn)
        if pending is None or version not in (str(pending.expected), str(pending.to)):
            assert (str(self.process.title.champion), self.world.registry["champion"]) == (version, version)

    @rule(amid=st.booleans(), undone=st.booleans())
    def another_process_takes_over(self, amid, undone):
        """The one before was about to move the title: it has compared, and its call comes late, whatever was done."""
        old, aliases = self.process, self.world.registry
        if amid:
            self.asked(CommandKind.PROMOTE)
        effect = old.title.effect
        self.process = self.restarted(1 - old.host)
        with suppress(Fenced, Refused):
            old.command(CommandKind.PROMOTE)  # is fenced off before anything of it is in force
            raise AssertionError("a process that no longer leads has decided")
        self.process.turn()
        if effect is not None and effect.move is not None:
            if undone:
                self.asked(CommandKind.ROLL_BACK)
                self.process.turn()
            self.foreign += 1
            self.late += 1
            aliases["champion"] = str(effect.move.to)
        self.process.turn()

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.world.writes_left = None
        self.process = self.restarted(self.process.host)
        for _ in range(12):
            self.process.turn()
        title, registry = self.process.title, self.world.registry
        event(f"crashes: {min(self.crashes, 5)}")
        event(f"calls that came late: {min(self.late, 2)}")
        rollout = title.rollout
        # settled: nothing is decided that the registry does not know
        assert title.pending is None
        assert title.effect is None
        assert rollout is None or rollout.phase in TERMINAL | {Phase.SHADOW, Phase.WATCH, Phase.HELD}
        # registry, routes and ledger agree
        assert str(title.champion) == registry["champion"]
        assert self.process.served == title.champion
        assert _titled(self.world.decisions) in (None, title.champion)
        moved = [each for each in self.world.decisions if each.kind is DecisionKind.MOVED and each.move is not None]
        if moved and not self.foreign:
            assert registry["previous"] == str(moved[-1].move.expected)
            # whoever has the title by a promotion carries the end of the chain, that promotion in it
            for index, each in enumerate(self.world.decisions, 1):
                if each.kind is DecisionKind.PROMOTE and any(one.move == each.move for one in moved):
                    head = Head.read(self.world.tags[str(each.version)][registry_module.CHAIN_TAG])
                    assert index <= head.number <= len(self.world.decisions)
        # exactly one promotion of each rollout is recorded, and what was confirmed was decided
        for rollout_id in {each.rollout_id for each in self.world.decisions if each.rollout_id}:
            kinds = [each.kind for each in self.world.decisions if each.rollout_id == rollout_id]
            assert kinds.count(DecisionKind.START) <= 1
            assert kinds.count(DecisionKind.PROMOTE) <= 1
            assert kinds.count(DecisionKind.ROLL_BACK) <= 1
            assert kinds.count(DecisionKind.MOVED) <= kinds.count(DecisionKind.PROMOTE) + kinds.count(
                DecisionKind.ROLL_BACK
            )
            if kinds.count(DecisionKind.PROMOTE) and not kinds.count(DecisionKind.ROLL_BACK) and not self.foreign:
                assert kinds.count(DecisionKind.MOVED) == 1
        # the tags tell how each shot ended: the last decision of its kind that is recorded
        assert title.endings.untold == []
        for ending, decision in title.endings.decisions.items():
            assert decision in self.world.decisions
            assert self.world.tags[str(ending[0])].items() >= ending_tags(ending, decision).items()
        assert {ending[0] for ending in title.endings.decisions} == {version for version, _ in title.finished}
        # a restart knows all of that again
        again = self.restarted(self.process.host)
        assert (again.title.champion, again.title.pending) == (title.champion if self.world.decisions else None, None)
        self.folder.cleanup()


def _titled(decisions):
    """Whom the ledger says the title went to last; None: it never moved."""
    last = None
    for each in decisions:
        if each.move is not None and each.kind in (
            DecisionKind.MOVED,
            DecisionKind.FOREIGN_MOVE,
            DecisionKind.ROLL_BACK,
        ):
            last = each.move.to
    return last


TestCrashSchedules = CrashMachine.TestCase
TestCrashSchedules.settings = settings(
    max_examples=1000, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
)
