import asyncio

import pytest

from router.control.ledger import Ledger


@pytest.fixture
def with_ledger(tmp_path):
    """Runs `work(ledger, term)` with a real ledger and the lease on it."""

    def run(work):
        async def inner():
            ledger = await Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
            try:
                await work(ledger, await ledger.acquire("me", 60.0))
            finally:
                await ledger.close()

        asyncio.run(inner())

    return run
