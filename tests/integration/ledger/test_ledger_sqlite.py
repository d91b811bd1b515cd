"""The ledger on real SQLite files: order, crashes, full disks, other processes."""

import asyncio
import os
import select
import signal
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from comparator.events import LABEL, OBSERVATION, Decision, DecisionKind, Labels, Observations
from router.control.ledger import Ledger, LedgerUnavailable
from router.control.ledger.engine import reading


def observations(count, at=0.0, start=0):
    columns = np.zeros(count, OBSERVATION)
    columns["at"] = at
    columns["request_lo"] = np.arange(start, start + count)
    return Observations(columns)


def labels(count, at=0.0):
    columns = np.zeros(count, LABEL)
    columns["at"] = at
    return Labels(columns)


def decision(kind=DecisionKind.START, rollout_id=0, at=0.0):
    return Decision(kind, at, rollout_id, 2, "because", evidence={"n": 3, "bound": float("inf")})


async def read(facts):
    return [(seq, type(fact).__name__) async for seq, fact in facts]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def test_facts_come_back_in_order_and_by_model(url):
    async def run():
        ledger = await Ledger.open(url)
        first = await ledger.append("a", [observations(3), labels(2), decision()])
        await ledger.append("b", [labels(1)])
        last = await ledger.append("a", [labels(4), observations(0)])
        assert [name for _, name in await read(ledger.since("a"))] == ["Observations", "Labels", "Decision", "Labels"]
        assert await read(ledger.since("a", seq=first)) == [(last, "Labels")]
        assert await ledger.append("a", []) == last
        assert await ledger.decisions("a", 5) == [decision()]
        assert await ledger.decisions("b", 5) == []
        await ledger.close()
        again = await Ledger.open(url)
        assert len(await read(again.since("a"))) == 4
        await again.close()

    asyncio.run(run())


def test_decisions_come_newest_first_and_limited(url):
    async def run():
        ledger = await Ledger.open(url)
        await ledger.append("m", [decision(at=float(at)) for at in range(5)])
        assert [found.at for found in await ledger.decisions("m", 2)] == [4.0, 3.0]
        assert len(await ledger.decisions("m")) == 5
        await ledger.close()

    asyncio.run(run())


def test_many_pages_and_long_batches(url):
    async def run():
        ledger = await Ledger.open(url)
        await ledger.append("m", [observations(40_000)])  # several rows
        for number in range(100):
            await ledger.append("m", [observations(1, start=100_000 + number)])
        found = [fact.columns["request_lo"] async for _, fact in ledger.since("m")]
        assert np.array_equal(np.concatenate(found), [*range(40_000), *range(100_000, 100_100)])
        await ledger.close()

    asyncio.run(run())


def test_a_restart_gets_all_decisions_and_the_traffic_of_the_latest_rollout(url):
    async def run():
        ledger = await Ledger.open(url)
        assert await ledger.rollout_start("m") == 0
        await ledger.append("m", [decision(rollout_id=10), observations(1, at=100.0), decision(DecisionKind.ABORT, 10)])
        before = await ledger.append("m", [labels(1, at=200.0), decision(DecisionKind.FOREIGN_MOVE)])
        await ledger.append("m", [decision(DecisionKind.HOLD, 20), observations(1, at=300.0)])
        await ledger.append("m", [decision(DecisionKind.START, 20), labels(1, at=400.0), decision(DecisionKind.MOVED)])
        assert await ledger.rollout_start("m") == before + 1
        names = [name for _, name in await read(ledger.resume("m", at=250.0))]
        assert names == [*["Decision"] * 4, "Observations", "Decision", "Labels", "Decision"]
        names = [name for _, name in await read(ledger.resume("m", at=350.0))]
        assert names == [*["Decision"] * 5, "Labels", "Decision"]
        await ledger.close()

    asyncio.run(run())


def test_pruning_takes_old_batches_and_no_decisions(url):
    async def run():
        ledger = await Ledger.open(url)
        await ledger.append(
            "m", [decision(at=1.0), *[observations(1, at=float(at)) for at in range(600)], labels(1, 5.0)]
        )
        last = await ledger.append("m", [labels(1, 1000.0)])
        assert await ledger.prune(1000.0) == 601
        assert [name for _, name in await read(ledger.since("m"))] == ["Decision", "Labels"]
        assert await ledger.prune(2000.0) == 1
        assert await ledger.append("m", [labels(1)]) > last  # a cursor never sees a number again
        await ledger.close()

    asyncio.run(run())


def test_a_bad_fact_records_nothing_of_its_transaction(url):
    async def run():
        ledger = await Ledger.open(url)
        with pytest.raises(TypeError):
            await ledger.append("m", [decision(), Observations(np.zeros(1, LABEL))])
        assert await read(ledger.since("m")) == []
        await ledger.close()

    asyncio.run(run())


def test_two_ledgers_on_one_file_lose_nothing(url):
    async def write(ledger, model):
        for number in range(60):
            await ledger.append(model, [observations(2, start=number), decision(at=float(number))])

    async def run():
        ledgers = [await Ledger.open(url) for _ in range(2)]
        await asyncio.gather(
            write(ledgers[0], "m"), write(ledgers[1], "m"), write(ledgers[0], "n"), write(ledgers[1], "n")
        )
        for model in ("m", "n"):
            seen = [seq for seq, _ in await read(ledgers[0].since(model))]
            assert len(seen) == 240
            assert seen == sorted(seen)
        for ledger in ledgers:
            await ledger.close()

    asyncio.run(run())


