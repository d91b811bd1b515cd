"""Recorded exchanges from the proxies -> observations -> ledger and judge, in batches."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from comparator.events import Columns, Role
from router.control.controller import ModelController
from router.control.extract import extract
from router.control.ledger import LedgerUnavailable
from router.control.metrics import Metrics
from router.control.recordings import Recordings
from router.control.skew.watch import SkewWatch
from router.link.messages import Exchanges
from router.settings import ModelSettings
from router.settings.lanes import alias_of

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


@dataclass(frozen=True, slots=True)
class Batch:
    """Observations of one message, and when they came (monotonic clock)."""

    columns: Columns
    came: float = field(default_factory=time.monotonic)


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
        self._waiting: dict[str, deque[Batch]] = defaultdict(deque)
        self._recording: dict[str, deque[Batch]] = {}

    def take(self, exchanges: Exchanges, settings: ModelSettings) -> None:
        """Extract predictions and keep the observations for the next flush."""
        extracted = extract(exchanges, settings.reader, settings.coding, settings.grpc_reader)
        self._metrics.clamped(exchanges.model, clamp(extracted.columns, time.time()))
        counted = extracted.columns
        if alias_of(exchanges.model) is None:
            self._recordings.observed(exchanges.model, counted)
            if self._skew is not None:
                self._skew.observed(exchanges.model, counted)
        else:
            counted = counted[counted["role"] == Role.CHALLENGER]  # the champion's answers are counted as the model's
        self._metrics.observe(exchanges.model, counted)
        self._metrics.unpredicted(exchanges.model, unreadable=extracted.unreadable, unread=extracted.unread)
        if extracted.tokens is not None:
            self._metrics.tokens(exchanges.model, extracted.tokens)
        self._waiting[exchanges.model].append(Batch(extracted.columns))
        self._bound(exchanges.model)

    async def flush(self) -> None:
        """Record and judge all that waits. What the ledger refuses waits on."""
        for model, controller in list(self._controllers.items()):
            batches = self._waiting.pop(model, None)
            if not batches:
                continue
            self._recording[model] = batches
            try:
                await controller.observations(np.concatenate([batch.columns for batch in batches]))
            except LedgerUnavailable as error:
                if self._controllers.get(model) is not controller:
                    continue  # gone from the settings meanwhile
                batches.extend(self._waiting.pop(model, ()))  # what came meanwhile stays behind what came before
                self._waiting[model] = batches
                self._bound(model)
                log.warning("%s: %d batches of observations wait for the ledger: %s", model, len(batches), error)
            finally:
                del self._recording[model]

    def unrecorded(self, model: str) -> tuple[int, float]:
        """How many observations (rows) are not in the ledger yet, and for how many seconds the oldest has waited."""
        batches = [*self._recording.get(model, ()), *self._waiting.get(model, ())]
        rows = sum(len(batch.columns) for batch in batches)
        return rows, time.monotonic() - batches[0].came if batches else 0.0

    def forget(self, model: str) -> None:
        """The model is gone from the settings."""
        self._waiting.pop(model, None)

    def _bound(self, model: str) -> None:
        waiting = self._waiting[model]
        rows = sum(len(batch.columns) for batch in waiting)
        while rows > MOST_ROWS_WAITING:
            dropped = len(waiting.popleft().columns)
            rows -= dropped
            if (controller := self._controllers.get(model)) is not None:
                controller.lost_rows += dropped
