"""GET /models/NAME/recording: what comes from now on, as it comes; .../recording/past: what the ledger still has.

Both are NDJSON (docs/recordings.md). The first lasts as long as it is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Iterator

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from comparator.events import Labels, Observations
from router.control.admin.actors import Actor
from router.control.admin.answers import SAFE_HEADERS, ApiError
from router.control.admin.operations import Operations, UnknownModel
from router.control.admin.stream import Stream
from router.control.ledger import LedgerUnavailable
from router.control.recordings import MOST_AT_ONCE, TooMany
from router.recordings.lines import Begun, Ended, Line
from router.recordings.writing import label_lines, observed_lines, written

log = logging.getLogger(__name__)

LONGEST_SECONDS = 31 * 86400.0
NDJSON = "application/x-ndjson"


class RecordingStreams:
    """The two handlers."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def live(self, request: Request, actor: Actor) -> Response:
        """?share=PERCENT&seconds=N."""
        model = self._model(request)
        share = int(_number(request, "share", 100, 1, 100))
        seconds = _number(request, "seconds", 600, 1, LONGEST_SECONDS)
        try:
            opened = self._operations.recording(model, share)
        except TooMany:
            text = f"expected fewer than {MOST_AT_ONCE} recordings under way; wait for one to end"
            raise ApiError(429, "too_many_recordings", text, {"retry-after": "60"}) from None

        async def lines() -> AsyncGenerator[bytes]:
            try:
                with opened as recording:  # not before somebody reads: what is never read is never closed, either
                    log.info("%s: %s records %d %% of the requests", model, actor.name, share)
                    try:
                        async for piece in recording.lines(seconds):
                            yield piece
                    finally:
                        log.info("%s: the recording of %s has ended: %s", model, actor.name, recording.counts)
            except TooMany:  # asked for at the same moment; without a line it has broken off
                log.warning("%s: too many recordings at once: that of %s has not begun", model, actor.name)

        return Stream(lines(), SAFE_HEADERS, NDJSON)

    async def past(self, request: Request, actor: Actor) -> Response:
        """?since=T&until=T, in seconds since the epoch; only=labels."""
        model = self._model(request)
        since = _number(request, "since", 0, 0, 1e11)
        until = _number(request, "until", time.time(), 0, 1e11)
        only_labels = request.query_params.get("only") == "labels"
        begun = Begun(time.time(), model)
        log.info("%s: %s reads the record since %.0f", model, actor.name, since)

        def lines() -> Iterator[bytes]:
            seen = told = 0
            yield written([begun])
            try:
                for fact in self._operations.traffic(model, since):
                    columns = fact.columns
                    columns = columns[(columns["at"] >= since) & (columns["at"] < until)]
                    found: list[Line] = []
                    if isinstance(fact, Labels):
                        found += label_lines(columns)
                        told += len(columns)
                    elif not only_labels and isinstance(fact, Observations):
                        found += observed_lines(columns)
                        seen += len(columns)
                    if found:
                        yield written(found)
            except LedgerUnavailable as error:
                log.warning("%s: the record cannot be read on: %s", model, error)
                return  # without its last line: whoever reads it knows that it broke off
            yield written([Ended(time.time(), observations=seen, labels=told)])

        async def pieces() -> AsyncGenerator[bytes]:
            async for piece in iterate_in_threadpool(lines()):
                yield piece

        return Stream(pieces(), SAFE_HEADERS, NDJSON)

    def _model(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if name not in self._operations.models():
            raise UnknownModel(name)
        return name


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    given = request.query_params.get(name)
    try:
        number = default if given is None else float(given)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise ApiError(422, "bad_recording", f"{name}: expected a number from {least:g} to {most:g}")
    return number
