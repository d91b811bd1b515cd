"""Notifications of real processes: in order, signed, again only where they failed; nobody waits for them."""

import hashlib
import hmac
import json
import os
import re
import signal
import threading
import time

import httpx
import pytest
from answering import Answering
from click.testing import CliRunner
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, wait_for

from router.cli.main import main

SECRET = "a-secret-of-the-event-desk"
SLOW = QUICK_ROLLOUT.replace("for: 1s", "for: 10m")


class Desk(Answering):
    """A receiver of CloudEvents that refuses what is not signed, and whatever `says` has an answer for."""

    def __init__(self):
        self.says = {}  # event -> statuses to answer next
        self.forged = 0
        super().__init__(self._answer)

    def _answer(self, request):
        stamp, mark = request.headers["titleshot-timestamp"], request.headers["titleshot-signature"]
        expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mark, f"v1={expected}") or abs(time.time() - int(stamp)) > 60:
            self.forged += 1
            return 403, b""
        event = json.loads(request.body)["type"].rsplit(".", 1)[1]
        return (self.says[event].pop(0) if self.says.get(event) else 202), b""

    @property
    def events(self):
        return [json.loads(each.body) for each in self.asked]

    def kinds(self):
        """What it was told, repetitions left out, in order."""
        return [kind.rsplit(".", 1)[1] for kind in {each["id"]: each["type"] for each in self.events}.values()]

    def of(self, kind):
        return [each for each in self.events if each["type"].endswith(f".{kind}")]


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.close()
    assert made.forged == 0


@pytest.fixture
def chat():
    made = Answering(lambda _: (200, b"ok"))
    yield made
    made.close()


@pytest.fixture
def gone():
    made = Answering(lambda _: (410, b""))
    yield made
    made.close()


@pytest.fixture
def hanging():
    """Takes requests, and answers none before it is let go."""
    release = threading.Event()
    made = Answering(lambda _: (release.wait(60), (200, b""))[1])
    yield made
    release.set()
    made.close()


def settings(world, desk, rollout=QUICK_ROLLOUT, more=""):
    (world.folder / "desk.secret").write_text(SECRET + "\n")
    world.more = (
        "notify:\n"
        f"  - {{name: desk, format: cloudevents, url: '{desk.url}/T0P-SECRET', secret_file: desk.secret,"
        f" source: /titleshot/test}}\n{more}"
    )
    world.write_settings(QUICK_POLICY + rollout)


def begin(world):
    world.start()
    world.serving(1)
    world.traffic = Traffic(world)


def restart_control(world):
    before = world.children()["control"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: world.children().get("control") not in (None, before), "the control process is replaced")
    wait_for(world.status, "it answers")


def count(world, target, outcome):
    page = httpx.get(f"{world.admin}/metrics", timeout=5, trust_env=False).text
    found = re.search(rf'titleshot_notifications_total{{outcome="{outcome}",target="{target}"}} ([0-9.]+)', page)
    return float(found[1]) if found is not None else None


