"""Finds out what policies want to know beside their evidence: for as long as the control process leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from comparator.outside import SKEWED_FEATURES
from router.control.controller import ModelController
from router.control.outgoing import Outgoing
from router.control.queries import Figure, Queries
from router.control.webhooks import Webhooks
from router.settings import Settings


async def ask_others(
    controllers: Mapping[str, ModelController], settings: Callable[[], Settings], skewed_features: Figure
) -> None:
    """Until cancelled. What ends one of the loops ends this: nothing here may end silently.

    Args:
        controllers: the models under control, live.
        settings: the good ones, now.
        skewed_features: of a version, as it is known now.
    """
    outgoing = Outgoing()
    queries = Queries(controllers, lambda: settings().prometheus, outgoing, {SKEWED_FEATURES: skewed_features})
    webhooks = Webhooks(controllers, lambda: settings().webhooks, outgoing)
    async with asyncio.TaskGroup() as loops:
        loops.create_task(queries.run(), name="checks")
        loops.create_task(webhooks.run(), name="webhooks")
