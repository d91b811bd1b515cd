"""Whoever can write the ledger can write anything into it: `explain` and `audit verify` say so, and never fall over."""

import asyncio
import json
import sqlite3

import pytest
from click.testing import CliRunner
from desk import on_trial, policy

from comparator.events import CommandKind, Decision, DecisionKind, Tick
from comparator.policy import Step, StepKind
from comparator.proof import proven
from comparator.restraint import Then
from router.cli.main import main
from router.control.ledger import Ledger
from router.control.ledger.chain import link

NESTED = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def ledger(tmp_path):
    """Of "late": the start, a pause, a resumption, and an abort that the evidence and a deadline led to."""
    rules = policy(Step(StepKind.SHADOW, 100, 1.0, within_seconds=60.0, at_deadline=Then.ABORT))
    desk = on_trial(rules)
    desk.command(CommandKind.PAUSE)
    desk.command(CommandKind.RESUME)
    before = [each for each in desk.recorded if isinstance(each, Decision)]
    (proposal,) = desk.title.receive(Tick(desk.at + 90.0))
    kept = proven(desk.title, proposal)
    assert kept.decision.kind is DecisionKind.ABORT
    file = tmp_path / "ledger.db"

    async def write():
        opened = await Ledger.open(f"sqlite:///{file}")
        await opened.save_policy(rules.digest, rules.canonical())
        await opened.append("late", [*before, kept.decision], states={kept.decision.state_digest: kept.state})
        await opened.close()

    asyncio.run(write())
    return file


def touch(ledger, statement, *values):
    with sqlite3.connect(ledger) as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def run(ledger, *arguments):
    environment = {"TITLESHOT_SETTINGS": None, "TITLESHOT_LEDGER": None}
    return CliRunner(env=environment).invoke(main, [*arguments, "--ledger", f"sqlite:///{ledger}"])


def verified(ledger):
    done = run(ledger, "audit", "verify", "--json")
    assert done.exit_code in (0, 1), done.output
    assert done.exit_code == (0 if json.loads(done.stdout)["whole"] else 1)
    return {(finding["entry"], finding["kind"]) for finding in json.loads(done.stdout)["models"][0]["findings"]}


def test_untouched_it_stands(ledger):
    assert verified(ledger) == set()
    done = run(ledger, "explain", "late/4")
    assert done.exit_code == 0
    assert "the same numbers, verdict INCONCLUSIVE, and the same decision" in done.stdout


NUMBER = "seq = (SELECT seq FROM chain WHERE number = ?)"


@pytest.mark.parametrize(
    ("entry", "change", "found"),
    [
        (1, "decision = replace(decision, '\"version\":2', '\"version\":3')", "changed"),
        (1, "layout = 7", "changed"),
        (1, "row_count = 2", "changed"),
        (1, "last_at = 5", "changed"),
        (1, "rollout_id = 5", "changed"),
        (4, "decision = CAST(x'7bff7d' AS TEXT)", "changed"),
        (4, "decision = x'7b7d'", "changed"),
        (4, "decision = '{\"evidence\":' || '' || '}'", "changed"),
        (4, "decision = replace(decision, '\"evidence\":{', '\"evidence\":{\"guardrails\":[1],')", "changed"),
        (4, "decision = replace(decision, '\"at\":', '\"at\":1e300,\"then\":')", "changed"),
        (4, "decision = replace(decision, '\"step\":', '\"step\":999999999999999999,\"then\":')", "changed"),
        (2, "decision = '{}'", "changed"),
    ],
)  # fmt: skip
def test_what_was_changed_is_told_of_all_that_follows(ledger, entry, change, found):
    touch(ledger, f"UPDATE facts SET {change} WHERE {NUMBER}", entry)
    assert (f"late/{entry}", found) in verified(ledger)
    done = run(ledger, "explain", "late/4")
    assert (done.exit_code, done.exception if done.exit_code != 1 else None) == (1, None)
    assert found in done.output
    assert "and the same decision" not in done.stdout or "NOT as it was written" in done.stdout
    earlier = run(ledger, "explain", "late/1")
    assert earlier.exit_code == (1 if entry == 1 else 0)


def test_nested_beyond_all_measure(ledger):
    touch(ledger, f"UPDATE facts SET decision = ? WHERE {NUMBER}", f'{{"evidence":{{"a":{NESTED}}}}}', 4)
    assert ("late/4", "changed") in verified(ledger)
    done = run(ledger, "explain", "late/4")
    assert done.exit_code == 1
    assert "late/4 cannot be read: changed" in done.stderr


