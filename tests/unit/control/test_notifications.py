"""What is POSTed: CloudEvents by the specification's rules, and a text that cannot be more than a text."""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from desk import SHADOW, WATCH, Desk, policy
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import CommandKind, Decision, DecisionKind
from comparator.news import NOISE, Event
from comparator.policy import SignOff, Step, StepKind
from comparator.restraint import Restraint
from router.control.notifications import Notification, body, chat_text, cloud_event, escaped, notifications

TEXT = st.text(max_size=300)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Told(Desk):
    """A desk that keeps what there is to tell of every decision; the record's numbers are counted from 1."""

    def __init__(self, rules=None):
        super().__init__(rules)
        self.told: list[Notification] = []
        self.count = 0

    def _record(self, decisions):
        made = super()._record(decisions)
        for each in made:
            self.count += 1
            self.told += notifications("m", self.title, each, self.count)
        return made

    def of(self, event):
        return next(each for each in self.told if each.event is event)


@pytest.fixture(scope="module")
def story():
    """Two people sign version 2 into the title, version 3 is rolled back and freezes, somebody moves the alias."""
    sign = Step(StepKind.PROMOTE, sign_off=SignOff(people=2))
    desk = Told(policy(SHADOW, sign, WATCH, restraint=Restraint(max_rollbacks_per_day=1)))
    desk.read()
    desk.read(challenger=2)
    desk.answers()
    desk.tick()
    desk.command(CommandKind.SIGN_OFF, actor="ann", reason="fewer false alarms")
    desk.command(CommandKind.SIGN_OFF, actor="ben", reason="I <b>agree</b> & sign")
    desk.confirm()
    desk.answers()
    desk.tick()
    desk.confirm()
    desk.read(challenger=3)
    desk.answers(failing=3)
    desk.tick()
    desk.confirm()
    desk.read(champion=3)
    desk.command(CommandKind.ROLL_BACK, to=2, reason="wrong one")
    desk.confirm()
    return desk


def test_a_story_in_events(story):
    assert [each.event.value for each in story.told] == [
        "started", "waiting_for_sign_off", "signed", "promoting", "promoted", "finished", "started", "rolled_back",
        "frozen", "registry_moved", "rolled_back",
    ]  # fmt: skip


def test_the_attributes_are_those_of_cloudevents(story):
    ids = set()
    for told in story.told:
        content, content_type = body(told, "cloudevents", "/titleshot/test")
        assert content_type == "application/cloudevents+json"
        event = json.loads(content)
        attributes = {name: value for name, value in event.items() if name != "data"}
        assert set(attributes) == {"specversion", "id", "source", "type", "subject", "time", "datacontenttype"}
        for name, value in attributes.items():
            assert re.fullmatch("[a-z0-9]{1,20}", name)
            assert isinstance(value, str)
            assert value
            assert value.isprintable()
        assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
        assert urlsplit(event["source"]).path == "/titleshot/test"
        assert re.fullmatch(r"io\.titleshot\.(rollout|model)\.[a-z_]+", event["type"])
        assert event["subject"] == "m"
        assert RFC_3339.fullmatch(event["time"])
        assert datetime.fromisoformat(event["time"]).timestamp() == told.decision.at
        ids.add(event["id"])
    assert len(ids) == len(story.told)  # a rollback that freezes is two


def test_the_same_is_told_in_the_same_bytes(story):
    for told in story.told:
        assert body(told, "cloudevents", "/a") == body(replace(told), "cloudevents", "/a")
        assert cloud_event(told, "/a")["id"] == cloud_event(told, "/b")["id"]


def test_a_promotion_says_who_called_for_it_and_why(story):
    data = cloud_event(story.of(Event.PROMOTED), "/a")["data"]
    assert (data["kind"], data["version"], data["champion"], data["phase"]) == ("moved", 2, 2, "watch")
    assert (data["actor"], data["signed_by"]) == ("ben", ["ann", "ben"])
    assert data["reason"] == "I <b>agree</b> & sign"
    called_for = story.of(Event.PROMOTING).decision
    assert (data["evidence_verdict"], data["evidence_reason"]) == ("pass", called_for.evidence["reason"])
    assert data["decision"] == "m/5"
    assert data["policy_digest"] == story.policy.digest
    assert data["rollout_id"] == str(story.of(Event.STARTED).decision.rollout_id)
    content, _ = body(story.of(Event.PROMOTED), "slack", "/a")
    assert json.loads(content) == {
        "text": "m: version 2 was promoted by ann and ben: I &lt;b&gt;agree&lt;/b&gt; &amp; sign [m/5]"
    }


