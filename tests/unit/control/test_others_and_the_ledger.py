"""What others say, and the ledger: what is kept, what comes back, and what goes on without it."""

import asyncio
import socket
import time

import pytest
from desk import PROMOTE, SHADOW, policy
from test_controller import MemoryLedger

from comparator.events import (
    AliasesRead,
    CheckResult,
    Command,
    CommandKind,
    Confirmation,
    Decision,
    DecisionKind,
    Notified,
)
from comparator.outside import Check, Outside
from comparator.phases import Phase
from comparator.title import Title
from router.control.controller import ModelController
from router.control.journal import Journal
from router.control.ledger.codec import CHECK, Unreadable, decode, encode
from router.control.outgoing import Outgoing
from router.control.resume import resumed
from router.control.spool import Spool
from router.control.webhooks import Webhooks
from router.settings.outside import WebhookSettings

DEPTH = Check("depth", "depth", at_most=1.0, results=2)
ASKS = policy(SHADOW, PROMOTE, outside=Outside((DEPTH,), ("desk",), (), ("pager",)))


def result(title, value, at, problem=""):
    rollout = title.rollout
    return CheckResult(at, rollout.rollout_id, rollout.step, "depth", value, None, problem)


def answer(title, verdict, at=1002.0):
    return Confirmation(
        at, title.rollout.rollout_id, -1, title.rollout.policy.digest, "confirm_start", "desk", verdict, "because"
    )


def read(at):
    return AliasesRead(at, 1, 2, None, ready=frozenset({1, 2}))


def controlled(folder, ledger, term=1, on_decision=lambda model, decision: None):
    title = Title(ASKS)
    journal = Journal(ledger, Spool(folder / "spool.jsonl"), term, lambda ok: None)
    return ModelController("m", title, journal, lambda: None, on_decision), title


async def on_trial(controller, title):
    await controller.aliases(read(1001.0))
    await controller.heard(answer(title, "pass"))
    await controller.aliases(read(1003.0))
    assert title.rollout.phase is Phase.SHADOW


@pytest.mark.parametrize("value", [0.1, -1e-300, 1.7976931348623157e308, None])
def test_a_result_comes_back_as_it_was(value):
    fact = CheckResult(1.5, 2**60 + 1, 3, "depth", value, None, "" if value is not None else "no <answer>\n\x00")
    row = encode(fact)
    assert (row.kind, row.decision, row.last_at) == (CHECK, None, 1.5)
    assert decode(row.kind, row.layout, row.rows, row.batch, row.decision) == fact
    with pytest.raises(Unreadable):
        decode(CHECK, 1, 1, row.batch[:-3], None)
    with pytest.raises(Unreadable):
        decode(CHECK, 2, 1, row.batch, None)


def test_results_survive_a_restart_and_are_pruned_with_the_traffic(with_ledger, tmp_path):
    async def work(ledger, term):
        controller, title = controlled(tmp_path, ledger, term)
        now = time.time()
        await on_trial(controller, title)
        await controller.checked(result(title, 0.5, now - 100))
        await controller.checked(result(title, 9.0, now - 50))
        await controller.checkpoint()
        await controller.checked(result(title, None, now - 40, "timed out"))
        again, facts = await resumed(ledger, "m", now - 1000, lambda: Title(ASKS, {ASKS.digest: ASKS}))
        assert facts == 6  # held, confirmed, started, three results
        assert again.rollout.report(now).as_data() == title.rollout.report(now).as_data()
        assert again.rollout.report(now).checks[0].in_a_row == -1
        assert await ledger.prune(now - 60) == 1
        assert await ledger.prune(now + 60) == 2
        assert [each.kind.value for each in await ledger.decisions("m")] == ["start", "confirmed", "hold"]

    with_ledger(work)


def test_without_the_ledger_a_check_rolls_back_all_the_same(tmp_path):
    async def work():
        ledger = MemoryLedger()
        controller, title = controlled(tmp_path, ledger)
        await on_trial(controller, title)
        ledger.away = True
        for second in range(2):
            await controller.checked(result(title, 9.0, 1004.0 + second))
        await controller.tick(1006.0)
        assert title.rollout.phase is Phase.ROLLING_BACK
        ledger.away = False
        await controller.heard(Notified(1007.0, next(iter(title.notices.open)), "pager"))
        decisions = [fact for fact in ledger.facts if isinstance(fact, Decision)]
        assert [each.kind for each in decisions][-2:] == [DecisionKind.ROLL_BACK, DecisionKind.TOLD]
        assert decisions[-2].trigger == "depth"

    asyncio.run(work())


def test_without_the_ledger_nothing_is_confirmed(tmp_path):
    async def work():
        ledger = MemoryLedger()
        controller, title = controlled(tmp_path, ledger)
        await controller.aliases(read(1001.0))
        ledger.away = True
        await controller.heard(answer(title, "pass"))
        await controller.aliases(read(1003.0))
        assert title.rollout.phase is Phase.HELD
        assert title.questions(1003.0)  # so it is asked again
        ledger.away = False
        await controller.heard(answer(title, "pass"))
        await controller.aliases(read(1004.0))
        assert title.rollout.phase is Phase.SHADOW

    asyncio.run(work())


def test_without_the_ledger_a_version_is_turned_down_all_the_same(tmp_path):
    async def work():
        ledger = MemoryLedger()
        controller, title = controlled(tmp_path, ledger)
        await controller.aliases(read(1001.0))
        ledger.away = True
        await controller.heard(answer(title, "fail"))
        assert title.rollout.phase is Phase.ROLLING_BACK

    asyncio.run(work())


def test_what_was_told_but_not_recorded_is_still_to_be_told(tmp_path):
    async def work():
        ledger = MemoryLedger()
        controller, title = controlled(tmp_path, ledger)
        await on_trial(controller, title)
        await controller.command(Command(1004.0, CommandKind.ROLL_BACK, "ann", "no"))
        (number,) = title.notices.open
        ledger.away = True
        await controller.heard(Notified(1005.0, number, "pager"))
        assert list(title.notices.open) == [number]
        ledger.away = False
        await controller.heard(Notified(1006.0, number, "pager"))
        assert title.notices.open == {}

    asyncio.run(work())


def test_nobody_is_told_of_a_rollback_that_a_crash_would_undo(tmp_path):
    async def work():
        ledger, in_force = MemoryLedger(), asyncio.Event()
        controller, title = controlled(tmp_path, ledger, on_decision=lambda model, decision: in_force.set())
        await on_trial(controller, title)
        hooks = {"pager": WebhookSettings(url=f"http://127.0.0.1:{deaf.getsockname()[1]}/x")}
        webhooks = Webhooks({"m": controller}, lambda: hooks, Outgoing())
        in_force.clear()
        ledger.gate = asyncio.Event()  # the ledger takes its time
        command = asyncio.create_task(controller.command(Command(1004.0, CommandKind.ROLL_BACK, "ann", "no")))
        await in_force.wait()
        assert title.rollout.phase is Phase.ROLLING_BACK
        webhooks._call_due(0.0)
        assert webhooks._turns == {}
        ledger.gate.set()
        await command
        webhooks._call_due(0.0)
        ((call, turn),) = webhooks._turns.items()
        assert (call.webhook, call.id) == ("pager", next(iter(title.notices.open)))
        await turn.open
        assert "no connection" in turn.problem

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and nobody listens
        asyncio.run(work())
