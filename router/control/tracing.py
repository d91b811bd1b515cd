"""Spans from the proxies, on their way to the collector: bounded, in batches, by a thread of their own.

Nothing waits for them. What cannot be kept is dropped, what the collector does not take is given up, both are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from router.control.daemon import in_daemon
from router.control.metric_table import SPAN_OUTCOMES
from router.control.metrics import Metrics
from router.link.messages import Span, Spans
from router.settings.tracing import TracingSettings

if TYPE_CHECKING:
    from router.control.otlp import Otlp

log = logging.getLogger(__name__)

MOST_WAITING: Final = 4096
BATCH: Final = 512
PAUSE_SECONDS: Final = 0.2
"""Between two batches: 2,500 spans a second cost this process an eighth of a core, and the judge has the rest."""

COMPLAINT_SECONDS: Final = 60.0
CLOSING_SECONDS: Final = 2.0

EXPORTED, FAILED, DROPPED = SPAN_OUTCOMES


class Tracing:
    """Keeps spans and has them exported.

    Args:
        settings: `tracing` as it is now; None: it is off.
        metrics: told of what becomes of spans.
    """

    def __init__(self, settings: Callable[[], TracingSettings | None], metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[Span] = deque()
        self._exporter = _Exporter()
        self._open: asyncio.Future[str] | None = None
        self._complained = -COMPLAINT_SECONDS
        self._failed = 0

    def take(self, message: Spans) -> None:
        """Keep what a proxy sent; what finds no room is dropped."""
        dropped = message.dropped
        for span in message.spans:
            if len(self._waiting) >= MOST_WAITING:
                dropped += 1
                continue
            self._waiting.append(span)
            self._metrics.traced(span)
        self._metrics.spanned(DROPPED, dropped)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            if self._waiting:
                await self._export()

    async def close(self) -> None:
        """Export what waits, for a bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                if self._open is not None:
                    await asyncio.shield(self._open)
                while self._waiting:
                    await self._export()

    async def _export(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        settings = self._settings()
        if settings is None:  # switched off since
            self._metrics.spanned(DROPPED, len(batch))
            return
        self._open = in_daemon(lambda: self._exporter.export(settings, batch), "spans")  # a collector can hang
        problem = await asyncio.shield(self._open)
        self._open = None
        self._metrics.spanned(FAILED if problem else EXPORTED, len(batch))
        if problem:
            self._complain(problem, len(batch), time.monotonic())

    def _complain(self, problem: str, spans: int, now: float) -> None:
        self._failed += spans
        if now - self._complained >= COMPLAINT_SECONDS:
            log.warning("tracing: the collector did not take %d spans: %s", self._failed, problem)
            self._complained, self._failed = now, 0


class _Exporter:
    """The exporter for the settings that it was made for; made, and OpenTelemetry imported, when there are spans."""

    def __init__(self) -> None:
        self._made_for: TracingSettings | None = None
        self._otlp: Otlp | None = None

    def export(self, settings: TracingSettings, batch: Sequence[Span]) -> str:
        """Send them; what went wrong, or empty. Never raises."""
        try:
            return self._of(settings).export(batch)
        except Exception as error:
            log.debug("tracing: no export", exc_info=True)
            return f"the exporter failed: {type(error).__name__}"

    def _of(self, settings: TracingSettings) -> Otlp:
        if self._otlp is None or settings != self._made_for:
            from router.control.otlp import Otlp  # noqa: PLC0415 - an extra, and only where it is asked for

            if self._otlp is not None:
                self._otlp.close()
            self._otlp = None
            self._otlp = Otlp(settings)
            self._made_for = settings
        return self._otlp
