"""The lease: one leader, and nothing written under an old term."""

import asyncio

import numpy as np
import pytest

from comparator.events import LABEL, Decision, DecisionKind, Labels
from router.control.ledger import Fenced, Ledger


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def decision():
    return Decision(DecisionKind.START, 0.0, 0, 2, "because")


async def read(facts):
    return [(seq, type(fact).__name__) async for seq, fact in facts]


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_the_lease_goes_to_another_only_after_its_holder_was_silent(url):
    async def run():
        clock = Clock()
        a = await Ledger.open(url)
        b = await Ledger.open(url, monotonic=clock)
        term = await a.acquire("a", 3.0)
        assert term == 1
        assert await b.acquire("b", 3.0) is None
        clock.now += 2.9
        await a.renew("a", term, 3.0)
        assert await b.acquire("b", 3.0) is None  # a beat was seen
        clock.now += 2.9
        assert await b.acquire("b", 3.0) is None
        clock.now += 0.2
        assert await b.acquire("b", 3.0) == 2
        with pytest.raises(Fenced):
            await a.renew("a", term, 3.0)
        with pytest.raises(Fenced):
            await a.append("m", [decision()], term)
        assert await read(b.since("m")) == []
        await b.append("m", [decision()], 2)
        await a.append("m", [Labels(np.zeros(1, LABEL))])  # without a term
        await a.release("a", term)  # no longer its own: nothing happens
        await b.renew("b", 2, 3.0)
        await a.close()
        await b.close()

    asyncio.run(run())


def test_a_released_lease_is_free_at_once_and_its_term_writes_no_more(url):
    async def run():
        a, b = await Ledger.open(url), await Ledger.open(url)
        term = await a.acquire("a", 3600.0)
        assert await b.acquire("b", 3.0) is None
        await a.release("a", term)
        with pytest.raises(Fenced, match="released"):
            await a.append("m", [decision()], term)
        assert await b.acquire("b", 3.0) == term + 1
        await a.close()
        await b.close()

    asyncio.run(run())


def test_a_process_started_again_shuts_out_its_old_self(url):
    async def run():
        old, new = await Ledger.open(url), await Ledger.open(url)
        first = await old.acquire("host", 3600.0)
        second = await new.acquire("host", 3600.0)
        assert second == first + 1
        with pytest.raises(Fenced):
            await old.append("m", [decision()], first)
        with pytest.raises(Fenced):
            await old.renew("host", first, 3600.0)
        await old.close()
        await new.close()

    asyncio.run(run())


def test_many_contenders_one_leader(url):
    async def run():
        clock = Clock()
        dead = await Ledger.open(url)
        await dead.acquire("dead", 3.0)
        await dead.close()
        ledgers = [await Ledger.open(url, monotonic=clock) for _ in range(6)]
        for number, ledger in enumerate(ledgers):
            assert await ledger.acquire(f"c{number}", 3.0) is None
        clock.now += 3.5
        terms = await asyncio.gather(*[ledger.acquire(f"c{number}", 3.0) for number, ledger in enumerate(ledgers)])
        assert sorted(term for term in terms if term is not None) == [2]
        for ledger in ledgers:
            await ledger.close()

    asyncio.run(run())