def test_from_the_start_to_the_promotion_and_back(world, desk, chat):
    (world.folder / "chat.url").write_text(f"{chat.url}/services/T0P/SECRET\n")
    settings(world, desk, more="  - {name: chat, format: slack, url_file: chat.url, events: [promoted, rolled_back]}\n")
    desk.says = {"started": [503, 429], "promoted": [503]}
    begin(world)
    assert count(world, "desk", "delivered") == 0
    world.set_alias("challenger", 2)
    wait_for(lambda: "promoted" in desk.kinds(), "the promotion is told", 90)
    wait_for(lambda: count(world, "desk", "delivered") == 3, "it was taken", 30)
    assert desk.kinds() == ["started", "advanced", "promoted"]
    for kind, times in (("started", 3), ("advanced", 1), ("promoted", 2)):  # 503 and 429: the same again, later
        assert desk.of(kind) == [desk.of(kind)[0]] * times
    history = {each["id"]: each for each in world.history()}
    for event, request in zip(desk.events, desk.asked, strict=True):
        assert (request.headers["content-type"], request.path) == ("application/cloudevents+json", "/T0P-SECRET")
        assert request.headers["titleshot-event-id"] == event["id"]
        assert (event["specversion"], event["source"], event["subject"]) == ("1.0", "/titleshot/test", "late-arrival")
        assert history[event["data"]["decision"]]["kind"] == event["data"]["kind"]
    promoted = desk.of("promoted")[0]["data"]
    assert (promoted["version"], promoted["champion"], promoted["kind"]) == (2, 2, "moved")
    assert (promoted["evidence_verdict"], promoted["policy_digest"]) == ("pass", world.status()["policy_digest"])
    assert promoted["reason"] == promoted["evidence_reason"] == world.history()[-2]["reason"]
    ledger = world.folder / "titleshot.db"
    explained = CliRunner().invoke(main, ["explain", promoted["decision"], "--ledger", f"sqlite:///{ledger}"])
    assert explained.exit_code == 0, explained.output

    world.set_alias("challenger", 3)
    wait_for(lambda: "rolled_back" in desk.kinds(), "the rollback is told", 90)
    rolled_back = desk.of("rolled_back")[0]["data"]
    assert (rolled_back["version"], rolled_back["champion"], rolled_back["phase"]) == (3, 2, "rolling_back")
    assert (rolled_back["actor"], rolled_back["evidence_verdict"]) == ("titleshot", "fail")
    assert rolled_back["trigger"] == "precision"
    wait_for(lambda: len(chat.asked) == 2, "the chat was told of both")
    texts = [json.loads(each.body)["text"] for each in chat.asked]
    assert texts[0].startswith("late-arrival: version 2 was promoted: ")
    assert texts[1].startswith("late-arrival: version 3 was rolled back, version 2 serves: ")
    assert [each.path for each in chat.asked] == ["/services/T0P/SECRET"] * 2
    wait_for(lambda: world.phase() == "rolled_back", "it is over")

    told = len(desk.asked)
    restart_control(world)
    world.set_alias("champion", 1)
    wait_for(lambda: desk.of("registry_moved"), "what happens after the restart is told", 30)
    assert len(desk.asked) == told + 1  # and nothing of before
    assert len(chat.asked) == 2
    (moved,) = desk.of("registry_moved")
    assert (moved["type"], moved["data"]["champion"]) == ("io.titleshot.model.registry_moved", 1)
    wait_for(lambda: count(world, "desk", "delivered") == 1, "counters began anew")
    log = (world.folder / "serve.log").read_text()
    assert "notify desk: late-arrival/" in log
    assert "the answer was 503; sent again later" in log
    for secret in (SECRET, "T0P"):
        assert secret not in log + json.dumps(world.status()) + json.dumps(world.history())
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}


def test_a_target_that_hangs_or_refuses_delays_neither_a_rollback_nor_the_others(world, desk, hanging, gone, chat):
    settings(
        world,
        desk,
        SLOW,
        f"  - {{name: stuck, format: slack, url: '{hanging.url}', timeout: 30s}}\n"
        f"  - {{name: gone, format: cloudevents, url: '{gone.url}'}}\n",
    )
    desk.says["paused"] = [400]
    begin(world)
    world.set_alias("challenger", 3)
    wait_for(lambda: hanging.asked, "the hanging target is being told of the start", 30)
    assert world.command("pause").status_code == 200
    began = time.monotonic()
    assert world.command("rollback", reason="<!channel> looks wrong & bad").status_code == 200
    assert time.monotonic() - began < 3
    assert world.status()["traffic"]["mode"] == "none"
    wait_for(lambda: world.phase() == "rolled_back", "it is over", 30)
    wait_for(lambda: desk.of("rolled_back"), "the other target is told", 30)
    assert desk.kinds() == ["started", "paused", "rolled_back"]
    assert len(desk.of("paused")) == 1  # 400: not sent again
    assert desk.of("rolled_back")[0]["data"]["reason"] == "<!channel> looks wrong & bad"
    assert len(hanging.asked) == 1
    wait_for(lambda: count(world, "gone", "refused") == 3, "who refuses is not asked again")
    assert len(gone.asked) == 3
    assert "titleshot-signature" not in gone.asked[0].headers
    assert (count(world, "desk", "refused"), count(world, "stuck", "delivered")) == (1, 0)

    settings(world, desk, SLOW, f"  - {{name: chat, format: slack, url: '{chat.url}', events: [registry_moved]}}\n")
    wait_for(lambda: count(world, "chat", "delivered") is not None, "the new settings are in force", 30)
    assert count(world, "stuck", "delivered") is None
    world.set_alias("champion", 2)
    wait_for(lambda: chat.asked, "the new target is told", 30)
    text = json.loads(chat.asked[0].body)["text"]
    assert text.startswith("late-arrival: version 2 serves: @champion was moved from version 1 to 2 in the registry")
    world.traffic.stop()
    assert set(world.traffic.outcomes) == {200}
