"""The chain and the evidence states on real SQLite files: written with the decisions, read beside their writer."""

import asyncio
import json
import sqlite3

import numpy as np
import pytest
from test_ledger_migrations import VERSION_1
from with_ledger import with_ledger_at

from comparator.events import Decision, DecisionKind, Observations
from comparator.proof import digest_of
from router.control.journal import Journal
from router.control.ledger import Fenced, Ledger, LedgerUnavailable
from router.control.ledger.archive import Archive
from router.control.ledger.audit import read, tagged
from router.control.ledger.chain import START, Head, verify
from router.control.spool import Spool

STATE = json.dumps({"layout": 1, "evidence": list(range(500))}).encode()


def decision(at, state=b"", policy=""):
    digest = digest_of(state) if state else ""
    return Decision(DecisionKind.PROMOTE, at, 7, 2, "because", policy_digest=policy, state_digest=digest)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def with_ledger(url):
    """Runs `work(ledger, term)` with a real ledger and the lease on it."""
    return with_ledger_at(url)


def found(url, model="m"):
    with Archive.open(url) as archive:
        return [(finding.entry, finding.kind) for finding in read(archive, model).findings]


def edit(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        assert connection.execute(statement).rowcount > 0, statement
    connection.commit()
    connection.close()


def test_each_model_has_its_chain_and_its_head(with_ledger, url):
    async def work(ledger, term):
        assert await ledger.head("a") is None
        await ledger.append("a", [decision(1.0), decision(2.0)], term)
        await ledger.append("b", [decision(3.0)], term)
        await ledger.append("a", [decision(4.0)], term)
        head = await ledger.head("a")
        assert head.number == 3
        assert [number for number, _ in await ledger.numbered("a", 2)] == [3, 2]
        other = await Ledger.open(url)  # as after a restart
        assert await other.head("a") == head
        await other.close()
        with Archive.open(url) as archive:  # while another writes
            assert archive.models() == ["a", "b"]
            assert verify("a", archive.entries("a")) == verify("b", archive.entries("b")) == []
            assert [each.number for each in read(archive, "a").decisions] == [1, 2, 3]
            assert archive.entries("b")[0].place.prev == START

    with_ledger(work)


def test_what_is_not_recorded_is_not_chained(with_ledger, url):
    async def work(ledger, term):
        await ledger.append("m", [decision(1.0)], term)
        await ledger.acquire("me", 60.0)  # the term is over
        with pytest.raises(Fenced):
            await ledger.append("m", [decision(2.0, STATE)], term, {digest_of(STATE): STATE})
        with pytest.raises(TypeError):
            await ledger.append("m", [decision(2.0), Observations(np.zeros(1))], term + 1)
        assert (await ledger.head("m")).number == 1
        with Archive.open(url) as archive:
            assert archive.state(digest_of(STATE)) is None
            assert len(archive.entries("m")) == 1

    with_ledger(work)


def test_a_state_is_kept_once_with_its_decision_and_outlives_the_traffic(with_ledger, url):
    async def work(ledger, term):
        await ledger.save_policy("p", "{}")
        for at in (1.0, 2.0):
            await ledger.append("m", [decision(at, STATE, "p")], term, {digest_of(STATE): STATE})
        await ledger.prune(1e12)
        with Archive.open(url) as archive:
            assert archive.state(digest_of(STATE)) == STATE
            assert read(archive, "m").states == 1

    with_ledger(work)


def test_what_was_spooled_is_chained_in_its_place_with_its_state(with_ledger, url, tmp_path, monkeypatch):
    async def work(ledger, term):
        async def away(*_args):
            raise LedgerUnavailable("disk full")

        spool = tmp_path / "spool.jsonl"
        journal = Journal(ledger, Spool(spool), term, lambda _up: None)
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "append", away)
            await journal.record_or_spool("m", decision(1.0, STATE, "p"), STATE)
        await ledger.save_policy("p", "{}")
        again = Journal(ledger, Spool(spool), term, lambda _up: None)  # the next process
        await again.record("m", [decision(2.0)])
        assert not spool.exists()
        assert [each.at for _, each in await ledger.numbered("m")] == [2.0, 1.0]
        with Archive.open(url) as archive:
            assert archive.state(digest_of(STATE)) == STATE
            assert verify("m", archive.entries("m")) == []

    with_ledger(work)


def test_a_spool_of_before_is_read(tmp_path):
    spool = Spool(tmp_path / "spool.jsonl")
    spool.append("m", decision(1.0))
    line = json.loads((tmp_path / "spool.jsonl").read_text())
    del line["state"]
    (tmp_path / "spool.jsonl").write_text(json.dumps(line))
    assert [(kept.decision, kept.state) for kept in spool.read()] == [(decision(1.0), b"")]


