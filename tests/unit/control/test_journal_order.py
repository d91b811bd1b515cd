"""No decision is lost, doubled or out of order, whatever the ledger's and the spool's disks do."""

import asyncio

import pytest

from comparator.events import Decision, DecisionKind
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.spool import Spool


def decision(at, kind=DecisionKind.ROLL_BACK):
    return Decision(kind, at, 7, 2, "why", evidence={"bound": float("inf")})


class FlakyLedger:
    """A real ledger whose writes can be switched off, or made to fail after they were committed."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.appends_left = None  # None: no bound
        self.gate = None  # appends wait for it
        self.lie = False  # commit, and say that it failed

    async def append(self, model, facts, term=None, states=()):
        if self.gate is not None:
            await self.gate.wait()
        if self.appends_left == 0:
            raise LedgerUnavailable("disk full")
        if self.appends_left is not None:
            self.appends_left -= 1
        seq = await self.ledger.append(model, facts, term, dict(states))
        if self.lie:
            raise LedgerUnavailable("the connection broke while the commit was answered")
        return seq

    async def save_policy(self, digest, canonical):
        await self.ledger.save_policy(digest, canonical)

    async def decisions(self, model, limit=None):
        return await self.ledger.decisions(model, limit)


class RefusingSpool(Spool):
    """A spool whose disk refuses while `full`; half a line may get through first."""

    full = False
    half = False

    def append(self, model, decision, state=b""):
        if self.full:
            if self.half:
                with self._path.open("ab") as file:
                    file.write(b'\n{"model": "m", "deci')
            raise OSError("disk full")
        super().append(model, decision, state)


class Rig:
    def __init__(self, folder, ledger, term):
        self.ledger = FlakyLedger(ledger)
        self.folder = folder
        self.term = term
        self.journal = self.again()

    def again(self):
        """The journal of the next control process."""
        self.spool = RefusingSpool(self.folder / "spool.jsonl")
        self.journal = Journal(self.ledger, self.spool, self.term, lambda _up: None)
        return self.journal

    async def recorded(self, model="m"):
        return [each.at for each in (await self.ledger.ledger.decisions(model))[::-1]]


@pytest.fixture
def story(tmp_path, with_ledger):
    """Runs a coroutine function with a rig on a real ledger."""
    return lambda work: with_ledger(lambda ledger, term: work(Rig(tmp_path, ledger, term)))


def test_two_models_that_record_at_once_drain_the_spool_once(story):
    async def work(rig):
        rig.ledger.appends_left = 0
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.ledger.appends_left = None
        await asyncio.gather(
            rig.journal.record("m", [decision(2.0, DecisionKind.MOVED)]),
            rig.journal.record("other", [decision(3.0)]),
        )
        assert await rig.recorded() == [1.0, 2.0]
        assert await rig.recorded("other") == [3.0]

    story(work)


def test_what_one_model_spools_while_another_drains_is_not_deleted(story):
    async def work(rig):
        rig.ledger.appends_left = 0
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.ledger.appends_left, rig.ledger.gate = 2, asyncio.Event()
        draining = asyncio.create_task(rig.journal.record("m", [decision(2.0, DecisionKind.MOVED)]))
        await asyncio.sleep(0)
        spooling = asyncio.create_task(rig.journal.record_or_spool("other", decision(3.0)))
        await asyncio.sleep(0)
        rig.ledger.gate.set()
        await draining
        await spooling
        rig.ledger.appends_left = None
        await rig.journal.drain()
        assert await rig.recorded() == [1.0, 2.0]
        assert await rig.recorded("other") == [3.0]

    story(work)


def test_a_drain_that_breaks_off_doubles_nothing(story):
    async def work(rig):
        rig.ledger.appends_left = 0
        for at in (1.0, 2.0):
            await rig.journal.record_or_spool("m", decision(at))
        await rig.journal.record_or_spool("other", decision(3.0))
        rig.ledger.appends_left = 1
        with pytest.raises(LedgerUnavailable):
            await rig.journal.drain()
        rig.ledger.appends_left = None
        await rig.again().drain()
        assert await rig.recorded() == [1.0, 2.0]
        assert await rig.recorded("other") == [3.0]

    story(work)


def test_a_process_killed_between_the_ledger_and_the_end_of_the_spool_doubles_nothing(story, tmp_path):
    async def work(rig):
        rig.ledger.appends_left = 0
        await rig.journal.record_or_spool("m", decision(1.0))
        left = (tmp_path / "spool.jsonl").read_bytes()
        rig.ledger.appends_left = None
        await rig.journal.record("m", [decision(2.0, DecisionKind.MOVED)])
        (tmp_path / "spool.jsonl").write_bytes(left)  # as if it had not come to the deletion
        await rig.again().drain()
        assert await rig.recorded() == [1.0, 2.0]

    story(work)


def test_a_commit_whose_answer_was_lost_is_not_doubled(story):
    async def work(rig):
        rig.ledger.lie = True
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.ledger.lie = False
        await rig.journal.drain()
        assert await rig.recorded() == [1.0]

    story(work)


def test_what_the_spool_refused_keeps_its_place(story):
    async def work(rig):
        rig.ledger.appends_left = 0
        rig.spool.full = True
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.spool.full = False
        await rig.journal.record_or_spool("m", decision(2.0, DecisionKind.MOVED))
        rig.ledger.appends_left = None
        await rig.journal.drain()
        assert await rig.recorded() == [1.0, 2.0]

    story(work)


def test_half_a_line_on_a_full_disk_spoils_nothing_after_it(story):
    async def work(rig):
        rig.ledger.appends_left = 0
        rig.spool.full = rig.spool.half = True
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.spool.full = False
        await rig.journal.record_or_spool("m", decision(2.0, DecisionKind.MOVED))
        rig.ledger.appends_left = None
        await rig.again().drain()  # in another process: what is in the file must be enough
        assert await rig.recorded() == [1.0, 2.0]

    story(work)


def test_a_spool_that_cannot_be_deleted_ends_nothing_and_doubles_nothing(story, tmp_path, monkeypatch):
    async def work(rig):
        rig.ledger.appends_left = 0
        await rig.journal.record_or_spool("m", decision(1.0))
        rig.ledger.appends_left = None
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.unlink", _read_only)
            await rig.journal.record("m", [decision(2.0, DecisionKind.MOVED)])
            await rig.journal.record("m", [decision(3.0)])
        await rig.again().record("m", [decision(4.0, DecisionKind.MOVED)])
        assert await rig.recorded() == [1.0, 2.0, 3.0, 4.0]
        assert not (tmp_path / "spool.jsonl").exists()

    story(work)


def test_a_spool_that_cannot_be_read_lets_nothing_pass_it(story, tmp_path):
    async def work(rig):
        (tmp_path / "spool.jsonl").mkdir()
        with pytest.raises(LedgerUnavailable, match="spool"):
            await rig.journal.record("m", [decision(1.0)])
        await rig.journal.record_or_spool("m", decision(2.0))
        (tmp_path / "spool.jsonl").rmdir()
        await rig.journal.drain()
        assert await rig.recorded() == [2.0]

    story(work)


def _read_only(*_args, **_kwargs):
    raise OSError(30, "Read-only file system")
