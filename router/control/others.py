"""Asks others what policies want to know of them: for as long as the control process leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from router.control.controller import ModelController
from router.control.outgoing import Outgoing
from router.control.queries import Queries
from router.control.webhooks import Webhooks
from router.settings import Settings


async def ask_others(controllers: Mapping[str, ModelController], settings: Callable[[], Settings]) -> None:
    """Until cancelled. What ends one of the loops ends this: nothing here may end silently.

    Args:
        controllers: the models under control, live.
        settings: the good ones, now.
    """
    outgoing = Outgoing()
    queries = Queries(controllers, lambda: settings().prometheus, outgoing)
    webhooks = Webhooks(controllers, lambda: settings().webhooks, outgoing)
    async with asyncio.TaskGroup() as loops:
        loops.create_task(queries.run(), name="checks")
        loops.create_task(webhooks.run(), name="webhooks")
