"""`top` on a terminal and `doctor`, beside a real titleshot and without one."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from world import MODEL, Traffic, wait_for

COMMAND = [sys.executable, "-c", "from router.cli.main import main; main(prog_name='titleshot')"]


class Terminal:
    """A command on a terminal of its own, and all that it has written there."""

    def __init__(self, *arguments):
        self._mine, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "50"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.text = ""

    def shows(self, pattern, within_seconds=60.0):
        """Wait until it has written this since it was last asked."""
        deadline = time.monotonic() + within_seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text[-3000:]
            if select.select([self._mine], [], [], 0.2)[0]:
                self.text += os.read(self._mine, 65536).decode(errors="replace")
        self.text = self.text[found.end() :]

    def ended(self, within_seconds=20.0):
        """Its exit code; what it still writes is read, or it could not end."""
        deadline = time.monotonic() + within_seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._mine], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # the other side is closed
                    os.read(self._mine, 65536)
        return self.process.poll()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self._mine)


@pytest.fixture
def terminal():
    opened = []

    def run(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield run
    for each in opened:
        each.close()


def titleshot(*arguments, folder=None):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=90, check=False, cwd=folder
    )
    return done.returncode, done.stdout, done.stderr


def levels(world):
    code, out, _ = titleshot("doctor", "--settings", world.settings_path, "--json")
    told = json.loads(out)
    assert code == (0 if told["well"] else 1)
    return {each["what"]: (each["level"], each["text"]) for each in told["findings"]}


def test_top_follows_a_rollout_and_says_when_nobody_answers(world, terminal):
    world.start()
    world.serving(1)
    top = terminal("top", MODEL, "--interval", "200ms", "--admin", world.admin)
    top.shows("champion: +v1")
    world.traffic = Traffic(world)
    world.set_alias("challenger", 2)
    top.shows("v2: shadow, step 1 of 3")
    top.shows("evidence:")
    top.shows("promote")
    world.traffic.stop()
    world.stop()
    top.shows("OLD: cannot reach titleshot")
    top.process.send_signal(signal.SIGINT)
    assert top.ended() == 130
    code, out, said = titleshot("top", "--admin", world.admin)
    assert (code, out) == (3, "")
    assert "cannot reach titleshot" in said


def test_off_a_terminal_it_looks_once(world):
    world.start()
    world.serving(1)
    code, out, _ = titleshot("top", "--admin", world.admin)
    assert code == 0
    assert MODEL in out
    assert "\x1b" not in out
    code, _, said = titleshot("top", "late-arival", "--once", "--admin", world.admin)
    assert (code, f"did you mean {MODEL!r}" in said) == (1, True)


def test_doctor_says_what_is_well_and_what_to_mend(world):
    found = levels(world)  # nobody serves yet
    assert found["data port"] == ("ok", f"127.0.0.1:{world.port} is free")
    assert found["ledger"] == ("ok", "is not there yet; the first start makes it")
    assert found[f"{MODEL}: @champion"] == ("ok", "version 1 answers its readiness probe")
    assert "@champion is version 1" in found[f"{MODEL}: registry"][1]

    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "a rollout")
    world.stubs[2].close()
    found = levels(world)
    assert found["admin port"][0] == found["data port"][0] == "ok"
    assert found["data port"][1] == f"127.0.0.1:{world.port} is held by a titleshot"
    text = world.settings_path.read_text()
    taken = f"127.0.0.1:{world.stubs[1].url.rsplit(':', 1)[1]}"
    world.settings_path.write_text(re.sub(r"listen: \S+", f"listen: {taken}", text))
    found = levels(world)  # that titleshot runs does not make another program's port one of its own
    assert found["admin port"][0] == "ok"
    assert found["data port"][0] == "fail"
    assert "by another program" in found["data port"][1]
    world.settings_path.write_text(text)
    found = levels(world)
    assert found["ledger"] == ("ok", f"has decisions about {MODEL}")
    assert found[f"{MODEL}: @challenger"][0] == "warn"

    world.stop()
    world.client.delete_registered_model_alias(MODEL, "champion")
    world.more = f"webhooks: {{desk: {{url: 'http://127.0.0.1:{world.port}/x'}}}}\n"
    world.more += f"tracing: {{endpoint: 'http://127.0.0.1:{world.port}'}}\n"
    text = world.settings_path.read_text()
    world.settings_path.write_text(text.replace("models:\n", world.more + "models:\n", 1))
    found = levels(world)
    assert found["webhook desk"][0] == "warn"
    assert found["tracing"][0] == "warn"
    assert "spans are lost" in found["tracing"][1]
    assert found[f"{MODEL}: registry"] == ("fail", "no version is @champion: set the alias, or nobody serves")
    code, out, _ = titleshot("doctor", "--settings", world.settings_path)
    assert code == 1
    assert re.search(rf"FAIL +{MODEL}: registry +no version is @champion", out)


def test_doctor_says_that_a_port_is_taken_and_a_registry_is_away(world):
    (world.folder / "tokens.yaml").write_text("- {name: ann}\n")
    text = world.settings_path.read_text().replace("models:\n", "tokens: tokens.yaml\nmodels:\n", 1)
    taken = f"127.0.0.1:{world.stubs[1].url.rsplit(':', 1)[1]}"
    text = re.sub(r"listen: \S+", f"listen: {taken}", text)
    world.settings_path.write_text(re.sub(r"registry: \S+", "registry: http://127.0.0.1:9", text))
    found = levels(world)
    assert found["data port"][0] == "fail"
    assert "in use" in found["data port"][1]
    assert found[f"{MODEL}: registry"][0] == "fail"
    assert found["tokens"][0] == "fail"
    assert "tokens.yaml:1" in found["tokens"][1]
    world.settings_path.write_text(text.replace("poll: 200ms", "poll: 1"))
    code, _, said = titleshot("doctor", "--settings", world.settings_path)
    assert code == 1
    assert "titleshot.yaml:" in said
    code, out, _ = titleshot("doctor", "--settings", world.settings_path, "--json")
    assert (code, json.loads(out)["findings"][0]["what"]) == (1, "settings")


def completed(line, admin):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "TITLESHOT_ADMIN": admin}
    environment = {**os.environ, "_TITLESHOT_COMPLETE": "bash_complete", **words}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.stderr == ""
    return [each.split(",")[1] for each in done.stdout.split()]


def test_commands_and_models_complete(world):
    nobody = "http://127.0.0.1:9"
    assert completed("titleshot rol", nobody) == ["rollback"]
    for nothing in (nobody, "http://xn--:1", "http://a\x01b:1", "http://[::1"):
        assert completed("titleshot rollback la", nothing) == []
    world.start()
    world.serving(1)
    for command in ("rollback", "status", "top", "history", "sign-off"):
        assert completed(f"titleshot {command} la", world.admin) == [MODEL]