@pytest.mark.parametrize("_again", range(30))  # one in twenty failed: SQLite does not wait for a switch to WAL
def test_ten_processes_may_open_a_new_ledger_at_once(url, _again):
    async def run():
        ledgers = await asyncio.gather(*[Ledger.open(url) for _ in range(10)])
        assert await ledgers[0].acquire("a", 1) == 1
        for ledger in ledgers:
            await ledger.close()

    asyncio.run(run())


WRITER = """
    import asyncio, sys
    import numpy as np
    from comparator.events import LABEL, Labels
    from router.control.ledger import Ledger

    async def main():
        ledger = await Ledger.open(sys.argv[1])
        number = 0
        while True:
            columns = np.zeros(200, LABEL)
            columns["request_lo"] = number
            await ledger.append("m", [Labels(columns), Labels(columns)])
            print(number, flush=True)
            number += 1

    asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(url):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), url], stdout=subprocess.PIPE, env={**os.environ}
    )
    try:
        acknowledged = -1
        while acknowledged < 50:
            ready, _, _ = select.select([writer.stdout], [], [], 30)
            assert ready, "the writer wrote nothing for 30 seconds"
            acknowledged = int(writer.stdout.readline())
    finally:
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait(30)
        writer.stdout.close()
    acknowledged = max([acknowledged, *map(int, rest[:-1])])  # the last line may be cut short

    async def run():
        ledger = await Ledger.open(url)
        found = [int(fact.columns["request_lo"][0]) async for _, fact in ledger.since("m")]
        assert len(found) >= 2 * (acknowledged + 1)
        assert found == [number for number in range(len(found) // 2) for _ in range(2)]  # whole transactions, in order
        await ledger.append("m", [labels(1)])
        await ledger.close()

    asyncio.run(run())


def test_a_full_disk_is_told_and_gets_over(url):
    async def pages(ledger, most):
        def limit():
            with ledger._engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={most}")

        await ledger._run(limit)

    async def fill(ledger):
        for _ in range(100):
            await ledger.append("m", [labels(1), observations(5_000)])

    async def run():
        ledger = await Ledger.open(url)
        await ledger.append("m", [decision()])
        await pages(ledger, 1)  # SQLite takes the present size, when that is more
        with pytest.raises(LedgerUnavailable, match="full"):
            await fill(ledger)
        kept = await read(ledger.since("m"))
        names = [name for _, name in kept]
        assert names[:1] == ["Decision"]
        assert names.count("Labels") == names.count("Observations")  # no half transaction
        with pytest.raises(LedgerUnavailable, match="full"):
            await ledger.append("m", [observations(20_000)])
        await pages(ledger, 1_000_000)
        await ledger.append("m", [observations(20_000)])
        assert len(await read(ledger.since("m"))) == len(kept) + 2
        await ledger.close()

    asyncio.run(run())


def test_a_locked_database_is_told_and_gets_over(url, tmp_path):
    async def run():
        ledger = await Ledger.open(url, busy_seconds=0.05)
        await ledger.append("m", [decision()])
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.append("m", [decision()])
        assert len(await read(ledger.since("m"))) == 1  # readers do not wait for a writer
        other.execute("ROLLBACK")
        other.close()
        await ledger.append("m", [decision()])
        await ledger.close()

    asyncio.run(run())


def test_a_read_only_file_is_told_and_gets_over(url):
    async def set_read_only(ledger, on):
        def pragma():
            with reading(ledger._engine) as connection:
                connection.exec_driver_sql(f"PRAGMA query_only={on}")

        await ledger._run(pragma)

    async def run():
        ledger = await Ledger.open(url)
        await set_read_only(ledger, 1)
        with pytest.raises(LedgerUnavailable, match="readonly"):
            await ledger.append("m", [decision()])
        await set_read_only(ledger, 0)
        await ledger.append("m", [decision()])
        await ledger.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/titleshot.db", "sqlite:////no/such/folder/x.db", "nonsense", "nonsense://x/y"]
)
def test_what_cannot_be_opened_is_unavailable(url):
    with pytest.raises(LedgerUnavailable):
        asyncio.run(Ledger.open(url))


def test_a_password_is_not_told():
    with pytest.raises(LedgerUnavailable) as told:
        asyncio.run(Ledger.open("mssql+pyodbc://me:hush-hush@db/x"))
    assert "hush-hush" not in str(told.value)


def test_a_file_that_is_no_ledger(tmp_path):
    (tmp_path / "text.db").write_text("this is a text\n" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        asyncio.run(Ledger.open(f"sqlite:///{tmp_path / 'text.db'}"))
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE facts (x)")
    other.close()
    with pytest.raises(LedgerUnavailable, match="not a ledger"):
        asyncio.run(Ledger.open(f"sqlite:///{tmp_path / 'other.db'}"))


def test_a_closed_ledger_is_unavailable(url):
    async def run():
        ledger = await Ledger.open(url)
        await ledger.close()
        await ledger.close()
        with pytest.raises(LedgerUnavailable, match="closed"):
            await ledger.append("m", [decision()])

    asyncio.run(run())


def test_a_cancelled_append_leaves_the_ledger_usable(url):
    async def run():
        ledger = await Ledger.open(url)
        task = asyncio.create_task(ledger.append("m", [observations(30_000)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ledger.append("m", [decision()])
        names = [name for _, name in await read(ledger.since("m"))]
        assert names in (["Decision"], ["Observations", "Observations", "Decision"])
        await ledger.close()

    asyncio.run(run())
