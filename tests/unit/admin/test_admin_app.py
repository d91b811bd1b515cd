"""The admin application over ASGI: who is let in, what is acknowledged, how errors look."""

import asyncio
import json

import httpx
import pytest
from small_plane import SmallPlane

from comparator.events import AliasMove, Decision, DecisionKind
from router.control.admin import Access, ActorRole, Tokens, admin_app, new_token
from router.control.ledger import Fenced, LedgerUnavailable

LOOPBACK = ("127.0.0.1", 50_000)
WHY = {"reason": "because"}
ELSEWHERE = ("10.1.2.3", 50_000)


def ask(app, method, path, *, peer=LOOPBACK, host="localhost:9901", headers=None, **more):
    async def run():
        transport = httpx.ASGITransport(app, client=peer, raise_app_exceptions=False)
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        if host is not None:
            pairs.append(("host", host))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9901") as client:
            return await client.request(method, path, headers=pairs, **more)

    return asyncio.run(run())


def code(answer):
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].keys() == {"code", "message"}
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def plane():
    return SmallPlane()


@pytest.fixture
def app(plane):
    return admin_app(plane, Access("127.0.0.1"))


@pytest.fixture
def keys(tmp_path):
    """Role -> token, all of them in one file."""
    made = {role: new_token(role.value, [role]) for role in ActorRole}
    (tmp_path / "tokens.yaml").write_text("\n".join(each.line for each in made.values()))
    return {role: each.token for role, each in made.items()}


@pytest.fixture
def guarded(plane, keys, tmp_path):
    return admin_app(plane, Access("0.0.0.0", ["titleshot.example"], Tokens(tmp_path / "tokens.yaml")))


def bearer(token):
    return {"authorization": f"Bearer {token}"}


# ---- labels


def test_labels_are_recorded_before_they_are_acknowledged(app, plane):
    answer = ask(app, "POST", "/labels", json=[{"request_id": "a", "label": 1}, {"request_id": "b", "label": None}])
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    (rejected,) = answer.json()["rejected"]
    assert rejected["index"] == 1
    assert "label: expected a finite number" in rejected["error"]
    assert [len(columns) for columns in plane.labels["late"]] == [1]


def test_no_good_label(app, plane):
    answer = ask(app, "POST", "/labels", json={"request_id": "a", "label": "1"})
    assert answer.status_code == 422
    assert answer.json()["accepted"] == 0
    assert plane.labels["late"] == []


def test_no_labels_at_all(app):
    assert code(ask(app, "POST", "/labels", content=b"[")) == (400, "not_labels")
    assert code(ask(app, "POST", "/labels", content=b"")) == (400, "not_labels")


@pytest.mark.parametrize(
    ("away", "said"), [(LedgerUnavailable("disk full"), "ledger_unavailable"), (Fenced("x"), "not_leader")]
)
def test_nothing_is_acknowledged_without_a_ledger(app, plane, away, said):
    plane.away = away
    answer = ask(app, "POST", "/labels", json={"request_id": "a", "label": 1})
    assert code(answer) == (503, said)
    assert "retry-after" in answer.headers
    assert code(ask(app, "POST", "/models/late/pause", json={"reason": "x"})) == (503, said)


def test_bodies_have_a_bound(plane):
    small = admin_app(plane, Access("127.0.0.1"), labels_bytes=1000)
    assert code(ask(small, "POST", "/labels", content=b" " * 1001)) == (413, "too_large")

    async def chunks():
        for _ in range(30):
            yield b" " * 100

    assert code(ask(small, "POST", "/labels", content=chunks())) == (413, "too_large")
    assert code(ask(small, "POST", "/labels", content=b"x", headers={"content-encoding": "gzip"}))[0] == 415
    assert code(ask(small, "POST", "/models/late/pause", content=b" " * 20_000)) == (413, "too_large")


# ---- commands


def test_a_command_carries_its_actor(guarded, plane, keys):
    answer = ask(
        guarded,
        "POST",
        "/models/late/rollback",
        headers=bearer(keys[ActorRole.OPERATOR]),
        json={"reason": "too slow", "to": 3},
    )
    assert answer.status_code == 200
    assert answer.json()["kind"] == "roll_back"
    (made,) = plane.decisions["late"]
    assert (made.actor, made.reason, made.version) == ("operator", "too slow", 3)


def test_the_local_operator_has_a_name(app, plane):
    assert ask(app, "POST", "/models/late/pause", json=WHY).status_code == 200
    assert plane.decisions["late"][0].actor == "local:loopback"


def test_a_refused_command_says_why(app):
    assert ask(app, "POST", "/models/late/pause", json=WHY).status_code == 200
    answer = ask(app, "POST", "/models/late/pause", json=WHY)
    assert code(answer) == (409, "refused")
    assert "paused already" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        "[",
        "7",
        "",
        "{}",
        '{"reason": ""}',
        '{"reason": "  "}',
        '{"reason": "x", "to": "3"}',
        '{"reason": "x", "to": true}',
        '{"reason": "x", "to": 0}',
        '{"reason": "x", "why": 1}',
        '{"reason": "x", "evidence": "aa"}',
        '{"reason": "a\\nb"}',
        '{"reason": "\\ud800"}',
    ],
)
def test_malformed_commands(app, plane, body):
    answer = ask(app, "POST", "/models/late/rollback", content=body)
    assert code(answer)[1] == "bad_command"
    assert answer.status_code in (400, 422)
    assert plane.decisions["late"] == []


