"""Attempts to act by people who may not: told of whole, with nothing of what they showed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_plane import SmallPlane
from starlette.routing import Route
from test_admin_app import ELSEWHERE, ask, bearer, code

from comparator.acts import NotEntitled
from router.control.admin import Access, ActorRole, Tokens, admin_app, new_token
from router.control.admin.attempts import ACTS, asked_for
from router.control.console import Console
from router.control.ledger import LedgerUnavailable, RefusedAct
from router.control.metric_table import ACTS as COUNTED

SECRET = "titleshot_a-token-that-nobody-here-has-given-out"


@pytest.fixture
def plane():
    return SmallPlane()


@pytest.fixture
def keys(tmp_path):
    made = {role: new_token(role.value, [role]) for role in ActorRole}
    (tmp_path / "tokens.yaml").write_text("\n".join(each.line for each in made.values()))
    return {role: each.token for role, each in made.items()}


@pytest.fixture
def app(plane, keys, tmp_path):
    access = Access(
        "0.0.0.0", ["titleshot.example"], Tokens(tmp_path / "tokens.yaml"), attempted=plane.refused_acts.append
    )
    return admin_app(plane, access, pages=Console(plane, access).routes())


def test_every_request_that_changes_something_is_an_attempt_to_act(app):
    posts = {route.path for route in app.routes if isinstance(route, Route) and "POST" in route.methods}
    found = {}
    for path in posts - {"/console/login", "/console/logout"}:
        for act in ACTS if "{action}" in path else ("",):
            asked = path.replace("{name}", "late").replace("{action}", act)
            found[asked] = asked_for("POST", asked)
    assert None not in found.values()
    assert {act for act, _ in found.values()} == ACTS == set(COUNTED)
    assert {model for path, (_, model) in found.items() if "models" in path} == {"late"}
    assert asked_for("GET", "/console/models/late/ask/pause") is None
    assert asked_for("POST", "/console/login") is None


@given(st.text(max_size=60), st.sampled_from(["POST", "GET", "DELETE"]))
def test_any_path_is_an_act_of_ours_or_none(path, method):
    for tried in (path, f"/models/{path}", f"/models/m/{path}", f"/console/models/m/ask/{path}"):
        found = asked_for(method, tried)
        assert found is None or (method == "POST" and found[0] in ACTS)


def test_without_a_known_token_it_is_told_from_where_and_why(app, plane):
    for headers, why in (
        ({}, "expected an Authorization header with a bearer token"),
        (bearer(SECRET), "this token is not known here"),
    ):
        body = {"reason": SECRET}
        answer = ask(app, "POST", "/models/late/rollback", headers=headers, peer=ELSEWHERE, json=body)
        assert answer.status_code == 401
        act = plane.refused_acts[-1]
        assert (act.actor, act.origin, act.act, act.model, act.why) == ("", "the network", "rollback", "late", why)
        assert act.at > 1e9
    assert SECRET not in repr(plane.refused_acts)


def test_without_the_right_it_is_told_who(app, plane, keys):
    def refused(role, path, **more):
        answer = ask(app, "POST", path, headers=bearer(keys[role]), json={"reason": "x"}, **more)
        assert answer.status_code == 403
        return plane.refused_acts[-1]

    act = refused(ActorRole.OPERATOR, "/models/late/promote")
    assert (act.actor, act.act, act.why) == ("operator", "promote", "operator does not have the right to approve")
    assert act.origin == "this machine"
    assert refused(ActorRole.VIEWER, "/models/late/gate", peer=ELSEWHERE).act == "gate"
    assert refused(ActorRole.VIEWER, "/labels").model == ""
    assert refused(ActorRole.VIEWER, "/webhooks/alertmanager").act == "alerts"
    assert not any(key in repr(plane.refused_acts) for key in keys.values())


def test_whom_the_policy_does_not_let_is_told_too(app, plane, keys):
    plane.away = NotEntitled("cannot sign off: approver registered the version")
    sent = {"reason": "x", "evidence": "0" * 64}
    answer = ask(app, "POST", "/models/late/sign-off", headers=bearer(keys[ActorRole.APPROVER]), json=sent)
    assert code(answer) == (409, "refused")
    (act,) = plane.refused_acts
    assert (act.actor, act.act, act.why) == ("approver", "sign-off", str(plane.away))


def test_a_page_of_another_site_is_told(app, plane):
    headers = {"origin": "https://evil.example"}
    assert ask(app, "POST", "/models/late/abort", headers=headers).status_code == 403
    assert [(act.act, act.model) for act in plane.refused_acts] == [("abort", "late")]


def test_looking_and_what_is_carried_out_are_no_refused_acts(app, plane, keys):
    assert ask(app, "GET", "/status", peer=ELSEWHERE).status_code == 401
    assert ask(app, "GET", "/status", headers=bearer(keys[ActorRole.PAGER])).status_code == 403
    done = ask(app, "POST", "/models/late/pause", headers=bearer(keys[ActorRole.OPERATOR]), json={"reason": "x"})
    assert done.status_code == 200
    assert plane.refused_acts == []


def test_whoever_may_read_can_read_them(app, plane, keys):
    plane.refused_acts = [
        RefusedAct(1e9, "", "the network", "pause", "late", "why"),
        RefusedAct(2e9, "", "", "labels", "", "more", 7),
        RefusedAct(3e9, "ann", "this machine", "pause", "other", "why"),
    ]
    viewer = bearer(keys[ActorRole.VIEWER])
    told = ask(app, "GET", "/models/late/refused", headers=viewer).json()
    assert told["model"] == "late"
    assert [(each["act"], each["times"]) for each in told["refused"]] == [("labels", 7), ("pause", 1)]
    assert len(ask(app, "GET", "/models/late/refused?limit=1", headers=viewer).json()["refused"]) == 1
    assert code(ask(app, "GET", "/models/late/refused?limit=0", headers=viewer)) == (422, "bad_limit")
    assert code(ask(app, "GET", "/models/nobody/refused", headers=viewer)) == (404, "unknown_model")
    assert code(ask(app, "GET", "/models/late/refused", headers=bearer(keys[ActorRole.PAGER]))) == (403, "forbidden")
    plane.away = LedgerUnavailable("away")
    assert code(ask(app, "GET", "/models/late/refused", headers=viewer)) == (503, "ledger_unavailable")
