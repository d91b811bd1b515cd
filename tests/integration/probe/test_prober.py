"""Readiness probes against real servers."""

import asyncio
import contextlib
import socket
import ssl

import pytest
from certificates import Authority
from stub_model import StubModel
from world import free_port

from router.control.probe import Prober
from router.link.endpoint import Tls

BOUND_SECONDS = 30
MODEL = "late"


@pytest.fixture
def servers():
    made = [StubModel(lambda row: 1.0) for _ in range(2)]
    yield made
    for each in made:
        each.close()


def probing(scenario, **options):
    """Run the scenario with a running prober; it gets the prober, and a way to wait for a model's ready versions."""

    async def main():
        changed = asyncio.Event()
        prober = Prober(**{"interval_seconds": 0.05, "deadline_seconds": 5.0, **options})
        changes = []

        def on_change(model):
            changes.append((model, prober.ready(model)))
            changed.set()

        prober.on_change = on_change

        async def until(*versions, model=MODEL):
            async with asyncio.timeout(BOUND_SECONDS):
                while prober.ready(model) != frozenset(versions):
                    changed.clear()
                    await changed.wait()

        running = asyncio.create_task(prober.run())
        try:
            await scenario(prober, until)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        return changes

    return asyncio.run(main())


def test_a_server_is_ready_when_it_answers_and_no_longer_when_it_does_not(servers):
    async def scenario(prober, until):
        assert prober.ready(MODEL) == frozenset()
        servers[1].ready = False
        prober.set_targets(MODEL, {1: servers[0].url, 2: servers[1].url + "/"})
        await until(1)
        servers[1].ready = True
        await until(1, 2)
        servers[0].ready = False
        await until(2)

    changes = probing(scenario)
    assert changes == [(MODEL, {1}), (MODEL, {1, 2}), (MODEL, {2})]


def test_models_are_probed_apart_and_forgotten_when_they_go(servers):
    async def scenario(prober, until):
        prober.set_targets(MODEL, {1: servers[0].url})
        prober.set_targets("other", {1: servers[1].url})
        await until(1)
        await until(1, model="other")
        prober.set_targets(MODEL, {})
        assert prober.ready(MODEL) == frozenset()
        assert prober.ready("other") == {1}

    probing(scenario)


def test_a_version_at_a_new_address_must_answer_there_first(servers):
    async def scenario(prober, until):
        prober.set_targets(MODEL, {1: servers[0].url, 2: servers[1].url})
        await until(1, 2)
        prober.set_targets(MODEL, {1: servers[0].url, 2: servers[1].url})
        assert prober.ready(MODEL) == {1, 2}  # the same targets again change nothing
        prober.set_targets(MODEL, {1: f"http://127.0.0.1:{free_port()}", 2: servers[1].url})
        assert prober.ready(MODEL) == {2}
        prober.set_targets(MODEL, {1: servers[1].url, 2: servers[1].url})
        await until(1, 2)

    probing(scenario)


def test_one_failure_alone_is_forgiven():
    """The server answers 200, 503, 200, 503, ...: never two failures in a row."""

    async def scenario(prober, until):
        answered = 0
        enough = asyncio.Event()

        async def answer(reader, writer):
            nonlocal answered
            await reader.readuntil(b"\r\n\r\n")
            status = b"503 Service Unavailable" if answered % 2 else b"200 OK"
            answered += 1
            if answered > 8:
                enough.set()
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            prober.set_targets(MODEL, {1: f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
            await until(1)
            async with asyncio.timeout(BOUND_SECONDS):
                await enough.wait()
            assert prober.ready(MODEL) == {1}

    assert probing(scenario) == [(MODEL, {1})]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nlocation: /ping2\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
def test_only_200_is_ready(answer):
    async def scenario(prober, until):
        async def reply(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        async with server:
            assert not await prober.check(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    probing(scenario)


def test_a_server_that_hangs_is_not_ready_and_holds_nobody_up(servers):
    async def scenario(prober, until):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}"
            prober.set_targets(MODEL, {1: url, 2: servers[0].url})
            await until(2)
            assert not await prober.check(url)

    probing(scenario, deadline_seconds=0.2)


def test_check_asks_a_server_that_is_no_target(servers):
    async def scenario(prober, until):
        assert await prober.check(servers[0].url)
        servers[0].ready = False
        assert not await prober.check(servers[0].url)
        assert not await prober.check(f"http://127.0.0.1:{free_port()}")
        with pytest.raises(ValueError, match="expected http"):
            await prober.check("http://[nonsense")

    probing(scenario)


def test_servers_with_tls_and_on_unix_sockets_are_probed_as_they_are_asked(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("models.internal")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def scenario(prober, until):
        secure = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        local = await asyncio.start_unix_server(answer, tmp_path / "model.sock")
        async with secure, local:
            url = f"https://127.0.0.1:{secure.sockets[0].getsockname()[1]}"
            trust = Tls(ca=str(authority.file), server_name="models.internal")
            prober.set_targets(MODEL, {1: url, 2: f"unix://{tmp_path}/model.sock"}, tls=trust)
            await until(1, 2)
            assert await prober.check(url, tls=Tls(ca=str(authority.file)))  # 127.0.0.1 is in it too
            assert not await prober.check(url)
            assert not await prober.check(url, tls=Tls(ca=str(authority.file), server_name="another"))

    probing(scenario)