def test_a_reason_has_a_bound(app):
    assert code(ask(app, "POST", "/models/late/pause", json={"reason": "x" * 501})) == (422, "bad_command")


READERS = set(ActorRole) - {ActorRole.PAGER}
RIGHTS = {
    ("GET", "/status"): READERS,
    ("GET", "/metrics"): READERS,
    ("GET", "/models/late"): READERS,
    ("GET", "/models/late/history"): READERS,
    ("GET", "/models/late/production"): READERS,
    ("POST", "/webhooks/alertmanager"): {ActorRole.PAGER, ActorRole.ADMIN},
    ("POST", "/labels"): {ActorRole.LABELLER, ActorRole.ADMIN},
    **{
        ("POST", f"/models/late/{action}"): {ActorRole.OPERATOR, ActorRole.APPROVER, ActorRole.ADMIN}
        for action in ("rollback", "pause", "resume", "abort", "start")
    },
    ("POST", "/models/late/promote"): {ActorRole.APPROVER, ActorRole.ADMIN},
    ("POST", "/models/late/sign-off"): {ActorRole.APPROVER, ActorRole.ADMIN},
    ("POST", "/models/late/reject"): {ActorRole.APPROVER, ActorRole.ADMIN},
    ("POST", "/models/late/unfreeze"): {ActorRole.APPROVER, ActorRole.ADMIN},
}


@pytest.mark.parametrize(("method", "path"), RIGHTS)
def test_every_endpoint_takes_its_right(guarded, plane, keys, method, path):
    for role in ActorRole:
        plane.decisions["late"].clear()
        body = {"evidence": "aa", **WHY} if path.endswith("sign-off") else WHY
        more = {"json": body} if path.startswith("/models/") and method == "POST" else {}
        answer = ask(guarded, method, path, headers=bearer(keys[role]), peer=ELSEWHERE, **more)
        if role in RIGHTS[method, path]:
            assert answer.status_code in (200, 400), (role, answer.text)  # 400: no labels, no alerts
        else:
            assert code(answer) == (403, "forbidden"), role
    assert code(ask(guarded, method, path)) == (401, "unauthenticated")


# ---- who is let in


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer ", "Basic YTpi", "wrong", ""])
def test_a_wrong_token_is_refused_on_loopback_too(app, guarded, value):
    for each in (app, guarded):
        answer = ask(each, "GET", "/status", headers={"authorization": value})
        assert code(answer) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_two_authorizations_are_one_too_many(guarded, keys):
    both = [("authorization", f"Bearer {keys[ActorRole.ADMIN]}"), ("authorization", "Bearer x")]
    assert code(ask(guarded, "GET", "/status", headers=both)) == (401, "unauthenticated")


def test_without_tokens_only_loopback_is_the_local_operator(app):
    assert ask(app, "GET", "/status").status_code == 200
    assert code(ask(app, "GET", "/status", peer=ELSEWHERE)) == (401, "unauthenticated")


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
def test_a_proxy_on_this_machine_is_not_the_local_operator(app, name):
    assert code(ask(app, "GET", "/status", headers={name: "10.0.0.1"})) == (401, "unauthenticated")


def test_with_tokens_the_local_operator_is_a_setting(plane, keys, tmp_path):
    access = Access("127.0.0.1", (), Tokens(tmp_path / "tokens.yaml"), local_operator=True)
    both = admin_app(plane, access)
    assert ask(both, "GET", "/status").status_code == 200
    assert ask(both, "GET", "/status", headers=bearer("wrong")).status_code == 401
    assert ask(both, "GET", "/status", peer=ELSEWHERE).status_code == 401
    assert ask(both, "GET", "/status", peer=ELSEWHERE, headers=bearer(keys[ActorRole.VIEWER])).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9901", "127.0.0.1", "[::1]:9901", "titleshot.example:80"])
def test_known_hosts(guarded, keys, host):
    assert ask(guarded, "GET", "/status", host=host, headers=bearer(keys[ActorRole.VIEWER])).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9901", "localhost.evil.example", "10.0.0.9"])
def test_unknown_hosts(app, plane, host):
    assert code(ask(app, "GET", "/status", host=host)) == (421, "unknown_host")
    assert code(ask(app, "POST", "/models/late/pause", host=host)) == (421, "unknown_host")
    assert plane.decisions["late"] == []
    assert ask(app, "GET", "/health/live", host=host).status_code == 200


@pytest.mark.parametrize(
    "hosts",
    [["localhost", "localhost"], ["localhost, evil"], ["user@localhost"], ["localhost/x"], [""], ["localhost:x"]],
)
def test_bad_hosts(app, hosts):
    assert code(ask(app, "GET", "/status", host=None, headers=[("host", host) for host in hosts])) == (400, "bad_host")


