"""The console over ASGI: what is shown to whom, and what people's forms do."""

import asyncio
import re
from urllib.parse import quote

import httpx
import pytest
from small_plane import SmallPlane

from comparator.events import DecisionKind
from router.control.admin import Access, ActorRole, Tokens, admin_app, new_token
from router.control.console import Console
from router.control.ledger import LedgerUnavailable, RefusedAct

EVIL = "\"><script>alert(1)</script>&amp;'\ud800"
HOME = "http://localhost:9901"
MODEL = "/console/models/late"
ROLLBACK = {"to": 1, "ready": True, "moves_title": False}


def browser(app, peer="127.0.0.1"):
    """Cookies and all; redirects are not followed."""
    transport = httpx.ASGITransport(app, client=(peer, 50_000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=HOME, headers={"origin": HOME})


def looked_at(app, *paths, peer="127.0.0.1"):
    async def run():
        async with browser(app, peer) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(run())


def page(app, path, status=200):
    (answer,) = looked_at(app, path)
    assert answer.status_code == status, answer.text
    return answer.text


def sent(app, path, **fields):
    async def run():
        async with browser(app) as client:
            return await client.post(path, data=fields)

    return asyncio.run(run())


@pytest.fixture
def plane():
    made = SmallPlane()
    made.extra = {"rollback": ROLLBACK}
    return made


def console(plane, access):
    return admin_app(plane, access, pages=Console(plane, access).routes())


@pytest.fixture
def app(plane):
    return console(plane, Access("127.0.0.1"))


@pytest.fixture
def keys(tmp_path):
    made = {role: new_token(role.value, [role]) for role in ActorRole}
    (tmp_path / "tokens.yaml").write_text("\n".join(each.line for each in made.values()))
    return {role: each.token for role, each in made.items()}


@pytest.fixture
def refused():
    """Why somebody was not let in, one after the other."""
    return []


@pytest.fixture
def guarded(plane, keys, tmp_path, refused):
    tokens = Tokens(tmp_path / "tokens.yaml")
    access = Access("127.0.0.1", (), tokens, refused=refused.append, attempted=plane.refused_acts.append)
    return console(plane, access)


# ---- what is shown


def test_the_overview_and_a_models_page_show_what_goes_on(app, plane):
    asyncio.run(plane.command("late", _rollback("worse than before")))
    front = page(app, "/")
    for text in ("late", "version 1", "version 2: canary 10 %, step 2 of 3", "inconclusive"):
        assert text in front
    told = page(app, MODEL)
    for text in (
        "0.710 [0.600, 0.800] on 120",
        "20 ms",
        "worse than before",
        "@champion",
        "Precision, with its bounds",
    ):
        assert text in told, text


def test_a_decision_is_explained_on_a_page_of_its_own(app, plane):
    asyncio.run(plane.command("late", _rollback(EVIL)))
    assert f'href="{MODEL}/decisions/1"' in page(app, MODEL)
    told = page(app, f"{MODEL}/decisions/1")
    assert "roll back, version 2" in told
    assert "nothing to recompute" in told
    assert "&lt;script&gt;" in told
    assert "<script>alert" not in told
    for number in ("2", "0", "x", "-1", "9" * 30):
        page(app, f"{MODEL}/decisions/{number}", 404)
    page(app, "/console/models/nobody/decisions/1", 404)


def test_nothing_is_in_a_page_but_our_own_files(app):
    for answer in looked_at(app, "/", MODEL, f"{MODEL}/ask/pause", "/console/login"):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?! defer src=\"/console/static/)", answer.text)
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|https?://", answer.text)
    for name in re.findall(r"/console/static/[^\"]+", page(app, "/")):
        assert looked_at(app, name)[0].status_code == 200
    assert looked_at(app, "/console/static/..%2fapp.py")[0].status_code == 404


