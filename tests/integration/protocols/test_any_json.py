"""A small server of no known protocol behind titleshot, whose predictions JSON pointers find."""

import gzip
import json
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from quiet_server import Quiet, QuietServer
from rest_world import rest_world

MORE = """\
    answer: {rows: /result/items, prediction: /late, score: /p}
    predict_path: /v3/score
    ready_path: /alive
"""


class Plain(QuietServer):
    """Answers POST in gzip; below its cut it is wrong. GET /alive tells readiness."""

    def __init__(self, cut: float) -> None:
        server = self
        self.asked: list[str] = []

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer({}, 200 if self.path == "/alive" else 404)

            def do_POST(self):
                server.asked.append(self.path)
                rows = json.loads(self.rfile.read(int(self.headers["content-length"])))
                late = [bool(row["truth"]) == (row["noise"] > cut) for row in rows]
                self._answer({"result": {"items": [{"late": each, "p": 0.5 + each / 4} for each in late]}})

            def _answer(self, said, status=200):
                body = gzip.compress(json.dumps(said).encode())
                self.send_response(status)
                self.send_header("content-encoding", "gzip")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)

    def end(self) -> None:
        super().close()

    def close(self) -> None:
        """It outlives one world: `end` ends it."""


@pytest.fixture
def servers():
    found = {1: Plain(0.3), 2: Plain(0.1)}
    yield found
    for server in found.values():
        server.end()


def test_every_mode(tmp_path, registry_template, servers):
    rows = [{"truth": 1, "noise": 0.2}, {"truth": 0, "noise": 0.9}]
    with rest_world(tmp_path, registry_template, servers, "json", "/alive", MORE) as world:
        for mode in ("none", "shadow", "canary"):
            if mode != "none":
                world.on_trial(mode)
            seen = set()
            for _ in range(24):
                found = httpx.post(f"{world.url}/v3/score", json=rows, trust_env=False).raise_for_status().json()
                seen.add(found["result"]["items"][0]["late"])
            assert seen == ({False, True} if mode == "canary" else {False})
            world.wait_answers(mode, 24)
        httpx.post(f"{world.url}/v3/explain?x", json=rows, trust_env=False).raise_for_status()
        httpx.post(f"{world.url}/v3/score?detail=1", json=rows, trust_env=False).raise_for_status()
        world.wait_answers("canary", 25)
        assert servers[2].asked.count("/v3/explain?x") == 0
        assert "the gate cannot ask by the protocol json" in world.gate(2, expect=1).stderr
