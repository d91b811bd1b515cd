"""The demo's client, its traffic and its processes, against real sockets and real processes."""

import asyncio
import json
import os
import signal

import numpy as np
import pytest

from router.demo.children import ChildFailed, Children
from router.demo.connection import Client
from router.demo.traffic import Replay
from router.demo.workspace import Workspace

BOUND_SECONDS = 30.0


class Server:
    """A small HTTP/1.1 server: answers each request with what `answer` makes of its path and body."""

    def __init__(self, answer):
        self._answer = answer
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode().split("\r\n")
                length = next((int(each[15:]) for each in fields if each.startswith("content-length:")), 0)
                reply = self._answer(line.split()[1], await reader.readexactly(length))
                if reply is None:
                    break
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reply(body, status=200, fields=""):
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{fields}\r\n".encode() + body


def within(coroutine):
    async def bounded():
        async with asyncio.timeout(BOUND_SECONDS):
            return await coroutine

    return asyncio.run(bounded())


async def until(condition):
    while not condition():  # noqa: ASYNC110 - another process, or another side of a socket, makes it true
        await asyncio.sleep(0.05)


def test_answers_come_with_their_id_over_one_kept_connection():
    async def scene():
        async with Server(lambda path, body: reply(body[::-1], fields=f"X-Titleshot-Id: id{path}\r\n")) as server:
            client = Client("127.0.0.1", server.port)
            first, second = await client.post("/a", b"123"), await client.post("/b", b"")
            client.close()
            return first, second, server.connections

    first, second, connections = within(scene())
    assert (first.status, first.request_id, first.body) == (200, "id/a", b"321")
    assert (second.request_id, second.body, connections) == ("id/b", b"", 1)


def test_a_chunked_answer_is_read_whole_and_a_closed_connection_is_not_used_again():
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    chunked = head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

    async def scene():
        async with Server(lambda path, body: chunked) as server:
            client = Client("127.0.0.1", server.port)
            bodies = [(await client.get("/")).body for _ in range(3)]
            client.close()
            return bodies, server.connections

    assert within(scene()) == ([b"abc"] * 3, 3)


@pytest.mark.parametrize("broken", [None, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", b"no http at all\r\n\r\n"])
def test_an_answer_that_is_none_has_status_0_and_says_why(broken):
    def answer(path, body):
        return broken if path == "/broken" else reply(b"fine")

    async def scene():
        async with Server(answer) as server:
            client = Client("127.0.0.1", server.port, most=1)
            exchange = asyncio.create_task(client.post("/broken", b"x"))
            done, _ = await asyncio.wait([exchange], timeout=1.0)
            if not done:  # half an answer, and nothing more: the deadline's business
                exchange.cancel()
                await asyncio.wait([exchange])
                return None, await client.get("/")
            return exchange.result(), await client.get("/")

    bad, good = within(scene())
    assert bad is None or (bad.status == 0 and bad.body)
    assert good.body == b"fine"


def test_nobody_there_is_an_answer_too():
    async def scene():
        async with Server(lambda path, body: None) as server:
            port = server.port
        return await Client("127.0.0.1", port).get("/")

    assert within(scene()).status == 0


def test_every_flight_asks_and_its_label_follows_by_the_id_of_its_answer():
    known, labels, refused = {}, {}, []

    def answer(path, body):
        if path == "/labels":
            if not refused:
                refused.append(body)
                return reply(b"{}", 503)
            for line in body.splitlines():
                item = json.loads(line)
                labels[item["request_id"]] = item["label"]
            return reply(json.dumps({"accepted": body.count(b"\n"), "rejected": []}).encode())
        number = int(body)
        if number == 3:
            return reply(b"model away", 503, "x-titleshot-id: failed\r\n")
        known[f"id-{len(known)}"] = number % 2
        return reply(b"{}", fields=f"x-titleshot-id: id-{len(known) - 1}\r\n")

    async def scene():
        async with Server(answer) as server:
            data, admin = Client("127.0.0.1", server.port), Client("127.0.0.1", server.port)
            late = np.array([number % 2 == 1 for number in range(10)])
            replay = Replay([b"%d" % number for number in range(10)], late, data, admin, "/invocations", 50.0)
            tasks = [asyncio.create_task(replay.depart()), asyncio.create_task(replay.land())]
            await until(lambda: len(labels) >= 20)  # more than there are flights: they are replayed again
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            data.close()
            admin.close()
            return replay.tally

    tally = within(scene())
    assert all(known[key] == label for key, label in labels.items())
    assert tally.label_retries == 1
    assert tally.sent == tally.answered + tally.failed
    assert tally.failed == tally.failures["503: model away"] > 0
    assert tally.labels_accepted >= 20


def test_a_process_that_ends_is_reported_with_its_last_words(tmp_path):
    async def scene():
        children = Children(Workspace(tmp_path))
        await children.start("server", ["-c", "raise SystemExit('the port is taken')"], {})
        while True:
            children.check()
            await asyncio.sleep(0.05)

    with pytest.raises(ChildFailed, match=r"(?s)server ended with code 1.*the port is taken"):
        within(scene())


def test_what_a_process_prints_is_told_line_by_line_and_its_failure_is_raised(tmp_path):
    lines = []

    async def scene(code):
        program = f"print('a'); print('b'); raise SystemExit({code})"
        await Children(Workspace(tmp_path)).run("work", ["-c", program], {}, lines.append)

    within(scene(0))
    assert lines == ["a", "b"]
    with pytest.raises(ChildFailed, match="code 3"):
        within(scene(3))


def test_stopping_leaves_no_process_however_stubborn(tmp_path):
    stubborn = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path('deaf').touch(); time.sleep(600)"
    )

    async def scene():
        children = Children(Workspace(tmp_path), end_seconds=0.3)
        await children.start("stubborn", ["-c", stubborn], {})
        await children.start("meek", ["-c", "import time; time.sleep(600)"], {})
        pids = [process.pid for process in children._running.values()]
        await until((tmp_path / "deaf").exists)
        await children.stop(first="meek")
        return pids

    for pid in within(scene()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)