def test_whatever_others_wrote_is_text(app, plane):
    plane.extra = {
        "registry": {"error": EVIL},
        "frozen": EVIL,
        "fault": EVIL,
        "roles": {EVIL: {"version": EVIL, "p99_seconds": EVIL}},
        "untold": [{"webhook": EVIL, "kind": EVIL, "version": EVIL, "problem": EVIL}],
        "rollout": {
            "version": EVIL,
            "active": True,
            "phase": "sign_off",
            "hold_reason": EVIL,
            "steps": [{"kind": EVIL, "percent": EVIL}],
            "evidence": {
                "verdict": EVIL,
                "reason": EVIL,
                "guardrails": [{"name": EVIL, "verdict": EVIL, "reason": EVIL}],
                "checks": [{"name": EVIL, "verdict": EVIL, "reason": EVIL}],
            },
            "confirmations": [{"what": EVIL, "webhook": EVIL, "verdict": EVIL, "reason": EVIL}],
            "sign_off": {"by": [EVIL], "people": 2, "signatures": [{"name": EVIL, "at": EVIL}]},
            "evidence_digest": EVIL,
        },
        "rollback": ROLLBACK,
    }
    plane.reasons = [EVIL]
    asyncio.run(plane.command("late", _rollback(EVIL)))
    for path, least in (("/", 5), (MODEL, 15), (f"{MODEL}/ask/sign-off", 5)):
        text = page(app, path)
        assert "<script>" not in text
        assert text.count("&lt;script&gt;") >= least


def test_who_has_to_sign_and_under_what_is_told(app, plane):
    signatures = [{"name": "ann", "at": 1_700_000_000.0, "evidence_digest": "ab12"}]
    plane.extra = {
        "rollout": {
            "version": 2,
            "reference": 1,
            "active": True,
            "phase": "sign_off",
            "evidence": {"verdict": "pass", "reason": "all is well"},
            "evidence_digest": "5f0c",
            "sign_off": {"by": ["ann", "ben"], "people": 2, "not_registrant": True, "signatures": signatures},
        }
    }
    told = page(app, MODEL)
    for text in (
        "Signatures needed: 2, by ann, ben; not by who registered it. Signed: ann",
        "ann, 2023-11-14 22:13:20 UTC",
        "5f0c",
        "all is well",
    ):
        assert text in told
    form = page(app, f"{MODEL}/ask/sign-off")
    assert "@champion moves from version 1 to version 2" not in form
    assert '<input type="hidden" name="evidence" value="5f0c">' in form


def test_without_a_ledger_or_a_model(app, plane):
    assert "There is no such model here." in page(app, "/console/models/x", 404)
    assert "There is no such model here." in page(app, "/console/models/x/ask/pause", 404)
    plane.away = LedgerUnavailable("disk full")
    assert "the ledger cannot be read: disk full" in page(app, MODEL)


# ---- acting


def _rollback(reason):
    from comparator.events import Command, CommandKind

    return Command(1000.0, CommandKind.ROLL_BACK, "ann", reason)


def test_a_form_says_what_will_happen_and_does_it(app, plane):
    form = page(app, f"{MODEL}/ask/rollback")
    assert "Version 2 gets no traffic any more, at once; version 1 goes on serving." in form
    fields = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', form))
    assert fields == {"champion": "1", "on_trial": "2", "rollout": "none", "actor": "local:loopback"}
    answer = sent(app, f"{MODEL}/ask/rollback", reason=" slow since noon ", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, MODEL)
    (made,) = plane.decisions["late"]
    assert (made.kind, made.reason, made.actor) == (DecisionKind.ROLL_BACK, "slow since noon", "local:loopback")


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_reason_is_needed(app, plane, reason):
    answer = sent(app, f"{MODEL}/ask/pause", reason=reason)
    assert answer.status_code == 422
    assert "Say why, in one line" in answer.text
    assert plane.decisions["late"] == []


def test_what_is_refused_is_said_and_the_reason_is_kept(app, plane):
    plane.ready = False
    answer = sent(app, f"{MODEL}/ask/rollback", reason="slow", champion="1", on_trial="2")
    assert answer.status_code == 409
    assert "Refused: cannot roll back: the endpoint of version 1 is not ready." in answer.text
    assert 'value="slow"' in answer.text


