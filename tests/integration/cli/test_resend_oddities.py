"""Resending what is odd: headers, paths, servers that are not there, and people who do not wait."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stub_model import StubModel
from world import wait_for

DEAD = "http://127.0.0.1:9"  # discard: nobody listens


@pytest.fixture
def server():
    stub = StubModel(lambda row: row["truth"])
    yield stub
    stub.close()


def recording(folder, *requests):
    file = folder / "day.ndjson"
    made = [
        {"type": "request", "request_id": f"r{at}", "at": 1e9 + at, "path": "/invocations", **each}
        for at, each in enumerate(requests)
    ]
    file.write_text("".join(json.dumps(each) + "\n" for each in made))
    return file


def started(file, *words, full=False):
    made = [str(Path(sys.executable).parent / "titleshot"), "resend", str(file), *map(str, words)]
    if full:  # no file grows
        made = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *made]
    return subprocess.Popen(made, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(running):
    out, problem = running.communicate(timeout=60)
    return running.returncode, out, problem


ROW = json.dumps({"inputs": [{"truth": 1}]})


def test_signs_beyond_ascii_are_sent_as_they_were_read(tmp_path, server):
    file = recording(tmp_path, {"body": ROW, "content_type": "application/json; profile=Größe", "request_id": "größe"})
    code, out, problem = done(started(file, "--a", server.url, "--b", server.url, "--json"))
    assert (code, problem) == (0, "")
    assert json.loads(out)["a"]["outcomes"] == {"ok": 1}
    assert server.seen[0]["content-type"].endswith("Größe")


@pytest.mark.parametrize("path", ["@127.0.0.1:1/x", "x", ""])
def test_a_path_is_no_part_of_an_address(tmp_path, server, path):
    file = recording(tmp_path, {"body": ROW, "path": path})
    code, _, problem = done(started(file, "--a", server.url, "--b", server.url))
    assert (code, server.seen) == (1, [])
    assert "path: expected a path that begins with /" in problem


def test_a_server_that_is_not_there_is_said(tmp_path, server):
    file = recording(tmp_path, {"body": ROW}, {"body": ROW})
    code, out, _ = done(started(file, "--a", server.url, "--b", DEAD, "--speed", "max"))
    assert code == 0
    assert f"no answer of b was of use: is {DEAD} the model server" in out
    assert "no answer of a" not in out


def test_ctrl_c_tells_what_there_is(tmp_path, server):
    out = tmp_path / "again.ndjson"
    file = recording(tmp_path, *[{"body": ROW}] * 3, {"body": ROW, "at": 2e9})
    running = started(file, "--a", server.url, "--b", server.url, "--speed", "100", "--out", out)
    wait_for(lambda: len(server.seen) == 6, "three are sent")
    os.kill(running.pid, signal.SIGINT)
    code, told, problem = done(running)
    assert (code, problem) == (0, "")
    assert "3 requests to both" in told
    assert "stopped: 1 requests were not sent" in told
    assert len(out.read_text().splitlines()) == 6


def test_where_answers_cannot_be_kept_none_is_asked_for(tmp_path, server):
    file = recording(tmp_path, {"body": ROW})
    code, _, problem = done(started(file, "--a", server.url, "--b", server.url, "--out", tmp_path / "no" / "x.ndjson"))
    assert (code, server.seen) == (1, [])
    assert "cannot be written" in problem


@pytest.mark.parametrize("name", ["again.ndjson", "again.parquet"])
def test_a_full_disk_takes_nothing_from_what_is_told(tmp_path, server, name):
    out = tmp_path / name
    file = recording(tmp_path, *[{"body": ROW}] * 5)
    code, told, problem = done(started(file, "--a", server.url, "--b", server.url, "--out", out, full=True))
    assert code == 1
    assert f"{out}: cannot be written on: File too large" in problem
    assert "Traceback" not in problem
    assert "5 requests to both" in told
    assert not out.exists()
