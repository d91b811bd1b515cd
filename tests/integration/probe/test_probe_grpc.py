"""Readiness of servers that have a gRPC port only."""

import asyncio
import contextlib

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from certificates import Authority
from infer_server import InferServer

from router.control.probe import Prober
from router.link.endpoint import Tls


@pytest.fixture
def server():
    made = InferServer()
    yield made
    made.close()


def checked(url, tls=None, deadline_seconds=5.0):
    return asyncio.run(Prober(deadline_seconds=deadline_seconds).check(url, tls=tls or Tls()))


def test_a_server_is_asked_whether_it_is_ready(server):
    assert checked(server.url)
    server.is_ready = False
    assert not checked(server.url)


def test_one_that_is_away_or_speaks_something_else_is_not_ready(server):
    server.close()
    assert not checked(server.url)
    assert not checked("grpc://127.0.0.1:1", deadline_seconds=0.5)


def test_a_server_with_tls_has_to_be_trusted(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("model-server")
    server = InferServer(credentials=grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    assert checked(server.url, Tls(ca=str(authority.file)))
    assert checked(server.url, Tls(ca=str(authority.file), server_name="model-server"))
    assert not checked(server.url, Tls())
    assert not checked(server.url, Tls(ca="/nowhere.pem"))
    server.close()


def test_it_is_followed_like_any_other(server):
    async def follow():
        changed = asyncio.Event()
        prober = Prober(interval_seconds=0.05, on_change=lambda _: changed.set())
        running = asyncio.create_task(prober.run())
        prober.set_targets("late", {3: server.url})
        async with asyncio.timeout(30):
            for wanted in ({3}, set()):
                while prober.ready("late") != wanted:
                    changed.clear()
                    await changed.wait()
                server.is_ready = False
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(follow())