def test_a_form_of_another_rollout_or_of_somebody_else_does_nothing(app, plane):
    for changed in {"rollout": "16"}, {"actor": "ben"}:
        fields = {"rollout": "17", "actor": "local:loopback"} | changed
        plane.extra = {"rollout": {**plane.status()["models"]["late"]["rollout"], "id": "17"}}
        answer = sent(app, f"{MODEL}/ask/promote", reason="go", **fields)
        assert answer.status_code == 409
        assert "Nothing was done: " in answer.text
        assert 'name="rollout" value="17"' in answer.text  # the form as it is now, with the reason
        assert 'value="go"' in answer.text
        assert plane.decisions["late"] == []


def test_who_comes_too_late_is_led_back_to_the_model(app, plane):
    plane.extra = {"rollout": {**plane.status()["models"]["late"]["rollout"], "active": False, "phase": "aborted"}}
    plane.ready = False
    answer = sent(app, f"{MODEL}/ask/pause", reason="wait", says="<b>")
    assert answer.status_code == 409
    assert "Refused: cannot" in answer.text
    assert f'<a href="{MODEL}">Back to late</a>' in answer.text
    assert "<form" not in answer.text.partition("<main")[2]


def test_of_what_fails_it_is_said_that_nothing_was_done(app, plane):
    plane.away = LedgerUnavailable("disk full")
    answer = sent(app, f"{MODEL}/ask/pause", reason="wait")
    assert answer.status_code == 503
    assert "Nothing was done: not now: disk full." in answer.text


def test_what_does_not_fit_is_not_asked(app):
    assert "Resume does not fit" in page(app, f"{MODEL}/ask/resume", 409)
    page(app, f"{MODEL}/ask/format-disk", 404)
    assert sent(app, f"{MODEL}/ask/format-disk", reason="x").status_code == 404
    assert sent(app, f"{MODEL}/ask/rollback", reason="x", to="1.5").status_code == 422
    assert sent(app, f"{MODEL}/ask/rollback", reason="x", to="9" * 30).status_code == 422


def test_a_page_of_another_site_does_nothing(app, plane):
    async def run():
        async with browser(app) as client:
            headers = {"origin": "https://evil.example"}
            return await client.post(f"{MODEL}/ask/pause", data={"reason": "x"}, headers=headers)

    assert asyncio.run(run()).status_code == 403
    assert plane.decisions["late"] == []


# ---- signing in


def signed_in(app, token, *requests):
    """Sign in with a token, then (method, path, fields)."""

    async def run():
        async with browser(app) as client:
            entered = await client.post("/console/login", data={"token": token})
            return [entered, *[await client.request(method, path, data=data) for method, path, data in requests]]

    return asyncio.run(run())


def test_who_has_not_signed_in_is_led_to_the_door(guarded):
    for path, to in (("/", ""), (MODEL, MODEL), (f"{MODEL}/ask/pause", f"{MODEL}/ask/pause"), (f"{MODEL}/stream", "")):
        (answer,) = looked_at(guarded, path)
        door = f"/console/login?to={quote(to, safe='')}" if to else "/console/login"
        assert (answer.status_code, answer.headers["location"]) == (303, door)
    (entered,) = signed_in(guarded, "titleshot_wrong")
    assert entered.status_code == 401
    assert "This token is not known here." in entered.text
    assert "set-cookie" not in entered.headers


@pytest.mark.parametrize(
    ("to", "led_to"),
    [
        (MODEL, MODEL),
        (f"{MODEL}/decisions/3", f"{MODEL}/decisions/3"),
        ("/console/models/a%20b/ask/roll-back", "/console/models/a%20b/ask/roll-back"),
        ("https://evil.example", "/"),
        ("//evil.example/console/models/x", "/"),
        ("/console/models/../../x", "/"),
        (f"{MODEL}\r\nset-cookie: x=1", "/"),
        ("/console/logout", "/"),
    ],
)
def test_who_has_signed_in_comes_to_the_page_that_was_asked_for(guarded, keys, to, led_to):
    async def run():
        async with browser(guarded) as client:
            shown = await client.get("/console/login", params={"to": to})
            wrong = await client.post("/console/login", data={"token": "x", "to": to})
            return shown, wrong, await client.post("/console/login", data={"token": keys[ActorRole.VIEWER], "to": to})

    shown, wrong, entered = asyncio.run(run())
    assert 'name="to"' in shown.text
    assert 'name="to"' in wrong.text
    assert (entered.status_code, entered.headers["location"]) == (303, led_to)


