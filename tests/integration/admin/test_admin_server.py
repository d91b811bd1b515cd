"""The admin port as clients meet it: a real uvicorn on a free port, within a loop that does other things too."""

import asyncio
import contextlib
import socket

import httpx
import pytest
from small_plane import SmallPlane

from comparator.events import LABEL, Labels
from router.control.admin import Access, ActorRole, CannotListen, Tokens, admin_app, new_token, serve_admin
from router.control.ledger import Ledger

WAIT_SECONDS = 20.0


@contextlib.asynccontextmanager
async def serving(app, **more):
    """The base URL of the application, served until the block ends."""
    where = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_admin(app, "127.0.0.1", 0, bound=lambda *at: where.set_result(at), **more))
    try:
        await asyncio.wait({where, task}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
        if task.done():
            task.result()
        host, port = where.result()
        yield f"http://{host}:{port}"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, WAIT_SECONDS)


def test_the_whole_api_over_a_port(tmp_path):
    plane = SmallPlane({"late": 1, "spam": "yes"})
    key = new_token("alice", [ActorRole.ADMIN])
    (tmp_path / "tokens.yaml").write_text(key.line)
    app = admin_app(plane, Access("127.0.0.1", (), Tokens(tmp_path / "tokens.yaml")))

    async def run():
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/status")).status_code == 401
            client.headers["authorization"] = f"Bearer {key.token}"
            lines = (
                '{"request_id": "a", "label": 1, "model": "late"}\n{"request_id": "b", "label": 1, "model": "spam"}\n'
            )
            answer = await client.post("/labels", content=lines, headers={"content-type": "application/x-ndjson"})
            assert answer.json()["accepted"] == 1
            assert [each["index"] for each in answer.json()["rejected"]] == [1]
            answer = await client.post("/models/late/rollback", json={"reason": "by hand"})
            assert answer.json()["actor"] == "alice"
            assert (await client.get("/models/late/history")).json()["decisions"][0]["reason"] == "by hand"
            assert (await client.get("/status", headers={"host": "evil.example"})).status_code == 421
            assert "server" not in (await client.get("/metrics")).headers

    asyncio.run(run())


def test_the_local_operator_is_told_by_the_connection():
    app = admin_app(SmallPlane(), Access("127.0.0.1"))

    async def run():
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
            assert (await client.get("/status")).status_code == 200
            assert (await client.get("/status", headers={"x-forwarded-for": "127.0.0.1"})).status_code == 401

    asyncio.run(run())


class LedgerPlane(SmallPlane):
    """Labels go to a real ledger."""

    def __init__(self, ledger):
        super().__init__()
        self.ledger = ledger

    async def add_labels(self, model, columns):
        await self.ledger.append(model, [Labels(columns)])


def test_acknowledged_labels_are_in_the_ledger(tmp_path):
    async def run():
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        ledger = await Ledger.open(url)
        app = admin_app(LedgerPlane(ledger), Access("127.0.0.1"))
        async with serving(app) as base, httpx.AsyncClient(base_url=base, timeout=WAIT_SECONDS) as client:

            async def send(number):
                answer = await client.post(
                    "/labels", json=[{"request_id": f"{number}-{row}", "label": row % 2} for row in range(5)]
                )
                return answer.json()["accepted"]

            assert await asyncio.gather(*[send(number) for number in range(20)]) == [5] * 20
            other = await Ledger.open(url)  # as another process would see it
            found = [fact.columns async for _, fact in other.since("late")]
            await other.close()
            assert sum(len(columns) for columns in found) == 100
            assert {columns.dtype for columns in found} == {LABEL}
            await ledger.close()
            answer = await client.post("/labels", json={"request_id": "late", "label": 1})
            assert answer.status_code == 503
            assert "accepted" not in answer.json()

    asyncio.run(run())


def test_a_body_that_is_too_long_is_cut_off():
    app = admin_app(SmallPlane(), Access("127.0.0.1"), labels_bytes=10_000)

    async def run():
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
            assert (await client.post("/labels", content=b"x" * 10_001)).status_code == 413
            assert (await client.post("/labels", json={"request_id": "a", "label": 1})).status_code == 200

    asyncio.run(run())


def test_an_address_in_use_is_an_error_and_no_exit():
    async def run():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}"):
                await serve_admin(admin_app(SmallPlane(), Access("127.0.0.1")), "127.0.0.1", port)

    asyncio.run(run())


class SlowPlane(SmallPlane):
    """Labels take until they are let go."""

    def __init__(self):
        super().__init__()
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def add_labels(self, model, columns):
        self.asked.set()
        await self.go.wait()
        await super().add_labels(model, columns)


def test_the_end_waits_for_open_requests_and_frees_the_port():
    async def run():
        plane = SlowPlane()
        async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
            async with serving(admin_app(plane, Access("127.0.0.1")), grace_seconds=WAIT_SECONDS) as url:
                asked = asyncio.create_task(client.post(f"{url}/labels", json={"request_id": "a", "label": 1}))
                await asyncio.wait_for(plane.asked.wait(), WAIT_SECONDS)
                asyncio.get_running_loop().call_later(0.1, plane.go.set)
            assert (await asked).json()["accepted"] == 1
        port = int(url.rsplit(":", 1)[1])
        with socket.create_server(("127.0.0.1", port)):
            pass

    asyncio.run(run())


def test_the_end_does_not_wait_for_ever():
    async def run():
        plane = SlowPlane()
        async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
            async with serving(admin_app(plane, Access("127.0.0.1")), grace_seconds=1) as url:
                asked = asyncio.create_task(client.post(f"{url}/labels", json={"request_id": "a", "label": 1}))
                await asyncio.wait_for(plane.asked.wait(), WAIT_SECONDS)
            with pytest.raises(httpx.HTTPError):
                (await asked).raise_for_status()
        assert plane.labels["late"] == []

    asyncio.run(run())
