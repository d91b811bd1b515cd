"""POST /models/{name}/gate: who may report, and what is taken."""

import json

import pytest
from gate_reports import report
from small_plane import SmallPlane
from test_admin_app import ask as asked_for

from comparator.events import DecisionKind
from router.control.admin import Access, ActorRole, Tokens, admin_app, new_token
from router.control.admin.gate import REPORT_BYTES
from router.control.admin.operations import RegistryAway
from router.control.ledger import LedgerUnavailable


@pytest.fixture
def plane():
    return SmallPlane()


@pytest.fixture
def ask(plane, tmp_path):
    made = {role.value: new_token(role.value, [role]) for role in ActorRole}
    path = tmp_path / "tokens.yaml"
    path.write_text("".join(f"{each.line}\n" for each in made.values()))
    path.chmod(0o600)
    app = admin_app(plane, Access("127.0.0.1", tokens=Tokens(path)))

    def asked(data, role="gate", model="late", method="POST", path="gate"):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        headers = {"authorization": f"Bearer {made[role].token}"} if role else {}
        return asked_for(app, method, f"/models/{model}/{path}", content=body, headers=headers)

    return asked


def test_a_report_is_recorded_in_the_name_of_who_sent_it(plane, ask):
    answer = ask(report(plane.policy))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["kind"], answer.json()["actor"], answer.json()["version"]) == ("gated", "gate", 2)
    (made,) = plane.decisions["late"]
    assert made.kind is DecisionKind.GATED
    assert made.evidence["report"]["verdict"] == "PASS"


@pytest.mark.parametrize("role", [role.value for role in ActorRole])
def test_only_gate_and_admin_may_report(plane, ask, role):
    answer = ask(report(plane.policy), role)
    allowed = role in ("gate", "admin")
    assert answer.status_code == (200 if allowed else 403)
    assert bool(plane.decisions["late"]) is allowed


def test_a_pipeline_may_read_and_nothing_else(plane, ask):
    assert ask(b"", method="GET", path="history").status_code == 200
    for act in ("rollback", "promote", "sign-off", "pause", "abort", "start", "unfreeze"):
        assert ask({"reason": "x"}, path=act).status_code == 403
    assert ask(report(plane.policy), role=None).status_code == 401
    assert plane.decisions["late"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_a_report"),
        (b"[]", 400, "not_a_report"),
        (b"{", 400, "not_a_report"),
        (b'{"at": NaN}', 400, "not_a_report"),
        (b'{"a": ' + b"[" * 50_000, 400, "not_a_report"),
        (b"\xff", 400, "not_a_report"),
        (b"{}", 409, "refused"),
        (b'{"a": "' + b"x" * REPORT_BYTES + b'"}', 413, "too_large"),
    ],
)
def test_what_is_no_report_changes_nothing(plane, ask, body, status, code):
    answer = ask(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert plane.decisions["late"] == []


def test_what_does_not_fit_says_why(plane, ask):
    answer = ask(report(plane.policy, champion=3))
    assert answer.status_code == 409
    assert "the champion is version 1" in answer.json()["error"]["message"]
    assert ask(report(plane.policy), model="none").status_code == 404


def test_while_ledger_or_registry_are_away(plane, ask):
    plane.away = LedgerUnavailable("away")
    assert ask(report(plane.policy)).json()["error"]["code"] == "ledger_unavailable"
    plane.away = RegistryAway("the registry cannot be read")
    answer = ask(report(plane.policy))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "registry_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert plane.decisions["late"] == []
