"""Ledgers of older and newer schemas."""

import asyncio
import sqlite3
import zlib

import numpy as np
import pytest
from sqlalchemy import text

from comparator.events import LABEL, Decision, DecisionKind
from router.control.ledger import Ledger, LedgerUnavailable, schema
from router.control.ledger.engine import connect, writing


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


VERSION_1 = """
    CREATE TABLE schema_version (version INTEGER NOT NULL);
    INSERT INTO schema_version VALUES (1);
    CREATE TABLE facts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, kind TEXT NOT NULL, layout INTEGER NOT NULL,
        row_count INTEGER NOT NULL, last_at DOUBLE NOT NULL, rollout_id BIGINT NOT NULL, term BIGINT, batch BLOB,
        decision TEXT
    );
    CREATE INDEX facts_of_model ON facts (model, kind, seq);
    CREATE INDEX facts_by_age ON facts (kind, last_at);
    CREATE TABLE policies (digest TEXT NOT NULL PRIMARY KEY, canonical TEXT NOT NULL);
    CREATE TABLE lease (
        name TEXT NOT NULL PRIMARY KEY, holder TEXT, term BIGINT NOT NULL, beat BIGINT NOT NULL,
        ttl_seconds DOUBLE NOT NULL
    );
    INSERT INTO lease VALUES ('leader', 'host-a', 7, 40, 3.0);
    INSERT INTO policies VALUES ('abc', '{}');
    INSERT INTO facts VALUES (41, 'm', 'labels', 1, 2, 9.5, 0, 7, zeroblob(0), NULL);
    INSERT INTO facts VALUES (42, 'm', 'decision', 1, 1, 10.0, 77, 7, NULL,
        '{"kind":"promote","at":10.0,"rollout_id":77,"version":8,"reason":"proven","actor":"titleshot",'
        || '"phase":"promoting","step":-1,"move":{"expected":7,"to":8},"trigger":"","policy_digest":"abc",'
        || '"evidence":{"upper":{"$float":"inf"}}}');
"""


def test_a_ledger_of_version_1_is_read(url, tmp_path):
    """Made by this text and not by today's code, so that it stays a ledger of version 1 for ever."""
    old = sqlite3.connect(tmp_path / "ledger.db")
    old.executescript(VERSION_1)
    batch = np.zeros(2, LABEL)
    batch["at"], batch["label"] = 9.5, [0.0, 1.0]
    old.execute("UPDATE facts SET batch = ? WHERE seq = 41", [_version_1_batch(batch)])
    old.commit()
    old.close()

    async def run():
        ledger = await Ledger.open(url)
        facts = [item async for item in ledger.since("m")]
        assert [seq for seq, _ in facts] == [41, 42]
        assert facts[0][1].columns.tobytes() == batch.tobytes()
        (found,) = await ledger.decisions("m", 5)
        assert (found.move.to, found.evidence) == (8, {"upper": float("inf")})
        assert await ledger.policies() == {"abc": "{}"}
        assert await ledger.acquire("host-a", 3.0) == 8
        assert await ledger.append("m", [Decision(DecisionKind.START, 0.0, 0, 2, "because")], 8) == 43
        await ledger.close()

    asyncio.run(run())


def _version_1_batch(columns):
    return zlib.compress(b"".join(columns[name].tobytes() for name in columns.dtype.names), 1)


def test_migrations_run_once_in_order_and_a_newer_ledger_is_refused(url, tmp_path):
    asyncio.run(_open_and_close(url))
    ran = []

    def add_column(connection):
        ran.append("add")
        connection.execute(text("ALTER TABLE policies ADD COLUMN note TEXT"))

    def fill_column(connection):
        ran.append("fill")
        connection.execute(text("UPDATE policies SET note = ''"))

    engine = connect(url, 1.0)
    for _ in range(2):
        with writing(engine) as connection:
            known = (*schema.MIGRATIONS, add_column, fill_column)
            assert schema.migrate(connection, known) == len(known)
    engine.dispose()
    assert ran == ["add", "fill"]
    with pytest.raises(LedgerUnavailable, match=rf"schema version {len(schema.MIGRATIONS) + 2}.*newer titleshot"):
        asyncio.run(Ledger.open(url))


def test_a_migration_that_fails_leaves_the_old_ledger(url):
    asyncio.run(_open_and_close(url))

    def half(connection):
        connection.execute(text("ALTER TABLE policies ADD COLUMN note TEXT"))
        raise RuntimeError("power cut")

    engine = connect(url, 1.0)
    with pytest.raises(RuntimeError), writing(engine) as connection:
        schema.migrate(connection, (*schema.MIGRATIONS, half))
    engine.dispose()
    asyncio.run(_open_and_close(url))


async def _open_and_close(url):
    ledger = await Ledger.open(url)
    await ledger.save_policy("d", "{}")
    await ledger.save_policy("d", "{}")
    assert await ledger.policies() == {"d": "{}"}
    await ledger.close()
