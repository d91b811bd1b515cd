"""Real traffic is recorded, redacted, judged again, and sent again to two servers."""

import json
import random
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from world import MODEL, QUICK_POLICY, wait_for

from router.control.admin import ActorRole, new_token
from router.link.sampling import in_sample

RECORDING = "    recording: {redact: [name], pseudonymise: [customer]}\n"
SHADOW = """
    rollout:
      - shadow: 100
        for: 1h
      - promote: {}
"""


def command(*words, timeout=60):
    made = [str(Path(sys.executable).parent / "titleshot"), *map(str, words)]
    return subprocess.run(made, capture_output=True, text=True, timeout=timeout, check=False)


def start(world, settings=RECORDING):
    world.write_settings(QUICK_POLICY + SHADOW + settings)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is in shadow")


def clients(world, count, recorder=None):
    """So many requests with their labels, while the recorder runs; the ids."""
    draw, ids = random.Random(5), []
    with httpx.Client(trust_env=False) as http:  # one: to make a client takes longer than to ask
        while len(ids) < count and (recorder is None or recorder.poll() is None):
            truth = draw.random() < 0.5
            customer = f"c-{draw.randrange(5)}"
            row = {"truth": int(truth), "noise": draw.random(), "name": "Ann Müller", "customer": customer}
            answer = http.post(f"http://127.0.0.1:{world.port}/invocations", json={"inputs": [row]})
            ids.append(answer.headers["x-titleshot-id"])
            label = {"model": MODEL, "request_id": ids[-1], "label": int(truth)}
            http.post(f"{world.admin}/labels", json=[label]).raise_for_status()
    return ids


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def of(kind, found):
    return [line for line in found if line["type"] == kind]


@pytest.fixture
def recorded(world):
    """A recording of half of the requests."""
    start(world)
    file = world.folder / "day.ndjson"
    words = ["titleshot", "record", MODEL, str(file), "--share", "50", "--for", "4s", "--admin", world.admin]
    recorder = subprocess.Popen([str(Path(sys.executable).parent / "titleshot"), *words[1:]])
    wait_for(lambda: json.loads((world.folder / ".titleshot/routes.json").read_text())["models"][0]["sample"] == 50, "")
    ids = clients(world, 250, recorder)  # all over before it ends, unless the machine is busy
    assert recorder.wait(30) == 0
    return file, ids


def test_what_is_recorded_and_what_is_not(world, recorded):
    file, ids = recorded
    found = lines(file)
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert "Ann" not in file.read_text()
    begun, ended = found[0], found[-1]
    assert (begun["type"], begun["model"], begun["share"], begun["redacted"]) == ("recording", MODEL, 50, ["name"])
    asked, seen, told = (of(kind, found) for kind in ("request", "observation", "label"))
    assert (len(asked), len(seen), len(told)) == tuple(ended[name] for name in ("requests", "observations", "labels"))
    assert ended.get("dropped", 0) == ended.get("left_out", 0) == 0
    sample = {line["request_id"] for line in asked}
    assert all(in_sample(*divmod(uuid.UUID(each).int, 1 << 64), 50) for each in sample)
    assert 10 <= len(sample) < len(ids)
    assert sample <= set(ids)
    answered = {line["request_id"] for line in seen}
    assert len(sample - answered) <= 2  # answers may come after the end, and of what was asked before the beginning
    assert len(answered - sample) <= 2
    assert len({line["request_id"] for line in told} - answered) <= 2
    rows = [json.loads(line["body"])["inputs"][0] for line in asked]
    assert {row["name"] for row in rows} == {"redacted"}
    assert 1 < len({row["customer"] for row in rows}) <= 5
    assert not any(row["customer"].startswith("c-") for row in rows)
    assert {line["path"] for line in asked} == {"/invocations"}
    wait_for(
        lambda: json.loads((world.folder / ".titleshot/routes.json").read_text())["models"][0]["sample"] == 0,
        "proxies stop copying",
    )


def test_it_is_judged_again_and_sent_again(world, recorded):
    file, _ = recorded
    policy = world.folder / "policy.yaml"
    policy.write_text("gate: off\nrollout: [{shadow: 100, for: 1s}, {promote: {}}]\n")
    judged = command("replay", file, "--policy", policy, "--json")
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout.splitlines()[0])["kind"] == "start"

    out = world.folder / "again.parquet"
    again = command(
        *("resend", file, "--a", world.stubs[1].url, "--b", world.stubs[3].url, "--speed", "max"),
        *("--policy", policy, "--out", out, "--json"),
    )
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    asked = of("request", lines(file))
    assert told["requests"] == len(asked)
    assert told["a"]["outcomes"] == told["b"]["outcomes"] == {"ok": len(asked)}
    assert told["a"]["as_recorded"]["value"] == 1.0  # version 1 says of the same row what it said
    assert told["b"]["as_recorded"]["value"] < 0.9
    assert told["agreement"]["value"] < 0.9
    assert told["disagreements"][0]["b"] == 1.0
    assert told["b"]["precision"]["value"] < told["a"]["precision"]["value"]
    assert told["decisions"][0]["kind"] == "start"

    assert command("replay", out, "--policy", policy).returncode == 0
    slow = command("resend", file, "--a", world.stubs[1].url, "--b", world.stubs[2].url, "--speed", 10, "--limit", 10)
    assert slow.returncode == 0, slow.stderr
    assert "10 requests to both" in slow.stdout
    assert "precision" in slow.stdout


def test_the_past_is_in_the_ledger(world):
    start(world, "")
    ids = clients(world, 40)
    file = world.folder / "past.parquet"
    policy = world.folder / "policy.yaml"
    policy.write_text("gate: off\nrollout: [{shadow: 100, for: 1s}, {promote: {}}]\n")

    def all_there():
        file.unlink(missing_ok=True)
        done = command("record", MODEL, file, "--since", "1h", "--admin", world.admin, "--json")
        assert done.returncode == 0, done.stderr
        counts = json.loads(done.stdout)
        return counts["observation"] >= 2 * len(ids) and counts["label"] == len(ids) and counts["request"] == 0

    wait_for(all_there, "all is in the ledger")
    assert command("replay", file, "--policy", policy).returncode == 0
    labels = world.folder / "labels.ndjson"
    assert command("record", MODEL, labels, "--since", "1h", "--only-labels", "--admin", world.admin).returncode == 0
    assert {line["type"] for line in lines(labels)} == {"recording", "label", "end"}


def test_who_may_not(world):
    made = {role: new_token(role.value, [role]) for role in (ActorRole.OPERATOR, ActorRole.RECORDER, ActorRole.ADMIN)}
    (world.folder / "tokens.yaml").write_text("".join(f"{each.line}\n" for each in made.values()))
    for role, each in made.items():
        (world.folder / role.value).write_text(each.token)
    world.more = "tokens: tokens.yaml\n"
    world.headers = {"authorization": f"Bearer {made[ActorRole.ADMIN].token}"}
    start(world, "")
    file = world.folder / "day.ndjson"

    def tried(role):
        return command("record", MODEL, file, "--admin", world.admin, "--token-file", world.folder / role)

    assert tried("operator").returncode == 4
    refused = tried("recorder")
    assert (refused.returncode, "redact" in refused.stderr) == (1, True)
    assert not file.exists()
    file.write_text("here already")
    world.write_settings(QUICK_POLICY + SHADOW + RECORDING)
    wait_for(lambda: "not there yet" in tried("recorder").stderr, "the settings are taken over")
    assert file.read_text() == "here already"
