"""How those whom we POST to know that it is us: an HMAC over body and time, by a secret that both have."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from pathlib import Path
from typing import Final

from router.control.outgoing import Failed

SIGNATURE: Final = "titleshot-signature"
TIMESTAMP: Final = "titleshot-timestamp"
EVENT_ID: Final = "titleshot-event-id"


def signed(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of `titleshot-signature`: HMAC-SHA256 over the timestamp, a dot and the body, in hex."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def stamped(event_id: str, body: bytes, secret_file: str | None) -> dict[str, str]:
    """The headers of one POST, now; without a file it is not signed. Raises Failed."""
    timestamp = str(int(time.time()))
    headers = {TIMESTAMP: timestamp, EVENT_ID: event_id}
    if secret_file is not None:
        headers[SIGNATURE] = signed(await _read(secret_file), timestamp, body)
    return headers


async def _read(path: str) -> bytes:
    """Read at every use: secrets are renewed while we run. Raises Failed, without the content."""
    try:
        secret = (await asyncio.to_thread(Path(path).read_bytes)).strip()
    except OSError as error:
        raise Failed(f"the secret cannot be read: {error.strerror}") from None
    if not secret:
        raise Failed("the secret cannot be read: the file is empty")
    return secret
