"""Recorded exchanges from the proxies -> observations -> ledger and judge, in batches."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Mapping

import numpy as np

from comparator.events import Columns
from router.control.controller import ModelController
from router.control.extract import extract
from router.control.ledger import LedgerUnavailable
from router.control.metrics import Metrics
from router.control.recordings import Recordings
from router.control.skew.watch import SkewWatch
from router.link.messages import Exchanges
from router.settings import ModelSettings

log = logging.getLogger(__name__)

MOST_ROWS_WAITING = 500_000
"""Per model, while the ledger is away: about 45 MB; the oldest beyond are dropped and counted."""


def clamp(columns: Columns, now: float) -> int:
    """Let no row be from after `now`, in place; how many were.

    The judge's time is that of its latest fact: one from a worker whose clock was ahead for a moment would hold time
    buckets and expiry until the others have caught up. Done before the ledger has them, so that a restart does not
    bring them back. A worker has the clock of this host: there is no difference of clocks to allow for.
    """
    ahead = ~(columns["at"] <= now)  # a time that is no number, too
    columns["at"][ahead] = now
    return int(np.count_nonzero(ahead))


class Ingest:
    """Takes what proxies recorded; `flush` hands it on, one transaction per model."""

    def __init__(
        self,
        controllers: Mapping[str, ModelController],
        metrics: Metrics,
        recordings: Recordings,
        skew: SkewWatch | None = None,
    ) -> None:
        self._controllers = controllers
        self._metrics = metrics
        self._recordings = recordings
        self._skew = skew
        self._waiting: dict[str, deque[Columns]] = defaultdict(deque)

    def take(self, exchanges: Exchanges, settings: ModelSettings) -> None:
        """Extract predictions and keep the observations for the next flush."""
        extracted = extract(exchanges, settings.reader, settings.positive_prediction)
        self._metrics.clamped(exchanges.model, clamp(extracted.columns, time.time()))
        self._metrics.observe(exchanges.model, extracted.columns)
        self._metrics.unpredicted(exchanges.model, unreadable=extracted.unreadable, unread=extracted.unread)
        self._recordings.observed(exchanges.model, extracted.columns)
        if self._skew is not None:
            self._skew.observed(exchanges.model, extracted.columns)
        self._waiting[exchanges.model].append(extracted.columns)
        self._bound(exchanges.model)

    async def flush(self) -> None:
        """Record and judge all that waits. What the ledger refuses waits on."""
        for model, controller in list(self._controllers.items()):
            batches = self._waiting.pop(model, None)
            if not batches:
                continue
            try:
                await controller.observations(np.concatenate(list(batches)))
            except LedgerUnavailable as error:
                if self._controllers.get(model) is not controller:
                    continue  # gone from the settings meanwhile
                batches.extend(self._waiting.pop(model, ()))  # what came meanwhile stays behind what came before
                self._waiting[model] = batches
                self._bound(model)
                log.warning("%s: %d batches of observations wait for the ledger: %s", model, len(batches), error)

    def forget(self, model: str) -> None:
        """The model is gone from the settings."""
        self._waiting.pop(model, None)

    def _bound(self, model: str) -> None:
        waiting = self._waiting[model]
        rows = sum(len(columns) for columns in waiting)
        while rows > MOST_ROWS_WAITING:
            dropped = len(waiting.popleft())
            rows -= dropped
            if (controller := self._controllers.get(model)) is not None:
                controller.lost_rows += dropped
