"""What `titleshot explain` says, of real reports; and how it and `audit verify` find their ledger."""

import asyncio
import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from judged_model import POLICY as JUDGED

from comparator.checks import CheckReport
from comparator.events import AliasMove, Decision, DecisionKind, Mode
from comparator.evidence import Evidence
from comparator.guardrail import Estimate, GuardrailReport, Verdict
from comparator.policy import Guardrail, Metric, Policy, Step, StepKind
from comparator.proof import Recomputed
from comparator.report import Report
from router.cli.main import main
from router.cli.output import moment
from router.control.explanation import Explanation, in_words
from router.control.ledger import Ledger
from router.control.ledger.audit import Numbered
from router.control.ledger.chain import Finding

POLICY = Policy(
    steps=(Step(StepKind.SHADOW), Step(StepKind.CANARY, 10), Step(StepKind.PROMOTE, sign_off=True)),
    guardrails=(
        Guardrail(Metric.PRECISION, 0.02),
        Guardrail(Metric.LATENCY, 0.1, quantile=0.99),
    ),
)


def rail(name, verdict, ours, theirs, margin, harm, **more):
    return GuardrailReport(name, verdict, "said", theirs, ours, margin, 12.3456, 40.0, harm, proven=False, **more)


REPORT = Report(
    at=1000.0,
    mode=Mode.CANARY,
    verdict=Verdict.FAIL,
    reason="worse",
    blame="precision",
    answers=1234,
    combined_e=25.0,
    threshold=20.0,
    guardrails=(
        rail("precision", Verdict.FAIL, Estimate(0.61, 0.55, 0.67, 210), Estimate(0.7, 0.66, 0.73, 1900), 0.02, 0.09),
        rail(
            "p99_latency", Verdict.INCONCLUSIVE, Estimate(0.2, 0.1, float("inf"), 12), None, 0.1, None,
            missing=("18 more time buckets of 30", "proof that it is not worse by 10 %"),
        ),
    ),
    missing=("5 more answers of 1,239 in this step",),
    seconds_left=None,
    coverage=None,
    shed=None,
    left_out={},
)  # fmt: skip
START = Decision(
    DecisionKind.START, 900.0, 7, 8, "named", phase="shadow", step=0, policy_digest=POLICY.digest,
    evidence={"reference": 3, "offline": {"precision": 0.74}},
)  # fmt: skip
ROLL_BACK = Decision(
    DecisionKind.ROLL_BACK, 1000.0, 7, 8, "precision is worse", phase="rolling_back", trigger="precision",
    policy_digest=POLICY.digest, evidence=REPORT.as_data(), state_digest="c0ffee" * 10 + "c0ff",
)  # fmt: skip


def explained(decision, before=(START,), **more):
    given = {
        "model": "late",
        "found": Numbered(len(before) + 1, "ab" * 32, decision),
        "before": tuple(Numbered(index, "cd" * 32, each) for index, each in enumerate(before, 1)),
        "policy": POLICY,
        "again": Recomputed(REPORT, decision, ()),
        "trouble": "",
        "from_evidence": True,
        "findings": (),
    }
    return Explanation(**{**given, **more})


def words(told):
    return "\n".join(in_words(told, moment))


def test_a_rollback_in_words():
    text = words(explained(ROLL_BACK))
    assert text.startswith("late/2: roll back, version 8\n")
    for line in (
        "  by:         the judge",
        "  because:    precision is worse",
        "  tipped by:  the guardrail precision",
        "  leads to:   rolling back",
        f"  policy:     {POLICY.digest[:12]}, false-alarm rate 5 %",
        "  the evidence then, in canary, on 1,234 answers of version 8 in this step:",
        "    precision: FAIL",
        "      challenger 0.610 [0.550, 0.670] on 210, champion 0.700 [0.660, 0.730] on 1,900",
        "      worse by 9 points; allowed: 2 points",
        "      evidence of harm 12, rolls back alone from 40 on",
        "    p99_latency: INCONCLUSIVE",
        "      challenger 0.2 s [0.1, ?] on 12, champion unknown",
        "      how much worse: unknown; allowed: 10 %",
        "      a pass needed 18 more time buckets of 30 and proof that it is not worse by 10 %",
        "    all guardrails together: evidence of harm 25 (1 or less is none), rolls back from 20 on",
        "    besides them a pass needed 5 more answers of 1,239 in this step",
        "  recomputed from the recorded evidence (c0ffeec0ffee): the same numbers, verdict FAIL, and the same decision",
    ):
        assert f"\n{line}\n" in f"{text}\n", line
    assert re.search(r"rollout: +of version 8 against version 3, since \d{4}-", text)


def test_what_a_check_found_is_told():
    check = CheckReport("depth", Verdict.FAIL, "9, beyond at most 5", None, 9.0, -3, 3)
    evidence = replace(REPORT, checks=(check,), blame="depth").as_data()
    text = words(explained(replace(ROLL_BACK, trigger="depth", evidence=evidence)))
    assert "\n  tipped by:  the check depth\n" in text
    assert "\n    depth: FAIL\n      9, beyond at most 5\n" in text
    by_webhook = replace(ROLL_BACK, kind=DecisionKind.REJECT, trigger="webhook", actor="webhook:desk")
    assert "\n  tipped by:  a webhook\n" in words(explained(by_webhook))


