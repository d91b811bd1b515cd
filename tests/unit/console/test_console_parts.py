"""Charts, samples, offers and sessions of the console: pure."""

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.admin.commands import COMMANDS
from router.control.console.acts import offers
from router.control.console.chart import Line, chart, ticks
from router.control.console.series import KEPT, Series, sample
from router.control.console.sessions import MOST_OF_A_TOKEN, MOST_SESSIONS, SESSION_SECONDS, Sessions

FINITE = st.floats(-1e9, 1e9)


@given(FINITE, st.floats(1e-6, 1e9))
def test_ticks_are_a_few_round_values_between_the_edges(low, size):
    found = ticks(low, low + size)
    assert 1 <= len(found) <= 6
    step = size / 4
    assert all(low - step <= each <= low + size + step for each in found)


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | FINITE), max_size=30), st.none() | st.just(0.0))
def test_any_line_is_drawn_within_the_picture_and_cut_at_gaps(points, least):
    points = sorted(points, key=lambda each: each[0])
    svg = ET.fromstring(chart("t", [Line("a", "other", points)], str, now=100.0, seconds=100.0, least=least))
    drawn = [each.get("points").split() for each in svg.iter("polyline")]
    assert sum(map(len, drawn)) == sum(value is not None for _, value in points)
    for pair in (each for run in drawn for each in run):
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 560
        assert 0 <= y <= 190


def test_a_chart_tells_its_latest_figures_and_escapes():
    svg = chart("<b>", [Line("&a", "other", [(1.0, 2.0)])], "{:.1f} s".format, now=1.0, seconds=60.0)
    assert "<b>" not in svg
    assert ET.fromstring(svg).get("aria-label") == "<b>: &a 2.0 s"


def test_bounds_are_a_band_where_both_are_known():
    points = [(float(at), 1.0) for at in range(4)]
    low, high = [(at, 0.5 if at != 2 else None) for at, _ in points], [(at, 1.5) for at, _ in points]
    svg = ET.fromstring(chart("t", [Line("a", "other", points, (low, high))], str, now=3.0, seconds=3.0))
    assert [len(each.get("points").split()) for each in svg.iter("polygon")] == [4, 2]


def test_samples_are_bounded_and_go_with_their_model():
    series = Series()
    for at in range(KEPT + 5):
        series.take({"at": float(at), "models": {"a": {}, "b": {}}})
    assert [len(series.of("a")), series.of("a")[0].at] == [KEPT, 5.0]
    series.take({"at": 1.0, "models": {"a": {}}})
    assert series.of("b") == ()


def test_what_is_not_known_is_a_gap():
    roles = {"champion": {"p99_seconds": math.nan, "precision": {"value": 0.5, "lower": 0.4, "upper": None}}}
    made = sample(1.0, {"roles": roles, "traffic": {"share": 10}})
    assert (made.champion.p99, made.champion.precision, made.share) == (None, (0.5, 0.4, None), 10.0)
    assert made.evidence is None


def rollout(phase, **more):
    return {"version": 2, "reference": 1, "phase": phase, "active": True, **more}


BACK = {"to": 1, "ready": True, "moves_title": False}
SIGNERS = {"by": ["ann"], "people": 2, "signatures": [{}]}


@pytest.mark.parametrize(
    ("model", "actions"),
    [
        ({}, []),
        ({"rollback": {"to": 1, "moves_title": True}, "champion": 2}, ["rollback"]),
        ({"rollout": rollout("shadow"), "rollback": BACK}, ["rollback", "promote", "pause", "abort"]),
        ({"rollout": rollout("shadow", sign_off=SIGNERS)}, ["pause", "abort"]),
        ({"rollout": rollout("canary", paused=True)}, ["resume", "abort"]),
        ({"rollout": rollout("sign_off", sign_off=SIGNERS)}, ["sign-off", "reject", "pause", "abort"]),
        ({"rollout": rollout("sign_off", paused=True, sign_off=SIGNERS)}, ["reject", "resume", "abort"]),
        ({"rollout": rollout("held"), "frozen": "3 rollbacks"}, ["unfreeze", "pause", "abort"]),
        ({"rollout": rollout("watch"), "rollback": BACK}, ["rollback"]),
        ({"rollout": rollout("rolling_back"), "rollback": BACK}, []),
        ({"rollout": {**rollout("rolled_back"), "active": False}, "champion": 1}, ["start"]),
        ({"rollout": {**rollout("promoted"), "active": False}, "champion": 2}, []),
    ],
)
def test_what_is_offered_fits_what_goes_on(model, actions):
    found = offers(model)
    assert [each.action for each in found] == actions
    assert all(each.action in COMMANDS and each.says.endswith((".", "now.", "here.")) for each in found)


def test_the_last_signature_moves_the_title_and_those_before_do_not():
    def says(signed):
        rules = {"by": [], "people": 2, "signatures": [{}] * signed}
        return next(each.says for each in offers({"rollout": rollout("sign_off", sign_off=rules)}))

    assert says(0) == "Your signature is number 1 of the 2 that version 2 needs."
    assert says(1).startswith("@champion moves from version 1 to 2")


def test_a_rollback_to_what_is_not_ready_is_said_beforehand():
    (found,) = offers({"rollback": {"to": 1, "ready": False, "moves_title": True}, "champion": 2})
    assert "Version 1 does not answer its readiness probe now" in found.says
    assert found.fields == {"champion": "2", "on_trial": "0"}


def test_a_session_ends_by_time_by_hand_and_by_number():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    first, second = sessions.open("a"), sessions.open("told to nobody")
    assert (sessions.token(first), sessions.token("x")) == ("a", None)
    sessions.close(first)
    assert sessions.token(first) is None
    now[0] = SESSION_SECONDS
    assert sessions.token(second) is None
    kept = [sessions.open(str(index)) for index in range(MOST_SESSIONS + 1)]
    assert (sessions.token(kept[0]), sessions.token(kept[1])) == (None, "1")
    assert "told to nobody" not in repr(sessions.__dict__)


def test_who_signs_in_again_and_again_signs_only_oneself_out():
    sessions = Sessions(lambda: 0.0)
    other = sessions.open("other")
    own = [sessions.open("own") for _ in range(MOST_SESSIONS)]
    assert sessions.token(other) == "other"
    assert [sessions.token(cookie) for cookie in own].count("own") == MOST_OF_A_TOKEN
    assert sessions.token(own[-1]) == "own"