def test_without_tokens_there_is_no_door(app):
    for answer in looked_at(app, "/console/login", "/console"):
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_cookie_stands_for_a_token_on_the_console_and_nowhere_else(guarded, keys, plane):
    token = keys[ActorRole.APPROVER]
    requests = [
        ("GET", MODEL, None),
        ("POST", f"{MODEL}/ask/pause", {"reason": "wait"}),
        ("GET", "/status", None),
        ("POST", "/console/logout", {}),
        ("GET", MODEL, None),
    ]
    entered, shown, paused, api, left, after = signed_in(guarded, token, *requests)
    cookie = entered.headers["set-cookie"]
    assert token not in cookie
    assert all(each in cookie.lower() for each in ("httponly", "samesite=lax", "path=/"))
    assert "Sign out" in shown.text
    assert paused.status_code == 303
    assert plane.decisions["late"][0].actor == "approver"
    assert api.status_code == 401
    assert left.status_code == after.status_code == 303
    assert after.headers["location"].startswith("/console/login?to=")


def test_a_token_that_was_taken_back_is_out_at_once(guarded, keys, tmp_path, refused):
    async def run():
        async with browser(guarded) as client:
            await client.post("/console/login", data={"token": keys[ActorRole.VIEWER]})
            before = await client.get("/")
            (tmp_path / "tokens.yaml").write_text(new_token("other", [ActorRole.VIEWER]).line)
            return before, await client.get("/")

    before, after = asyncio.run(run())
    assert (before.status_code, after.status_code) == (200, 303)
    assert refused == ["unauthenticated"]


def test_who_acts_without_being_signed_in_is_led_to_the_door_and_that_is_kept(guarded, keys, plane, tmp_path):
    async def run():
        async with browser(guarded) as client:
            unknown = await client.post(f"{MODEL}/ask/rollback", data={"reason": "x"})
            await client.post("/console/login", data={"token": keys[ActorRole.OPERATOR]})
            (tmp_path / "tokens.yaml").write_text(new_token("other", [ActorRole.VIEWER]).line)
            return unknown, await client.post(f"{MODEL}/ask/pause", data={"reason": "x"})

    for answer in asyncio.run(run()):
        assert answer.status_code == 401
        assert "Nothing was done: you are not signed in" in answer.text
        assert 'name="token"' in answer.text
    assert [(act.act, act.why) for act in plane.refused_acts] == [
        ("rollback", "expected an Authorization header with a bearer token"),
        ("pause", "signed out, or the token was taken back"),
    ]
    assert plane.decisions["late"] == []


def test_refused_attempts_are_shown_on_the_page_of_the_model(app, plane):
    assert "Refused attempts" not in page(app, MODEL)
    plane.refused_acts = [RefusedAct(1e9, "", "the network", "promote", "late", EVIL, 3)]
    shown = page(app, MODEL)
    assert "<h2>Refused attempts to act</h2>" in shown
    assert "<td>promote</td><td>unknown</td><td>the network</td>" in shown
    assert "<script>alert" not in shown


def test_buttons_are_for_those_who_may(guarded, keys, plane, refused):
    viewing = signed_in(
        guarded,
        keys[ActorRole.VIEWER],
        ("GET", MODEL, None),
        ("GET", f"{MODEL}/ask/pause", None),
        ("POST", f"{MODEL}/ask/pause", {"reason": "x"}),
    )
    assert "/ask/" not in viewing[1].text
    assert [each.status_code for each in viewing[2:]] == [403, 403]
    assert refused == ["forbidden", "forbidden"]
    (attempt,) = plane.refused_acts
    assert (attempt.actor, attempt.act, attempt.model) == ("viewer", "pause", "late")
    assert plane.decisions["late"] == []
    (_, operating) = signed_in(guarded, keys[ActorRole.OPERATOR], ("GET", MODEL, None))
    assert "/ask/pause" in operating.text
    assert "/ask/promote" not in operating.text
    (paging,) = signed_in(guarded, keys[ActorRole.PAGER])
    assert paging.status_code == 403