def test_it_stands_unless_something_speaks_against_it():
    assert explained(ROLL_BACK).stands
    differs = explained(ROLL_BACK, again=Recomputed(REPORT, None, ("answers was 7, is 1234",)))
    assert not differs.stands
    assert "DIFFERENT\n    answers was 7, is 1234" in words(differs)
    gone = explained(ROLL_BACK, again=None, trouble="its evidence is not in the ledger any more")
    assert not gone.stands
    assert "NOT recomputed: its evidence is not in the ledger any more" in words(gone)
    touched = explained(ROLL_BACK, findings=(Finding("late/2", "changed", "its hash is another"),))
    assert not touched.stands
    assert "RECORD:     changed: its hash is another (see `titleshot audit verify late`)" in words(touched)


def test_a_decision_of_before_says_so_and_stands():
    old = explained(replace(ROLL_BACK, state_digest=""), again=None)
    assert old.stands
    assert "it was decided before titleshot kept the evidence with its decisions" in words(old)


def test_a_start_has_nothing_to_recompute():
    text = words(explained(START, before=(), again=None, from_evidence=False))
    assert "leads to:   shadow 100 % (step 1 of 3)" in text
    assert "offline:    precision 0.74" in text
    assert "nothing to recompute" in text


@pytest.mark.parametrize("waited", [True, False])
def test_a_sign_off_is_told_with_who_asked_and_what_the_judge_would_have_done(waited):
    asked = replace(ROLL_BACK, kind=DecisionKind.AWAIT_SIGN_OFF, phase="sign_off", trigger="")
    promote = replace(ROLL_BACK, kind=DecisionKind.PROMOTE, actor="ann", trigger="", move=AliasMove(3, 8))
    told = explained(promote, (START, asked) if waited else (START,), again=Recomputed(REPORT, None, ()))
    text = words(told)
    assert "promote, version 8; @champion moves from version 3 to 8" in text
    wanted = r"sign-off: +asked for by late/2, .*; given by ann" if waited else "none was asked for; ann did not wait"
    assert re.search(wanted, text)
    assert "ann decided; the judge by itself would have decided: nothing yet" in text


def test_a_breaker_of_a_proxy_is_told_as_one():
    text = words(explained(replace(ROLL_BACK, trigger="breaker"), again=Recomputed(REPORT, None, ())))
    assert "tipped by:  the circuit breaker" in text
    assert "the circuit breaker of a proxy called for it" in text


def test_without_its_policy_the_numbers_are_told_all_the_same():
    text = words(explained(ROLL_BACK, policy=None, again=None, trouble="its policy is not in the ledger any more"))
    assert "worse by 0.09; allowed: 0.02" in text


def test_every_report_of_the_judge_can_be_told():
    evidence = Evidence(JUDGED, trial=2, reference=1, offline={})
    for mode in (Mode.SHADOW, Mode.CANARY, Mode.WATCH):
        evidence.enter(mode, 1000.0, 20)
        report = evidence.report(1001.0)
        decision = replace(ROLL_BACK, evidence=json.loads(json.dumps(report.as_data())))
        assert f"in {mode.name.lower()}, on 0 answers" in words(explained(decision, policy=JUDGED))


# ---- the commands


@pytest.fixture
def recorded(tmp_path):
    """A ledger with two decisions about "late"."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    async def write():
        ledger = await Ledger.open(url)
        await ledger.save_policy(POLICY.digest, POLICY.canonical())
        await ledger.append("late", [START, replace(START, at=901.0, kind=DecisionKind.PAUSE, reason="\x1b[2Jwait")])
        await ledger.close()

    asyncio.run(write())
    return url


def run(*arguments):
    return CliRunner(env={"TITLESHOT_SETTINGS": None, "TITLESHOT_LEDGER": None}).invoke(main, arguments)


def test_a_whole_record(recorded):
    done = run("audit", "verify", "--ledger", recorded)
    assert (done.exit_code, done.stdout.splitlines()[0][:28]) == (0, "late: whole, 2 decisions, up")
    told = json.loads(run("audit", "verify", "late", "--json", "--ledger", recorded).stdout)
    assert told["whole"]
    assert told["models"][0]["entries"] == 2


def test_what_is_not_there(recorded, tmp_path):
    assert "there are: late" in run("audit", "verify", "early", "--ledger", recorded).stderr
    assert run("explain", "late/3", "--ledger", recorded).exit_code == 1
    assert run("explain", "early/1", "--ledger", recorded).exit_code == 1
    assert run("explain", "0" * 12, "--ledger", recorded).exit_code == 1
    assert run("explain", "late", "--ledger", recorded).exit_code == 2
    missing = run("explain", "late/1", "--ledger", f"sqlite:///{tmp_path / 'none.db'}")
    assert missing.exit_code == 3
    assert "there is no file" in missing.stderr
    settings = run("explain", "late/1", "--settings", str(tmp_path / "none.yaml"))
    assert settings.exit_code == 2
    assert "--settings names the settings file, or --ledger the ledger" in settings.stderr
    assert run("audit", "verify", "--registry", "--ledger", recorded).exit_code == 2


def test_a_decision_is_told_by_its_id_and_steers_no_terminal(recorded):
    done = run("explain", "late/2", "--ledger", recorded)
    assert done.exit_code == 0
    assert "because:    \ufffd[2Jwait" in done.stdout
    assert json.loads(run("explain", "late/2", "--json", "--ledger", recorded).stdout)["decision"]["kind"] == "pause"