@pytest.mark.parametrize("change", ["'{}'", "x'00'", "canonical || ' '", "CAST(x'ff' AS TEXT)", "7"])
def test_a_policy_that_was_changed(ledger, change):
    touch(ledger, f"UPDATE policies SET canonical = {change}")
    assert {entry for entry, _ in verified(ledger)} == {"late/1", "late/4"}
    done = run(ledger, "explain", "late/4")
    assert done.exit_code == 1
    assert "NOT recomputed: its policy is not in the ledger any more, or was changed" in done.stdout


def test_a_policy_that_is_gone(ledger):
    touch(ledger, "DELETE FROM policies")
    assert verified(ledger) == {("late/1", "missing"), ("late/4", "missing")}


@pytest.mark.parametrize("change", ["zeroblob(9)", "'text'", "NULL"])
def test_evidence_that_was_changed(ledger, change):
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            connection.execute(f"UPDATE evidence_states SET state = {change}")
        except sqlite3.IntegrityError:
            connection.execute("DELETE FROM evidence_states")
    connection.close()
    assert verified(ledger) == {("late/4", "missing")}
    assert run(ledger, "explain", "late/4").exit_code == 1


def test_a_row_that_was_given_to_another_model(ledger):
    touch(ledger, f"UPDATE facts SET model = 'other' WHERE {NUMBER}", 2)
    assert ("late/2", "changed") in verified(ledger)
    for wanted in ("late/4", "other/1"):
        done = run(ledger, "explain", wanted)
        assert done.exit_code == 1, wanted
    assert "changed" in run(ledger, "explain", "late/4").stdout


def test_a_decision_that_is_gone_is_told_of_those_after_it(ledger):
    touch(ledger, f"DELETE FROM facts WHERE {NUMBER}", 2)
    assert verified(ledger) == {("late/2", "missing")}
    assert run(ledger, "explain", "late/1").exit_code == 0
    done = run(ledger, "explain", "late/4")
    assert done.exit_code == 1
    assert "late/2 before it: missing" in done.stdout


@pytest.mark.parametrize("table", ["facts", "chain"])
def test_a_name_that_is_no_text(ledger, table):
    touch(ledger, f"UPDATE {table} SET model = CAST(x'ff' AS TEXT) WHERE {NUMBER}", 2)
    done = run(ledger, "audit", "verify")
    assert (done.exit_code, done.output.count("NOT whole")) == (1, 2)
    assert run(ledger, "explain", "late/4").exit_code == 1


def test_a_second_decision_of_one_number_is_none_of_them(ledger):
    with sqlite3.connect(ledger) as connection:
        connection.execute("DROP INDEX IF EXISTS chain_of_model")
        (before,) = connection.execute("SELECT hash FROM chain WHERE number = 3").fetchone()
        (text, at, rollout) = connection.execute(
            f"SELECT replace(decision, '\"abort\"', '\"pause\"'), last_at, rollout_id FROM facts WHERE {NUMBER}", (4,)
        ).fetchone()
        (last,) = connection.execute("SELECT max(seq) FROM facts").fetchone()
        connection.execute("UPDATE facts SET seq = seq + 10 WHERE seq = ?", (last,))
        connection.execute("UPDATE chain SET seq = seq + 10 WHERE seq = ?", (last,))
        columns = "seq, model, kind, layout, row_count, last_at, rollout_id, decision"
        row = (last + 1, "late", "decision", 1, 1, at, rollout, text)
        connection.execute(f"INSERT INTO facts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        forged = (last + 1, "late", 4, before, link(before, "late", 4, last + 1, None, text))
        connection.execute("INSERT INTO chain (seq, model, number, prev, hash) VALUES (?, ?, ?, ?, ?)", forged)
    connection.close()
    assert ("late/4", "added") in verified(ledger)
    done = run(ledger, "explain", "late/4")
    assert done.exit_code == 1
    assert "2 decisions late/4" in done.stderr


@pytest.mark.parametrize("change", ["batch = x'00'", "term = 'forged'"])
def test_what_stands_beside_a_decision_is_looked_at(ledger, change):
    touch(ledger, f"UPDATE facts SET {change} WHERE {NUMBER}", 2)
    assert ("late/2", "changed") in verified(ledger)
