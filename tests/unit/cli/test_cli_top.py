"""What `top` shows, as it is drawn."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from router.cli.status import harm_of, model_parts, overview_parts
from router.cli.top import frame, latest


def drawn(part, width=200):
    out = Console(file=io.StringIO(), width=width, force_terminal=False)
    out.print(part)
    return out.file.getvalue()


def rollout(e=3.21, threshold=20.0, **changes):
    evidence = {"verdict": "inconclusive", "reason": "more answers", "combined_e": e, "threshold": threshold}
    return {
        "version": 8, "phase": "canary", "active": True, "paused": False, "step": 1, "steps": [{}, {}, {}],
        "evidence": evidence, **changes,
    }  # fmt: skip


def state(**changes):
    return {
        "champion": 7,
        "challenger": 8,
        "previous": None,
        "traffic": {"mode": "canary", "share": 10},
        "registry": {"read_at": 99.0, "error": ""},
        **changes,
    }


def test_every_model_is_a_line_with_its_evidence_against_the_threshold():
    text = drawn(
        frame(
            overview_parts({"at": 100.0, "models": {"late": state(rollout=rollout()), "idle": state(rollout=None)}}), 0
        )
    )
    head, late, idle = text.splitlines()[2:]
    assert head.split()[:5] == ["model", "champion", "challenger", "previous", "traffic"]
    assert "evidence of harm" in head
    at = head.index("evidence of harm")
    assert late[at:].startswith("3.2 of 20 ")
    assert idle[at:].startswith("- ")
    assert "v8: canary, step 2 of 3" in late


def test_evidence_is_told_of_a_rollout_under_way_only():
    assert harm_of(rollout(1_687_544.0)) == "1,687,544 of 20"
    assert harm_of(rollout(0.0312)) == "0.031 of 20"
    assert harm_of(rollout(active=False)) == "-"
    assert harm_of(rollout(evidence=None)) == "-"
    assert harm_of(rollout(e=None)) == "-"
    assert harm_of(None) == "-"
    lines = [drawn(part).rstrip() for part in model_parts("late", state(rollout=rollout()))]
    assert f"{'harm:':<15}evidence 3.2 of 20" in lines
    assert not [line for line in map(drawn, model_parts("late", state(rollout=None))) if line.startswith("harm")]


def test_what_is_old_is_said_to_be():
    assert "OLD" not in drawn(frame([], 100.0))
    assert "OLD: cannot reach titleshot" in drawn(frame([], 100.0, "cannot reach titleshot"))


def test_a_tokens_file_that_is_not_taken_is_told():
    parts = overview_parts({"at": 1.0, "models": {}, "tokens": {"error": "tokens.yaml:3: expected a name"}})
    assert "the last good one stays in force: tokens.yaml:3: expected a name" in drawn(frame(parts, 1.0))


def test_the_last_decisions_keep_to_one_line_each():
    made = {"at": 1e9, "kind": "roll_back", "version": 8, "actor": "ann", "reason": "slow " * 200}
    text = drawn(latest([made, {}]), width=100)
    assert len(text.splitlines()) == 3
    assert "2001-09-09 01:46:40  roll back  v8       ann  slow slow" in text
    assert "\N{HORIZONTAL ELLIPSIS}" in text


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_that_others_wrote_reaches_the_terminal_raw(name, reason):
    everything = {"at": 1.0, "models": {name: state(rollout=rollout(phase=reason), registry={"error": reason})}}
    shown = [
        *overview_parts(everything),
        *model_parts(name, state(rollout=rollout(phase=reason))),
        latest([{"reason": reason}]),
    ]
    text = drawn(frame(shown, 1.0, reason), width=4000)
    assert all(sign.isprintable() or sign == "\n" for sign in text)
