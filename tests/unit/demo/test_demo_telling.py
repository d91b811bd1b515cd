"""titleshot's state in words."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from router.demo.acts import Happened
from router.demo.connection import Client
from router.demo.desk import Desk
from router.demo.outcome import Outcome
from router.demo.servers import Addresses
from router.demo.show import Lines, Picture
from router.demo.telling import decision_line, evidence_of_harm, interval, plain, ratio, shares
from router.demo.traffic import Tally
from router.demo.view import Terminal

PRECISION = {"value": 0.9, "lower": 0.85, "upper": 0.94, "count": 321}
STATE = {
    "champion": 1,
    "traffic": {"mode": "canary", "share": 10, "mirror": 0},
    "roles": {
        "champion": {
            "version": 1,
            "answers": 9000,
            "failed": 0,
            "p50_seconds": 0.004,
            "p99_seconds": 0.02,
            "precision": None,
        },
        "challenger": {
            "version": 2,
            "answers": 1000,
            "failed": 1,
            "p50_seconds": 0.005,
            "p99_seconds": 0.03,
            "precision": PRECISION,
        },
    },
    "rollout": {
        "version": 2,
        "evidence": {
            "verdict": "inconclusive",
            "reason": "r",
            "guardrails": [
                {
                    "name": "precision",
                    "verdict": "pass",
                    "champion": {"value": 0.45},
                    "challenger": PRECISION,
                    "harm_e": 0.2,
                    "harm_threshold": 60.0,
                    "missing": [],
                },
                {
                    "name": "p90_latency",
                    "verdict": "inconclusive",
                    "champion": {"value": 0.01},
                    "challenger": None,
                    "harm_e": 7.0,
                    "harm_threshold": 60.0,
                    "missing": ["4 more buckets"],
                },
            ],
        },
    },
}
ADVANCE = {
    "kind": "advance",
    "at": 5.0,
    "version": 2,
    "rollout_id": 77,
    "step": 1,
    "phase": "canary",
    "reason": "all guardrails pass",
    "actor": "titleshot",
}


def picture(decisions=(ADVANCE,)):
    desk = Desk(Client("127.0.0.1", 1), STATE, list(decisions))
    return Picture("act one", desk, Tally(sent=10, answered=9, failed=1), 88.0, [("console", "http://127.0.0.1:1/")])


@given(st.text())
def test_texts_of_others_cannot_steer_the_terminal(text):
    assert plain(text).isprintable()


def test_a_copy_is_no_share():
    assert shares({"mode": "shadow", "share": 0, "mirror": 100}) == {
        "champion": "100 %",
        "challenger": "copies of 100 %",
    }
    assert shares({"mode": "canary", "share": 10}) == {"champion": "90 %", "challenger": "10 %"}
    assert shares({"mode": "none"}) == {"champion": "100 %"}


def test_what_is_not_known_is_a_dash():
    assert interval(None) == ratio(None) == "-"
    assert interval(PRECISION) == "0.900 [0.85, 0.94]"


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(2, 1e4))
def test_the_bar_of_evidence_grows_with_it_and_is_full_at_the_threshold(lesser, greater, threshold):
    lesser, greater = sorted((lesser, greater))
    assert evidence_of_harm(lesser, threshold).count("#") <= evidence_of_harm(greater, threshold).count("#")
    assert evidence_of_harm(threshold, threshold).startswith("##########")


def test_a_decision_says_where_it_leads():
    assert decision_line(ADVANCE) == "v2 advance to step 2 (canary): all guardrails pass"


def test_a_rollback_by_hand_says_from_where_to_where():
    by_hand = {"kind": "roll_back", "version": 1, "rollout_id": 0, "reason": "x", "move": {"expected": 2, "to": 1}}
    assert decision_line(by_hand) == "roll back (@champion 2 -> 1): x"


def test_lines_tell_each_decision_once():
    stream = io.StringIO()
    lines = Lines(stream)
    lines.policy("gate: off\n")
    lines.look(picture())
    lines.look(picture())
    told = stream.getvalue()
    assert told.count("all guardrails pass") == 1
    assert "    gate: off" in told
    assert "challenger v2: 10 %, 1,000 answers, p50 5.0 ms, p99 30.0 ms, precision 0.900 [0.85, 0.94]" in told


def test_the_view_shows_roles_evidence_and_decisions():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=160, height=50, color_system=None)
    view = Terminal(console)
    view.policy("gate: off")
    view.progress("training", 1, 5, "read")
    view.say("act one begins")
    view.look(picture())
    view.close()
    shown = stream.getvalue()
    for text in (
        "0.900 [0.85, 0.94]",
        "10 %",
        "90 %",
        "4 more buckets",
        "7 of 60",
        "act one begins",
        "all guardrails pass",
    ):
        assert text in shown


def outcome(acts=3, failed=0, trouble=""):
    whole = Outcome(acts_in_all=3, trouble=trouble, addresses=Addresses(1, 2, {}))
    whole.acts = {f"act {number}": Happened("done", 1.0, (("reason", "[bold]x[/bold]"),)) for number in range(acts)}
    whole.take(Tally(sent=10, answered=10 - failed, failed=failed), {2: {"precision": PRECISION}})
    whole.promised = {2: 0.92}
    return whole


def test_a_demo_is_good_only_with_all_acts_and_no_failed_request():
    assert outcome().good
    assert not outcome(acts=2).good
    assert not outcome(failed=1).good
    assert not outcome(trouble="act one: no").good


def test_the_summary_has_acts_figures_and_addresses():
    stream = io.StringIO()
    Console(file=stream, width=120).print(outcome(trouble="act one: a server died").table())
    shown = stream.getvalue()
    for text in ("act 2", "offline 0.920, live 0.900 [0.85, 0.94]", "http://127.0.0.1:2/metrics", "a server died"):
        assert text in shown
