"""What asks a model server over HTTP, outside live traffic. Imports httpx: only what asks one imports this."""

from __future__ import annotations

from typing import Final

import httpx

from router.link.endpoint import Place, Tls, client_context

KEPT_SECONDS: Final = 4.0
"""An idle connection is kept so long: shorter than servers keep theirs."""


def http_client(place: Place, tls: Tls, at_once: int, seconds: float) -> httpx.AsyncClient:
    """A client for one model server: no redirects, no proxies of the environment.

    Args:
        place: where it listens; requests go to URLs that begin with its `origin`, with the extensions of `named`.
        tls: how it is trusted.
        at_once: connections at most.
        seconds: that each step of an exchange may take.

    Raises:
        OSError: a file of `tls` cannot be read, or is not what it should be.
    """
    transport = httpx.AsyncHTTPTransport(
        uds=place.socket or None,
        verify=client_context(tls) if place.scheme == "https" else False,
        limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=KEPT_SECONDS),
    )
    return httpx.AsyncClient(transport=transport, timeout=seconds, trust_env=False, follow_redirects=False)


def origin(place: Place) -> str:
    """Scheme and authority, as URLs of the client's begin; what listens on a Unix socket speaks plain HTTP."""
    return f"{'https' if place.scheme == 'https' else 'http'}://{place.authority}"


def named(tls: Tls) -> dict[str, str]:
    """The extensions of a request that say which name the server's certificate must bear, where not the URL's host."""
    return {"sni_hostname": tls.server_name} if tls.server_name else {}
