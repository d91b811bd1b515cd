"""The body of a request to the admin port, within bounds."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from router.control.admin.answers import ApiError

BODY_SECONDS = 30.0
"""A body must be there within this time."""


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body.

    Raises:
        ApiError: 413 longer than `most_bytes`, 415 compressed, 408 not there in time, 400 broken off.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "unsupported_encoding", "expected a body without Content-Encoding")
    too_long = ApiError(413, "too_large", f"expected a body of at most {most_bytes} bytes", {"connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > most_bytes):
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise too_long
    except TimeoutError:
        raise ApiError(408, "too_slow", f"expected the body within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise ApiError(400, "broken_off", "the body broke off") from None
    return bytes(body)