def test_the_address_of_the_connection_is_a_known_host(plane):
    """As a pod is asked by its own address."""
    asked = admin_app(plane, Access("0.0.0.0"))

    async def served_at(scope, receive, send):
        await asked({**scope, "server": ("10.2.0.7", 9901)}, receive, send)

    assert ask(served_at, "GET", "/status", host="10.2.0.7:9901").status_code == 200
    assert code(ask(served_at, "GET", "/status", host="10.2.0.8:9901")) == (421, "unknown_host")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:8000"},
        {"origin": "null"},
        {"origin": "http://localhost:9901.evil.example"},
        [("origin", "http://localhost:9901"), ("origin", "http://evil.example")],
        [("origin", "http://localhost:9901"), ("origin", "http://localhost:9901")],
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(app, plane, headers):
    assert code(ask(app, "POST", "/models/late/pause", headers=headers)) == (403, "foreign_origin")
    assert code(ask(app, "POST", "/labels", headers=headers)) == (403, "foreign_origin")
    assert plane.decisions["late"] == []


@pytest.mark.parametrize("headers", [{"origin": "http://localhost:9901"}, {"sec-fetch-site": "same-origin"}, {}])
def test_our_own_page_and_programs_may(app, headers):
    assert ask(app, "POST", "/models/late/pause", headers=headers, json=WHY).status_code == 200


# ---- reading


def test_status_and_model(app):
    assert ask(app, "GET", "/status").json()["models"]["late"]["champion"] == 1
    assert ask(app, "GET", "/models/late").json()["traffic"] == {"mode": "canary", "share": 10, "mirror": 0}


def test_a_tokens_file_that_is_not_taken_is_told(guarded, keys, tmp_path):
    viewer = bearer(keys[ActorRole.VIEWER])
    assert ask(guarded, "GET", "/status", headers=viewer).json()["tokens"] == {"error": ""}
    with (tmp_path / "tokens.yaml").open("a") as file:
        file.write("\n- {name: x}\n")
    error = ask(guarded, "GET", "/status", headers=viewer).json()["tokens"]["error"]
    assert error.endswith("expected roles and token, too")


def test_an_unknown_model_is_told_nothing(app):
    reads = ("/models/x", "/models/x/history", "/models/x/production")
    for method, path in (*(("GET", path) for path in reads), ("POST", "/models/x/pause")):
        answer = ask(app, method, path)
        assert code(answer) == (404, "unknown_model")
        assert "late" not in answer.text


def test_history(app):
    for number in range(3):
        ask(app, "POST", "/models/late/rollback", json={"to": number + 1, "reason": "x"})
    answer = ask(app, "GET", "/models/late/history?limit=2").json()
    assert [made["version"] for made in answer["decisions"]] == [3, 2]
    assert [made["id"] for made in answer["decisions"]] == ["late/3", "late/2"]
    for limit in ("0", "1001", "x", "-1", "1.5", "\u0663", "9" * 5000):
        assert code(ask(app, "GET", "/models/late/history", params={"limit": limit})) == (422, "bad_limit")


def test_production(app, plane):
    moves = ((1, 2, "registry"), (2, 1, "ann"))
    plane.decisions["late"] = [
        Decision(DecisionKind.FOREIGN_MOVE, float(to), 0, to, "because", actor, move=AliasMove(expected, to))
        for expected, to, actor in moves
    ][::-1]
    reigns = ask(app, "GET", "/models/late/production").json()["production"]
    assert [(reign["version"], reign["by"], reign["decision"]) for reign in reigns] == [
        (1, "ann", "late/2"),
        (2, "registry", "late/1"),
        (1, "", ""),
    ]


def test_metrics(app):
    answer = ask(app, "GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content == b"titleshot_requests_total 1\n"


def test_health_is_open_and_ready_says_what_is_missing(guarded, plane):
    assert ask(guarded, "GET", "/health/live", peer=ELSEWHERE).json() == {"status": "live"}
    assert ask(guarded, "GET", "/health/ready", peer=ELSEWHERE).status_code == 200
    plane.reasons = ["late: the registry names no champion"]
    answer = ask(guarded, "GET", "/health/ready", peer=ELSEWHERE)
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["late: the registry names no champion"]


def test_other_paths_and_methods(app):
    assert code(ask(app, "GET", "/nothing")) == (404, "not_found")
    answer = ask(app, "GET", "/labels")
    assert code(answer) == (405, "bad_method")
    assert answer.headers["allow"] == "POST"
    assert code(ask(app, "POST", "/models/late/dance")) == (404, "not_found")


def test_a_fault_of_ours_tells_nothing_of_itself(app, plane):
    plane.status = lambda: 1 / 0
    answer = ask(app, "GET", "/status")
    assert code(answer) == (500, "internal")
    assert "zero" not in answer.text


def test_no_answer_may_be_framed_or_kept(app):
    for path in ("/status", "/nothing", "/metrics", "/health/live"):
        headers = ask(app, "GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_status_json_carries_no_nan(app):
    text = ask(app, "GET", "/status").text
    json.loads(text, parse_constant=pytest.fail)
