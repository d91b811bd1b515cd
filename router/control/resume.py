"""Brings a model's Title to where its recorded facts leave it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from comparator.checkpoint import Unusable
from comparator.events import Decision
from comparator.resuming import go_on, rejoin
from comparator.title import Title
from router.control.ledger import Ledger

log = logging.getLogger(__name__)


async def resumed(ledger: Ledger, model: str, since: float, fresh: Callable[[], Title]) -> tuple[Title, int]:
    """A title that has received what is recorded of it, from the checkpoint on where there is one.

    Args:
        ledger: where the facts are.
        model: whose.
        since: traffic that ended before this (seconds since the epoch) is left out, unless a checkpoint has it.
        fresh: makes a title that has received nothing.

    Returns:
        The title, and how many facts it received.

    Raises:
        LedgerUnavailable: the facts cannot be read.
    """
    kept = await ledger.checkpoint(model)
    if kept is not None:
        try:
            return await _received(ledger, model, since, fresh(), *kept)
        except Unusable as error:
            log.warning("%s: the checkpoint cannot be used (%s); all recorded facts are received again", model, error)
    return await _received(ledger, model, since, fresh(), 0, None)


async def _received(
    ledger: Ledger, model: str, since: float, title: Title, cursor: int, state: Mapping[str, Any] | None
) -> tuple[Title, int]:
    facts = 0
    async for seq, fact in ledger.resume(model, since):
        facts += 1
        if state is not None and seq > cursor:
            go_on(title, state)
            state = None
        if isinstance(fact, Decision):
            title.receive(fact)
            continue
        known = title.fault
        take = title.receive if state is None else partial(rejoin, title)
        title.guarded(partial(take, fact))
        if title.fault != known:
            log.error("%s: fact %d: %s; nothing goes forward", model, seq, title.fault, exc_info=title.cause)
    if state is not None:
        go_on(title, state)
    return title, facts
