"""How others are asked over HTTP: with a deadline, a bound on the answer, no redirects, nothing of the environment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from router.link.endpoint import Tls, Trusts
from router.link.http_client import named

LONGEST_TEXT: Final = 200
"""Characters of what others say that go into reasons."""


_PLAIN: Final = {"accept-encoding": "identity", "user-agent": "titleshot"}


class Failed(Exception):
    """No whole answer; the message says why, without the address: it can hold a secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status_code: int
    body: bytes


class Outgoing:
    """Every question opens a connection of its own: they are few, and no answer of one can come to another."""

    def __init__(self) -> None:
        self._trusts = Trusts()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        *,
        tls: Tls,
        deadline_seconds: float,
        most_bytes: int,
    ) -> Answer:
        """POST once. Raises Failed."""
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                httpx.AsyncClient(
                    transport=self._transport(url, tls), trust_env=False, timeout=deadline_seconds
                ) as client,
                client.stream("POST", url, content=body, headers=_PLAIN | headers, extensions=named(tls)) as answer,
            ):
                held = b""
                async for piece in answer.aiter_raw():  # no encoding: a small answer could become a large one
                    held += piece
                    if len(held) > most_bytes:
                        raise Failed(f"expected an answer of at most {most_bytes} bytes")
                return Answer(answer.status_code, held)
        except (TimeoutError, httpx.TimeoutException):
            raise Failed(f"no answer within {deadline_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Failed(f"{_kind(error)}") from None

    def _transport(self, url: str, tls: Tls) -> httpx.AsyncHTTPTransport:
        """How it is reached. Raises OSError: a file of its `tls` cannot be read."""
        if urlsplit(url).scheme != "https":  # which is told whatever its case
            return httpx.AsyncHTTPTransport(verify=False)
        trust = self._trusts[tls]
        trust.renew()
        return httpx.AsyncHTTPTransport(verify=trust.context)


def plain(text: str) -> str:
    """What others say, on one line, and not for ever."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 2 * LONGEST_TEXT])
    return " ".join(printable.split())[:LONGEST_TEXT]


def _kind(error: Exception) -> str:
    """What went wrong, in words of ours."""
    if isinstance(error, httpx.ConnectError):
        return "no connection: nobody answers there, or its certificate is not trusted"
    if isinstance(error, OSError):
        return f"cannot be asked: {error.strerror or type(error).__name__}"
    return f"the connection broke, or what came was no HTTP ({type(error).__name__})"