def test_decisions_of_before_are_chained_by_the_upgrade(url, path):
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.execute(
        "INSERT INTO facts SELECT 43, 'other', kind, layout, 1, 11.0, 77, 7, NULL, decision FROM facts WHERE seq = 42"
    )
    old.execute(
        "INSERT INTO facts SELECT 44, 'm', kind, layout, 1, 12.0, 77, 8, NULL, decision FROM facts WHERE seq = 42"
    )
    old.commit()
    old.close()
    with pytest.raises(LedgerUnavailable, match=r"schema version 1.*start `titleshot serve`"), Archive.open(url):
        pass

    async def upgrade():
        ledger = await Ledger.open(url)
        assert [number for number, _ in await ledger.numbered("m")] == [2, 1]
        assert (await ledger.head("other")).number == 1
        await ledger.close()

    asyncio.run(upgrade())
    with Archive.open(url) as archive:
        assert verify("m", archive.entries("m")) == verify("other", archive.entries("other")) == []
    edit(path, "UPDATE facts SET decision = replace(decision, 'proven', 'bribed') WHERE seq = 42")
    with Archive.open(url) as archive:
        assert [finding.entry for finding in verify("m", archive.entries("m"))] == ["m/1"]


@pytest.mark.parametrize(
    ("statements", "findings"),
    [
        (["UPDATE facts SET term = 9 WHERE seq = 2"], [("m/2", "changed")]),
        (["UPDATE facts SET kind = 'labels' WHERE seq = 2"], [("m/2", "missing")]),
        (["UPDATE facts SET decision = x'00' WHERE seq = 2"], [("m/2", "changed"), ("m/2", "changed")]),
        (["UPDATE facts SET rollout_id = 8 WHERE seq = 2"], [("m/2", "changed")]),
        (["DELETE FROM facts WHERE seq = 3"], [("m/3", "missing")]),
        (["DELETE FROM chain WHERE seq = 3"], [("m/3", "missing"), ("m/seq 3", "added")]),
        (["DELETE FROM facts WHERE seq <= 2", "DELETE FROM chain WHERE seq <= 2"], [("m/1", "missing")]),
        (["UPDATE facts SET seq = 99 WHERE seq = 2"], [("m/2", "missing"), ("m/seq 99", "added")]),
        (["UPDATE chain SET number = 'x' WHERE seq = 2"], [("m/2", "missing"), ("m/seq 2", "added")]),
        (["UPDATE policies SET canonical = '[]'"], [("m/1", "changed")]),
        (["DELETE FROM policies"], [("m/1", "missing")]),
        (["UPDATE evidence_states SET state = 7"], [("m/1", "missing")]),
    ],
)
def test_whatever_is_touched_is_found(with_ledger, url, path, statements, findings):
    policy = digest_of(b"{}")

    async def work(ledger, term):
        await ledger.save_policy(policy, "{}")
        await ledger.append("m", [decision(1.0, STATE, policy)], term, {digest_of(STATE): STATE})
        await ledger.append("m", [decision(2.0), decision(3.0), decision(4.0)], term)

    with_ledger(work)
    assert found(url) == []
    edit(path, *statements)
    assert found(url) == findings


def test_a_tag_is_compared_and_never_believed(with_ledger, url, path):
    heads = {}

    async def work(ledger, term):
        for at in (1.0, 2.0, 3.0):
            await ledger.append("m", [decision(at)], term)
            heads[int(at)] = str(await ledger.head("m"))

    with_ledger(work)

    def told(tags):
        with Archive.open(url) as archive:
            record = read(archive, "m")
        return [(each.entry, each.kind) for each in (*record.findings, *tagged(record, tags)[1])]

    assert told({2: heads[1], 3: heads[3]}) == []
    assert told({2: "<script>", 3: str(Head(2, "0" * 64))}) == [("m/?", "changed"), ("m/2", "changed")]
    edit(path, "DELETE FROM facts WHERE seq > 1", "DELETE FROM chain WHERE seq > 1")
    assert told({}) == []
    assert told({2: heads[1], 3: heads[3]}) == [("m/3", "cut")]


def test_reading_makes_no_file_and_changes_none(tmp_path):
    missing, other = tmp_path / "missing.db", tmp_path / "other.db"
    with pytest.raises(LedgerUnavailable, match="there is no file"), Archive.open(f"sqlite:///{missing}"):
        pass
    assert not missing.exists()
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(LedgerUnavailable, match="not a ledger"), Archive.open(f"sqlite:///{other}"):
        pass
    assert other.read_bytes() == before
    other.write_bytes(b"text" * 1000)
    with pytest.raises(LedgerUnavailable), Archive.open(f"sqlite:///{other}"):
        pass
