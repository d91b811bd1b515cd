"""A real ledger for a coroutine function of a test."""

import asyncio
from collections.abc import Awaitable, Callable

from router.control.ledger import Ledger


def with_ledger_at(url: str) -> Callable[[Callable[[Ledger, int | None], Awaitable[None]]], None]:
    """Runs `work(ledger, term)` with the ledger there and the lease on it."""

    def run(work: Callable[[Ledger, int | None], Awaitable[None]]) -> None:
        async def inner() -> None:
            ledger = await Ledger.open(url)
            try:
                await work(ledger, await ledger.acquire("me", 60.0))
            finally:
                await ledger.close()

        asyncio.run(inner())

    return run
