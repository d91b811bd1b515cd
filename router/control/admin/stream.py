"""Answers that go on for long: they end with their reader, also with one that stays and takes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

STILL_SECONDS = 60.0
"""A piece must be taken within this time."""


class Stream(StreamingResponse):
    """A streamed answer. What makes its pieces is closed when it is over, however it ends.

    Args:
        pieces: what is sent.
        headers: of the answer.
        media_type: of the answer.
        still_seconds: how long a piece may wait for its reader.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        media_type: str,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        super().__init__(pieces, headers=dict(headers), media_type=media_type)
        self._pieces = pieces
        self._still_seconds = still_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def patient(message: Message) -> None:
            async with asyncio.timeout(self._still_seconds):
                await send(message)

        try:
            await super().__call__(scope, receive, patient)
        except TimeoutError:
            log.info("%s: its reader took nothing for %g s: ended", scope["path"], self._still_seconds)
        finally:
            await self._pieces.aclose()
