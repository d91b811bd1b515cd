"""Queues of notifications: bounded, in order, nothing uncounted; and that only what is recorded is told."""

import asyncio
import sqlite3
import threading

import pytest
from answering import Answering
from desk import PROMOTE, SHADOW, policy
from hypothesis import given
from hypothesis import strategies as st
from with_ledger import with_ledger_at

from comparator.events import AliasesRead, Command, CommandKind, Decision, DecisionKind
from comparator.news import Event
from comparator.title import Title
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger import LedgerUnavailable
from router.control.notifications import Notification
from router.control.notifier import LONGEST_WAIT_SECONDS, MOST_WAITING, PATIENCE_SECONDS, Line, Notifier, outcome_of
from router.control.resume import resumed
from router.control.spool import Spool
from router.settings.notify import NotifySettings

POLICY = policy(SHADOW, PROMOTE)


def told(number):
    decision = Decision(DecisionKind.PAUSE, float(number), 7, 2, "why", "ann")
    return Notification(Event.PAUSED, "m", decision, decision, f"m/{number}", 1, 1, "why")


def entries(line):
    return [each.entry for each, _ in line.waiting]


# ---- what waits


class OnItsWay:
    """Stands where a task does: the first one is being sent."""


@given(st.lists(st.sampled_from(["add", "add", "send", "delivered", "refused", "failed", "hour"]), max_size=80))
def test_nothing_is_uncounted_or_out_of_order(steps):
    line, now, count, seen = Line(), 0.0, 0, []
    for step in steps:
        if step == "add":
            for _ in range(MOST_WAITING // 4):
                count += 1
                line.add(told(count), now)
        elif step == "hour":
            now += PATIENCE_SECONDS
        elif step == "send" and line.waiting and line.open is None:
            line.open = OnItsWay()
            seen.append(int(entries(line)[0][2:]))
        elif line.open is not None and step in ("delivered", "refused", "failed"):
            assert int(entries(line)[0][2:]) == seen[-1]  # what is on its way is never dropped
            line.open = None
            if step == "failed":
                line.failed(now, 0.5)
            else:
                line.done(step)
        assert len(line.waiting) <= MOST_WAITING
        assert sum(line.counts.values()) + len(line.waiting) == count
        assert entries(line) == sorted(entries(line), key=lambda entry: int(entry[2:]))
    assert seen == sorted(seen)


def test_the_oldest_makes_room_but_not_the_one_on_its_way():
    line = Line()
    for number in range(MOST_WAITING + 2):
        line.add(told(number), 0.0)
    assert (entries(line)[0], line.counts["dropped"]) == ("m/2", 2)
    line.open = OnItsWay()
    line.add(told(1000), 0.0)
    assert (entries(line)[:2], line.counts["dropped"]) == (["m/2", "m/4"], 3)


@pytest.mark.parametrize(("chance", "cut"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
def test_waits_double_up_to_a_minute_and_begin_anew_after_a_delivery(chance, cut):
    line, waits = Line(), []
    line.add(told(1), 0.0)
    line.add(told(2), 0.0)
    for _ in range(8):
        line.failed(100.0, chance)
        waits.append(line.due - 100.0)
    assert waits == [cut * wait for wait in (1, 2, 4, 8, 16, 32, 60, 60)]
    line.done("delivered")
    assert line.due == 0.0
    line.failed(0.0, chance)
    assert line.due == cut * 1


def test_after_an_hour_it_is_given_up_and_the_next_one_is_tried_all_the_same():
    line = Line()
    line.add(told(1), 0.0)
    line.add(told(2), 10.0)
    assert line.failed(PATIENCE_SECONDS - 1, 0.0)
    assert entries(line) == ["m/1", "m/2"]
    line.wait = LONGEST_WAIT_SECONDS
    assert not line.failed(PATIENCE_SECONDS + 20, 0.0)
    assert (entries(line), line.counts["given_up"]) == (["m/2"], 1)
    assert line.due == PATIENCE_SECONDS + 20 + LONGEST_WAIT_SECONDS  # who is away is not asked more often for that
    line.done("delivered")
    assert line.counts == {"delivered": 1, "refused": 0, "given_up": 1, "dropped": 0}


@given(st.integers(100, 999))
def test_answers(status):
    outcome = outcome_of(status)
    if 200 <= status < 300:
        assert outcome == "delivered"
    else:
        assert outcome == ("" if status in (408, 429) or status >= 500 else "refused")


# ---- what is told


class Flaky:
    """A real ledger that can be away."""

    def __init__(self, ledger):
        self.ledger, self.away = ledger, False

    async def append(self, *args):
        if self.away:
            raise LedgerUnavailable("away")
        return await self.ledger.append(*args)

    def __getattr__(self, name):
        return getattr(self.ledger, name)


class Rig:
    def __init__(self, folder, ledger, term):
        self.ledger = Flaky(ledger)
        self.journal = Journal(self.ledger, Spool(folder / "spool.jsonl"), term, lambda _up: None)
        self.title = Title(POLICY)
        self.recorded = []  # (kind, number, whether it was in the file)
        self.file = folder / "ledger.db"
        self.controller = ModelController(
            "m", self.title, self.journal, lambda: None, lambda *_: None, self._on_recorded
        )

    def _on_recorded(self, model, decision, number):
        with sqlite3.connect(self.file) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM facts WHERE kind = 'decision'").fetchone()
        assert self.controller.unrecorded is None
        self.recorded.append((decision.kind.value, number, rows))

    async def started(self):
        await self.controller.aliases(AliasesRead(1000.0, 1, None, None, ready=frozenset({1, 2})))
        await self.controller.aliases(AliasesRead(1001.0, 1, 2, None, ready=frozenset({1, 2})))


def test_only_what_is_in_the_record_is_told_with_its_number(tmp_path):
    async def story(ledger, term):
        rig = Rig(tmp_path, ledger, term)
        await rig.started()
        await rig.controller.command(Command(1002.0, CommandKind.PAUSE, "ann", "why"))
        rig.ledger.away = True
        with pytest.raises(LedgerUnavailable):
            await rig.controller.command(Command(1003.0, CommandKind.RESUME, "ann", "why"))
        await rig.controller.command(Command(1004.0, CommandKind.ROLL_BACK, "ann", "why"))
        rig.ledger.away = False
        await rig.controller.settled(rig.title.effect, 1005.0, "told")
        # what only the spool has is told without a number, and once
        assert rig.recorded == [("start", 1, 1), ("pause", 2, 2), ("roll_back", 0, 2), ("moved", 4, 4)]
        numbered = await ledger.numbered("m")
        assert [(number, each.kind.value) for number, each in numbered[::-1]] == [
            (1, "start"), (2, "pause"), (3, "roll_back"), (4, "moved"),
        ]  # fmt: skip

    with_ledger_at(f"sqlite:///{tmp_path / 'ledger.db'}")(story)


def test_a_restart_tells_nothing_of_before(tmp_path):
    async def story(ledger, term):
        before = Rig(tmp_path, ledger, term)
        await before.started()
        before.ledger.away = True
        await before.controller.command(Command(1004.0, CommandKind.ROLL_BACK, "ann", "why"))
        after = Rig(tmp_path, ledger, term)
        await after.journal.drain()
        after.controller.title, facts = await resumed(ledger, "m", 0.0, lambda: Title(POLICY))
        assert (facts, after.recorded) == (2, [])
        await after.controller.settled(after.controller.title.effect, 1005.0, "told")
        assert after.recorded == [("moved", 3, 3)]

    with_ledger_at(f"sqlite:///{tmp_path / 'ledger.db'}")(story)


# ---- who is told


class Model:
    def __init__(self):
        self.title = Title(POLICY)


def target(name="a", url="http://127.0.0.1:9/x", **more):
    return NotifySettings(name=name, url=url, format="slack", **more)


def pause(at=1000.0):
    return Decision(DecisionKind.PAUSE, at, 7, 2, "why", "ann", phase="shadow")


def test_targets_are_told_of_what_they_want_to_hear():
    async def story():
        targets = [
            target("all"), target("moves", events=("registry_moved",)), target("other", models=("other",)),
            target("noise", events=("held", "paused")),
        ]  # fmt: skip
        notifier = Notifier({"m": Model(), "other": Model()}, lambda: targets)
        notifier.recorded("m", pause(), 1)
        notifier.recorded("m", Decision(DecisionKind.HOLD, 1.0, 7, 2, "why"), 2)
        notifier.recorded("m", Decision(DecisionKind.TOLD, 1.0, 7, 2, "why"), 3)
        notifier.recorded("gone", pause(), 1)
        waiting = {name: [each.event.value for each, _ in line.waiting] for name, line in notifier.lines.items()}
        assert waiting == {"all": ["paused"], "moves": [], "other": [], "noise": ["paused", "held"]}
        del targets[0]
        assert list(notifier.lines) == ["moves", "other", "noise"]

    asyncio.run(story())


def test_a_fault_in_telling_reaches_nobody(caplog):
    async def story():
        notifier = Notifier({"m": object()}, lambda: [target()])
        notifier.recorded("m", pause(), 1)  # it has no title
        return notifier

    asyncio.run(story())
    assert "nobody is told of pause" in caplog.text


async def _until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another thread, or the loop under test, makes it true
            await asyncio.sleep(0.01)


def test_what_cannot_be_sent_holds_up_neither_the_next_one_nor_its_neighbours(tmp_path, caplog):
    """An address that only its file says, a body that cannot be made, a secret that is away for a while."""
    server = Answering(lambda _: (200, b""))
    (tmp_path / "url").write_text("ftp://nowhere/T0P")
    targets = [
        target("direct", server.url),
        NotifySettings(name="filed", url_file=str(tmp_path / "url"), format="slack"),
        target("signed", server.url + "/signed", secret_file=str(tmp_path / "secret")),
    ]

    async def story():
        notifier = Notifier({"m": Model()}, lambda: targets)
        running = asyncio.create_task(notifier.run())
        notifier.lines["direct"].add(Notification(Event.PAUSED, "m", None, None, "", 1, 1, ""), 0.0)
        notifier.recorded("m", pause(), 1)
        await _until(lambda: notifier.lines["direct"].counts["delivered"] == 1)
        await _until(lambda: notifier.lines["filed"].problem and notifier.lines["signed"].problem)
        assert "file of its address" in notifier.lines["filed"].problem
        assert notifier.lines["signed"].problem == "the secret cannot be read: No such file or directory"
        assert notifier.lines["direct"].counts["given_up"] == 1
        (tmp_path / "url").write_text(server.url + "/filed\n")
        (tmp_path / "secret").write_text("0123456789abcdef")
        for line in notifier.lines.values():
            line.due = 0.0
        await _until(lambda: all(not line.waiting for line in notifier.lines.values()))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(story())
    finally:
        server.close()
    assert sorted(each.path for each in server.asked) == ["/", "/filed", "/signed"]
    assert "T0P" not in caplog.text


def test_a_target_that_the_settings_no_longer_name_is_forgotten_whatever_is_on_its_way(caplog):
    release = threading.Event()
    server = Answering(lambda _: (release.wait(30), (200, b""))[1])
    targets = [target("a", server.url, timeout="60s")]

    async def story():
        notifier = Notifier({"m": Model()}, lambda: targets)
        running = asyncio.create_task(notifier.run())
        notifier.recorded("m", pause(), 1)
        await _until(lambda: server.asked)
        targets[:] = [target("b", server.url)]
        await _until(lambda: "notify a: no longer in the settings; 1 not told" in caplog.text)
        targets[:] = [target("a", server.url)]
        assert sum(notifier.lines["a"].counts.values()) == 0
        await _until(lambda: "notify a" not in {task.get_name() for task in asyncio.all_tasks()})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(story())
    finally:
        release.set()
        server.close()