def test_steps_count_from_one_and_a_title_moved_by_hand_has_none(story):
    assert [cloud_event(each, "/a")["data"]["step"] for each in story.told] == [1, 1, 1, 1, 3, 3, 1, 1, 1, 0, 0]
    started = next(each for each in story.told if each.event is Event.STARTED)
    assert chat_text(started).startswith("m: version 2 is on trial, shadow: ")


def test_texts_say_who_serves(story):
    texts = [chat_text(each) for each in story.told]
    rolled_back = story.of(Event.ROLLED_BACK)
    assert texts[7] == f"m: version 3 was rolled back, version 2 serves: {rolled_back.decision.reason} [m/8]"
    assert texts[8].startswith("m: no rollout starts: frozen: 1 rollbacks within 24 hours, the last of version 3; ")
    assert texts[9].startswith("m: version 3 serves: @champion was moved from version 2 to 3 in the registry")
    assert texts[10] == "m: the title was given back to version 2 by ann: wrong one [m/11]"


def test_what_waits_for_the_ledger_has_no_number_yet(story):
    spooled = notifications("m", story.title, story.of(Event.STARTED).decision, 0)[0]
    assert cloud_event(spooled, "/a")["data"]["decision"] is None
    assert "[" not in chat_text(spooled)
    assert spooled.id == story.of(Event.STARTED).id


@pytest.mark.parametrize("event", list(Event))
def test_there_are_words_for_every_event(event):
    decision = Decision(DecisionKind.START, 1000.5, 7, 2, "because", "ann", phase="canary")
    text = chat_text(Notification(event, "m", decision, decision, "m/1", None, 1, "because"))
    assert text.startswith("m: ")
    assert text.endswith(": because [m/1]")
    assert "{" not in text


@given(st.integers(1_600_000_000_000_000, 2_600_000_000_000_000), st.integers(1, 10**6), st.sampled_from(list(Event)))
def test_two_events_have_two_ids(at, later, event):
    """To the microsecond, which a float of seconds has until the year 2255."""
    first, second = (Decision(DecisionKind.PAUSE, each / 1e6, 7, 2, "why") for each in (at, at + later))
    one = Notification(event, "m", first, first, "", 1, 1, "why")
    others = [
        replace(one, decision=second),
        replace(one, decision=replace(first, rollout_id=8)),
        replace(one, model="n"),
    ]
    assert one.id == replace(one, champion=2, entry="m/9").id
    assert one.id not in {other.id for other in others}


@given(TEXT)
def test_escaping_leaves_text_and_nothing_else(text):
    safe = escaped(text)
    assert not {"<", ">"} & set(safe)
    assert re.sub("&(amp|lt|gt);", "", safe).count("&") == 0
    assert safe.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@given(TEXT, TEXT, st.floats(1, 4e9))
def test_what_people_write_is_one_line_of_text_in_a_chat_and_whole_in_an_event(reason, actor, at):
    decision = Decision(DecisionKind.PAUSE, at, 7, 2, reason, actor, phase="canary", evidence={"verdict": 7})
    told = Notification(Event.PAUSED, "m", decision, decision, "m/3", 1, 1, reason)
    content, _ = body(told, "slack", "/a")
    sent = json.loads(content)
    assert set(sent) == {"text"}
    assert not {"<", ">", "\n", "\r"} & set(sent["text"])
    assert sent["text"].endswith(" [m/3]")
    assert len(chat_text(told)) <= 1010
    event = json.loads(body(told, "cloudevents", "/a")[0])
    assert (event["data"]["reason"], event["data"]["actor"]) == (reason, actor)
    assert event["data"]["evidence_verdict"] == ""
    assert abs(datetime.fromisoformat(event["time"]).timestamp() - at) < 1e-5


def test_the_documentation_has_every_event_and_every_field(story):
    page = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \| .+ \| (yes|no) \|$", page, re.MULTILINE)
    documented = {name: usual for names, usual in rows for name in re.findall("`([a-z_]+)`", names)}
    assert documented == {event.value: "no" if event in NOISE else "yes" for event in Event}
    example = json.loads(re.search(r"```json\n(.+?)```", page, re.DOTALL)[1])
    made = cloud_event(story.of(Event.ROLLED_BACK), "/titleshot/production")
    assert list(example) == list(made)
    assert list(example["data"]) == list(made["data"])
    assert re.fullmatch(r"late-arrival/\d{16}/rolled_back/\d{16}", example["id"])
