"""Work in a thread that holds nothing up: not the loop, and not the end of the process, where it hangs for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_daemon(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Start the work in a daemon thread of its own, which no pool waits for.

    Args:
        work: what it raises as an Exception is raised where the future is awaited.
        name: of the thread.

    Returns:
        Its outcome. Cancelling the future leaves the thread to itself.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def told(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, Exception | None] = (work(), None)
        except Exception as error:  # noqa: BLE001 - told where it is waited for
            outcome = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(told, *outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
