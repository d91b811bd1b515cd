"""Alertmanager's notifications: read strictly, matched exactly, carried out once."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_plane import SmallPlane
from test_admin_app import ELSEWHERE, ask, bearer, code

from router.control.admin import Access, ActorRole, Tokens, admin_app, new_token
from router.control.admin.alerts import LONGEST_TOLD, MOST_TOLD, Alert, NotAlerts, matching, read_alerts
from router.control.admin.webhook import LOGGED_AT_ONCE
from router.control.ledger import Fenced

URL = "/webhooks/alertmanager"
PAGE = {"alertname": "Errors", "severity": "page"}


def alert(status="firing", starts_at="2026-01-02T03:04:05.678Z", **labels):
    """As Alertmanager 0.27 writes one."""
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": "many errors"},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c4a5f0a1b2c3d4e5",
    }


def notification(*alerts, **changes):
    return {
        "receiver": "titleshot",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "Errors"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="Errors"}',
        "truncatedAlerts": 0,
        **changes,
    }


@pytest.fixture
def plane():
    made = SmallPlane({"late": 1, "other": 1})
    made.alerts = {"late": (PAGE,)}
    return made


@pytest.fixture
def keys(tmp_path):
    made = {role: new_token(role.value, [role]) for role in ActorRole}
    (tmp_path / "tokens.yaml").write_text("\n".join(each.line for each in made.values()))
    return {role: each.token for role, each in made.items()}


@pytest.fixture
def post(plane, keys, tmp_path):
    app = admin_app(plane, Access("0.0.0.0", ["titleshot.example"], Tokens(tmp_path / "tokens.yaml")))

    def posted(body, role=ActorRole.PAGER):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return ask(app, "POST", URL, headers=bearer(keys[role]), peer=ELSEWHERE, content=content)

    return posted


def test_an_alert_rolls_back_and_its_labels_are_the_reason(post, plane):
    answer = post(notification(alert(**PAGE, job="model")))
    assert answer.status_code == 200
    told = "Errors (job=model, severity=page)"
    assert answer.json() == {
        "models": {"late": {"alert": told, "did": "roll_back", "version": 2}},
        "ignored": [],
        "unknown": [],
    }
    assert plane.alert_results["acted"] == 1
    (made,) = plane.decisions["late"]
    assert (made.actor, made.reason) == ("pager", f"alert {told}")
    assert plane.decisions["other"] == []


def test_sent_again_it_does_nothing_more(post, plane):
    for _ in range(3):
        answer = post(notification(alert(**PAGE)))
        assert answer.status_code == 200
    assert answer.json()["models"]["late"] == {
        "alert": "Errors (severity=page)",
        "did": "nothing",
        "why": "nothing is on trial",
    }
    assert len(plane.decisions["late"]) == 1


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (alert("resolved", **PAGE), "it fires no more"),
        (alert("resolved", alertname="Other", model="late"), "it fires no more"),
        (alert(alertname="Errors", model="late"), "no model's rollback_on has these labels"),
        (alert(alertname="Errors", severity="PAGE", model="other"), "no model's rollback_on has these labels"),
    ],
)
def test_what_is_of_a_model_but_asks_for_nothing_is_ignored_and_said(post, plane, sent, why):
    answer = post(notification(sent))
    assert answer.status_code == 200
    assert answer.json()["models"] == {}
    assert [each["why"] for each in answer.json()["ignored"]] == [why]
    assert answer.json()["unknown"] == []
    assert +plane.alert_results == {"resolved" if sent["status"] == "resolved" else "ignored": 1}
    assert plane.decisions["late"] == []


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (alert(alertname="Errors", model="nobody"), "there is no model here of the name in its label model"),
        (alert("resolved", model="nobody"), "there is no model here of the name in its label model"),
        (
            alert(alertname="Errors", severity="page "),
            "no model's rollback_on has these labels, and it has no label model",
        ),
        (alert(), "no model's rollback_on has these labels, and it has no label model"),
    ],
)
def test_an_alert_of_no_model_here_is_refused_counted_and_not_to_be_sent_again(post, plane, sent, why):
    answer = post(notification(sent))
    assert code(answer) == (422, "unknown_model")
    assert [each["why"] for each in answer.json()["unknown"]] == [why]
    assert (answer.json()["models"], answer.json()["ignored"]) == ({}, [])
    assert +plane.alert_results == {"unknown_model": 1}
    assert plane.decisions["late"] == []


def test_of_a_mixed_group_the_known_act_and_the_unknown_are_told(post, plane):
    answer = post(notification(alert(alertname="Errors", model="nobody"), alert(**PAGE), alert(model="late")))
    assert answer.status_code == 200
    assert answer.json()["models"]["late"]["did"] == "roll_back"
    assert [each["alert"] for each in answer.json()["unknown"]] == ["Errors (model=nobody)"]
    assert [each["alert"] for each in answer.json()["ignored"]] == ["without a name (model=late)"]
    assert +plane.alert_results == {"acted": 1, "ignored": 1, "unknown_model": 1}


def test_a_group_without_alerts_is_no_mistake(post):
    assert post(notification()).status_code == 200


def test_an_alert_of_no_model_is_logged_once_and_a_large_group_in_few_lines(post, caplog):
    for _ in range(3):
        post(notification(alert(alertname="Errors", model="nobody")))
    post(notification(*(alert(alertname="Errors", n=str(n)) for n in range(50))))
    said = [record.getMessage() for record in caplog.records if "of no model here" in record.getMessage()]
    assert said[0] == "alerts: of no model here: Errors (model=nobody)"
    assert len(said) == 1 + LOGGED_AT_ONCE + 1
    assert said[-1] == "alerts: 40 more of no model here"


def test_what_cannot_be_done_now_is_to_be_tried_again(post, plane):
    plane.ready = False
    answer = post(notification(alert(**PAGE)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["models"]["late"]["did"] == "refused"
    plane.ready = True
    assert post(notification(alert(**PAGE))).json()["models"]["late"]["did"] == "roll_back"


def test_a_model_that_is_not_under_control_keeps_no_other_from_being_rolled_back(post, plane):
    plane.alerts = {"late": (PAGE,), "other": (PAGE,)}
    plane.unread = {"late"}
    answer = post(notification(alert(**PAGE)))
    assert answer.status_code == 503
    assert {model: done["did"] for model, done in answer.json()["models"].items()} == {
        "late": "refused",
        "other": "roll_back",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"\xff"',
        json.dumps(notification(version="3")).encode(),
        json.dumps(notification(version=4)).encode(),
        json.dumps(notification(status="pending")).encode(),
        json.dumps(notification(alerts=None)).encode(),
        json.dumps(notification(alert("pending", **PAGE))).encode(),
        json.dumps(notification(alert(starts_at="yesterday", **PAGE))).encode(),
        json.dumps(notification(alert(starts_at="2026-01-02T03:04:05", **PAGE))).encode(),
        json.dumps(notification({**alert(), "labels": {"alertname": 7}})).encode(),
        json.dumps(notification({**alert(), "labels": [["alertname", "Errors"]]})).encode(),
    ],
)
def test_what_is_no_notification_changes_nothing(post, plane, body):
    assert code(post(body)) == (400, "not_alerts")
    assert +plane.alert_results == {"malformed": 1}
    assert plane.decisions["late"] == []


@pytest.mark.parametrize(
    "others",
    [
        [alert("pending", alertname="Other")],
        [alert(starts_at="yesterday", alertname="Other")],
        [{**alert(), "labels": {"alertname": 7}}, {"status": "firing"}],
        [7, None, "x"],
    ],
)
def test_what_is_no_alert_keeps_no_other_from_rolling_back(post, plane, others):
    answer = post(notification(*others, alert(**PAGE)))
    assert answer.status_code == 200
    assert answer.json()["models"]["late"]["did"] == "roll_back"
    (ignored,) = answer.json()["ignored"]
    assert ignored["alert"] == f"{len(others)} of the entries"
    assert ignored["why"].startswith("expected alerts: alerts[0]: ")


@pytest.mark.parametrize(
    "others",
    [
        [alert(alertname="Other", n=str(n)) for n in range(1500)],
        [alert(**{f"l{n}": "x" for n in range(65)})],
        [alert(alertname="Other", path="x" * 5000)],
    ],
)
def test_large_groups_and_alerts_are_read_all_the_same(post, plane, others):
    answer = post(notification(*others, alert(**PAGE)))
    assert answer.json()["models"]["late"]["did"] == "roll_back"
    ignored = answer.json()["unknown"]
    assert len(ignored) == min(len(others), MOST_TOLD + 1)
    assert (ignored[-1]["alert"] == "500 more") == (len(others) > MOST_TOLD)
    assert all(len(each["alert"]) <= LONGEST_TOLD for each in ignored)


def test_another_leader_is_an_answer_to_be_tried_again(post, plane):
    plane.away = Fenced("another leader has taken over")
    answer = post(notification(alert(**PAGE)))
    assert (answer.status_code, answer.json()["models"]["late"]["did"]) == (503, "refused")


def test_a_notification_has_a_bound(post):
    assert code(post(b" " * (1024 * 1024 + 1))) == (413, "too_large")


def test_only_a_pager_or_an_admin_may_send_alerts_and_a_pager_may_do_nothing_else(post, plane, keys, tmp_path):
    for role in ActorRole:
        plane.on_trial = True
        answer = post(notification(alert(**PAGE)), role)
        assert answer.status_code == (200 if role in (ActorRole.PAGER, ActorRole.ADMIN) else 403), role
    app = admin_app(plane, Access("0.0.0.0", ["titleshot.example"], Tokens(tmp_path / "tokens.yaml")))
    pager = bearer(keys[ActorRole.PAGER])
    for method, path in (("GET", "/status"), ("GET", "/metrics"), ("POST", "/models/late/rollback")):
        assert code(ask(app, method, path, headers=pager, peer=ELSEWHERE)) == (403, "forbidden")
    assert code(ask(app, "POST", URL, peer=ELSEWHERE)) == (401, "unauthenticated")


def test_the_latest_alert_counts():
    earlier, later = (
        alert(starts_at="2026-01-02T03:04:05Z", **PAGE),
        alert(starts_at="2026-01-02T04:04:05+00:00", **PAGE),
    )
    alerts = read_alerts(json.dumps(notification(later, earlier)).encode()).alerts
    found = matching(alerts, [PAGE])
    assert found is not None
    assert found.since == datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC).timestamp()
    assert matching(alerts, [{}]) is None  # nothing asked for is no match


labels = st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=12)


@given(labels, labels)
def test_a_matcher_is_for_an_alert_that_has_all_of_its_labels(has, asked):
    sent = Alert("firing", has, datetime(2026, 1, 1, tzinfo=UTC))
    matched = matching([sent], [asked]) is not None
    assert matched == bool(asked and asked.items() <= has.items())
    assert sent.told.isprintable()
    assert len(sent.told) <= LONGEST_TOLD


@given(st.binary(max_size=300))
def test_any_body_is_read_or_refused(body):
    try:
        read_alerts(body)
    except NotAlerts as error:
        assert str(error).startswith("expected a notification")  # noqa: PT017 - what it says is what is tested
