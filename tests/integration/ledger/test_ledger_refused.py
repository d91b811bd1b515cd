"""Refused attempts to act, in real ledgers."""

import asyncio
import sqlite3

import pytest

from router.control.ledger import Ledger, RefusedAct, refused


def act(at, model="m", **changes):
    return RefusedAct(at, "ann", "the network", "promote", model, "ann does not have the right to approve", **changes)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def test_they_come_back_the_newest_first_with_those_of_no_model(url):
    async def run():
        ledger = await Ledger.open(url)
        await ledger.add_refused([act(1.0), act(2.0, "other"), act(3.0, "", times=9)])
        await ledger.close()
        ledger = await Ledger.open(url)
        await ledger.add_refused([act(4.5)])
        assert await ledger.refused("m", 10) == [act(4.5), act(3.0, "", times=9), act(1.0)]
        assert await ledger.refused("m", 1) == [act(4.5)]
        assert await ledger.refused("nobody", 10) == [act(3.0, "", times=9)]
        assert [item async for item in ledger.since("m")] == []  # they are no facts
        await ledger.close()

    asyncio.run(run())


def test_the_oldest_of_too_many_go(url, monkeypatch):
    monkeypatch.setattr(refused, "MOST_KEPT", 5)

    async def run():
        ledger = await Ledger.open(url)
        for at in range(8):
            await ledger.add_refused([act(float(at))])
        assert [each.at for each in await ledger.refused("m", 100)] == [7.0, 6.0, 5.0, 4.0, 3.0]
        await ledger.close()

    asyncio.run(run())


def test_a_ledger_of_the_schema_before_takes_them(url, tmp_path):
    async def run():
        await (await Ledger.open(url)).close()
        old = sqlite3.connect(tmp_path / "ledger.db")
        old.executescript("DROP TABLE refused_acts; UPDATE schema_version SET version = 3;")
        old.close()
        ledger = await Ledger.open(url)
        await ledger.add_refused([act(1.0)])
        assert await ledger.refused("m", 10) == [act(1.0)]
        await ledger.close()

    asyncio.run(run())
