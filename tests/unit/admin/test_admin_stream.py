"""Answers that go on for long, and readers that do not."""

import asyncio

import pytest

from router.control.admin.stream import Stream

SCOPE = {"type": "http", "path": "/x", "asgi": {"spec_version": "2.3"}}


async def answered(send, receive, still_seconds=0.05):
    """How often a piece was made until the answer was over, and whether it was closed then."""
    made, closed = [], []

    async def pieces():
        try:
            while True:
                made.append(b"x")
                yield b"x"
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async with asyncio.timeout(10):
        await Stream(pieces(), {}, "text/plain", still_seconds)(SCOPE, receive, send)
    return len(made), closed


async def for_ever(*_):
    await asyncio.Event().wait()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_reader_that_takes_nothing_for_long_ends_it(taken):
    async def run():
        left = taken + 1  # its head, too

        async def send(_message):
            nonlocal left
            left -= 1
            if left < 0:
                await for_ever()

        return await answered(send, for_ever)

    assert asyncio.run(run()) == (taken + 1, [True])


def test_a_reader_that_is_gone_ends_it_at_once():
    async def run():
        gone = asyncio.Event()

        async def send(_message):
            gone.set()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        return await answered(send, receive)

    assert asyncio.run(run())[1] == [True]
