"""The supervisor outlives a start that fails, and says at once what can never work."""

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from router import supervisor as supervising
from router.link.server import LinkServer
from router.supervisor import AlreadyRunning, Plan, Supervisor


def plan(state: Path) -> Plan:
    return Plan(state / "titleshot.yaml", "127.0.0.1", 0, None, 1, state, 1.0)


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(supervising, "FIRST_WAIT_SECONDS", 0.001)
    tried = []

    async def story():
        supervisor = Supervisor(plan(tmp_path))

        async def no_memory(*_args, **_kwargs):
            tried.append(1)
            if len(tried) == 3:
                supervisor._stopping.set()
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(asyncio, "create_subprocess_exec", no_memory)
        async with asyncio.timeout(10):
            await supervisor._keep("control", ["control"], ())

    asyncio.run(story())
    assert len(tried) == 3


def test_a_process_that_was_being_started_when_all_is_stopped_is_not_left_behind(tmp_path, monkeypatch):
    start = asyncio.create_subprocess_exec
    started = []

    async def story():
        supervisor = Supervisor(plan(tmp_path))

        async def slow(*_args, **_kwargs):
            process = await start(sys.executable, "-c", "import time; time.sleep(60)")
            started.append(process)
            supervisor._stopping.set()  # while it was being started
            return process

        monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
        async with asyncio.timeout(10):
            await supervisor._keep("proxy 0", ["proxy"], ())

    asyncio.run(story())
    assert started[0].returncode is not None


def test_who_comes_second_does_not_rub_out_who_came_first(tmp_path):
    first, second = Supervisor(plan(tmp_path)), Supervisor(plan(tmp_path))
    with first._lock():
        with pytest.raises(AlreadyRunning), second._lock():
            pass
        assert (tmp_path / "supervisor.lock").read_text() == f"{os.getpid()}\n"


def test_a_state_directory_too_deep_for_a_socket_is_refused_before_anything_starts(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with pytest.raises(OSError, match="too long for a Unix socket"):
        asyncio.run(Supervisor(plan(deep)).run())


def test_nobody_else_can_connect_to_the_link_at_any_moment(tmp_path, monkeypatch):
    modes = []
    serve = asyncio.start_unix_server

    async def watched(*args, **kwargs):
        server = await serve(*args, **kwargs)
        modes.append(stat.S_IMODE((tmp_path / "link.sock").stat().st_mode))
        return server

    async def story():
        monkeypatch.setattr(asyncio, "start_unix_server", watched)
        link = LinkServer(tmp_path / "link.sock", "generation", lambda _worker, _message: None)
        before = os.umask(0o022)
        try:
            await link.start()
            await link.close()
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(before)

    asyncio.run(story())
    assert modes == [0o600]
