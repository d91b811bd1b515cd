"""Recording where the disk is full, or titleshot goes away in the middle of a line."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from quiet_server import Quiet, QuietServer

LINE = b'{"type":"label","at":1.0,"request_id":"a","label":1}\n'


class Going(Quiet, BaseHTTPRequestHandler):
    """Sends 10,000 lines and the half of one, and is gone."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(LINE * 10_000 + LINE[:20])


@pytest.fixture
def admin():
    server = QuietServer(Going)
    yield server.url
    server.close()


def record(admin, file, *, full=False):
    words = [str(Path(sys.executable).parent / "titleshot"), "record", "m", str(file), "--admin", admin]
    if full:  # no file grows
        words = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["day.ndjson", "day.ndjson.gz", "day.parquet"])
def test_a_full_disk_is_said(admin, tmp_path, name):
    done = record(admin, tmp_path / name, full=True)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert f"{tmp_path / name}: cannot be written on: File too large" in done.stderr


def test_half_a_line_is_not_written(admin, tmp_path):
    done = record(admin, tmp_path / "day.ndjson")
    assert done.returncode == 3
    assert "went away: what came before is in" in done.stderr
    assert (tmp_path / "day.ndjson").read_bytes() == LINE * 10_000
