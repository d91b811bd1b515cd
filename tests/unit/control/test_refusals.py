"""Refused attempts to act: bounded, counted, and never in anybody's way."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.control.ledger import LedgerUnavailable, RefusedAct
from router.control.refusals import MOST_A_MINUTE, Refusals, Sieve


def attempt(at=60_000.0, act="rollback", **changes):
    return RefusedAct(
        **{"at": at, "actor": "", "origin": "the network", "act": act, "model": "m", "why": "no token", **changes}
    )


ARRIVALS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.1, 20.0, 90.0]), st.sampled_from(["pause", "labels"]), st.booleans()),
    max_size=150,
)


@given(ARRIVALS)
def test_every_attempt_is_told_of_once_and_a_minute_has_few_rows(arrivals):
    sieve, now, rows, minutes = Sieve(), 60_000.0, [], set()
    for passed, act, taken in arrivals:
        now += passed
        minutes.add(now // 60)
        sieve.add(attempt(now, act, actor="ann" if taken else ""))
        if taken:
            rows += sieve.take(now)
    rows += sieve.take_all()
    assert sum(row.times for row in rows) == len(arrivals)
    assert Counter(act for _, act, _ in arrivals) == sum((Counter({row.act: row.times}) for row in rows), Counter())
    for minute in minutes:
        of_it = [row for row in rows if row.at // 60 == minute]
        assert sum(row.actor == "" and "more in the minute" in row.why for row in of_it) <= 2
        assert len(of_it) <= 2 * MOST_A_MINUTE + 2


def test_a_flood_is_one_row_for_each_act_with_nothing_of_whom_it_came_from():
    sieve = Sieve()
    for _ in range(MOST_A_MINUTE + 500):
        sieve.add(attempt(actor="mallory"))
    assert len(sieve.take(60_010.0)) == MOST_A_MINUTE
    assert sieve.take(60_059.0) == []
    (rest,) = sieve.take(60_060.0)
    assert (rest.act, rest.times, rest.actor, rest.model, rest.at) == ("rollback", 500, "", "", 60_000.0)
    sieve.add(attempt(60_061.0))
    assert len(sieve.take(60_062.0)) == 1


def test_a_flood_of_strangers_or_of_one_actor_hides_nobody_else():
    sieve = Sieve()
    for actor in ("", "mallory"):
        for _ in range(MOST_A_MINUTE + 1):
            sieve.add(attempt(actor=actor))
    sieve.add(attempt(actor="eve"))
    assert Counter(row.actor for row in sieve.take(60_010.0)) == {"": 30, "mallory": 30, "eve": 1}


class Book:
    def __init__(self):
        self.away = False
        self.rows = []

    async def add_refused(self, acts):
        if self.away:
            raise LedgerUnavailable("away")
        self.rows += acts


def test_while_the_ledger_is_away_they_are_only_counted():
    book, counted, lost = Book(), [], []
    refusals = Refusals(book, counted.append, lost.append)

    async def story():
        book.away = True
        refusals.add(attempt())
        await refusals.finish()
        book.away = False
        refusals.add(attempt(act="promote"))
        await refusals.finish()

    asyncio.run(story())
    assert counted == ["rollback", "promote"]
    assert lost == [1]
    assert [row.act for row in book.rows] == ["promote"]
