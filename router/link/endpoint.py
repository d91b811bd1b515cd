"""Where a model server is, and how it is trusted: what the proxies and the readiness probes both need to reach it."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

T = TypeVar("T")
Stamp = tuple[int, int, int]

log = logging.getLogger(__name__)

PORTS: Final = {"http": 80, "https": 443}
LONGEST_SOCKET_PATH: Final = 107
"""Bytes (unix(7))."""

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|[0-9a-fA-F:.]{2,45}", re.ASCII)
_BASE_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII)
_SOCKET_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]+", re.ASCII)


class Tls(msgspec.Struct, frozen=True):
    """How a model server is trusted, and what it is shown. Files are PEM; empty: none."""

    ca: str = ""  # who signs the server's certificate; empty: whom the system trusts
    certificate: str = ""  # ours
    key: str = ""
    server_name: str = ""  # that its certificate must bear; empty: the endpoint's host

    @property
    def files(self) -> tuple[str, ...]:
        """All that it is read from; those that there are not are empty."""
        return self.ca, self.certificate, self.key


class ListenTls(msgspec.Struct, frozen=True):
    """What the data port shows its clients. Files are PEM."""

    certificate: str
    key: str
    client_ca: str = ""  # who signs the clients' certificates; empty: they need none

    @property
    def files(self) -> tuple[str, ...]:
        """All that it is read from; those that there are not are empty."""
        return self.certificate, self.key, self.client_ca


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model server listens: on a host and port, or on a Unix socket."""

    scheme: str  # http, https, unix
    host: str
    port: int
    socket: str  # path of the Unix socket
    base: str  # path before every request's own
    authority: str  # as the Host field says it


def place_of(url: str) -> Place:
    """Read `http://host:port[/base]`, `https://host:port[/base]` or `unix:///path/of.sock`.

    Raises:
        ValueError: anything else; the message says what was expected.
    """
    expected = "expected http(s)://host:port or unix:///path.sock"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError(f"{expected}, with a port from 1 to 65535") from None
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"{expected}, perhaps with a base path, and nothing after it")
    if parts.scheme == "unix":
        if parts.netloc or _SOCKET_PATH.fullmatch(parts.path) is None or not url.startswith("unix:///"):
            raise ValueError(f"{expected}, the path being absolute")
        if len(parts.path) > LONGEST_SOCKET_PATH:
            raise ValueError(f"{expected}, the path having at most {LONGEST_SOCKET_PATH} bytes")
        return Place("unix", "", 0, parts.path, "", "localhost")
    if "@" in parts.netloc:
        raise ValueError(f"{expected}, without user and password")
    if parts.scheme not in PORTS or not host or _HOST.fullmatch(host) is None or port == 0:
        raise ValueError(expected)
    if _BASE_PATH.fullmatch(parts.path) is None:
        raise ValueError(f"{expected}, perhaps with a base path, and nothing after it")
    return Place(parts.scheme, host, port or PORTS[parts.scheme], "", parts.path.rstrip("/"), parts.netloc)


def client_context(tls: Tls) -> ssl.SSLContext:
    """For connections to a model server; TLS 1.2 or newer.

    Raises:
        OSError: a file cannot be read, or is not what it should be (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def server_context(tls: ListenTls) -> ssl.SSLContext:
    """For the data port; TLS 1.2 or newer.

    Raises:
        OSError: a file cannot be read, or is not what it should be (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.client_ca:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Renewed(Generic[T]):
    """A context of TLS that is made anew when one of its files has changed: certificates are renewed while we run.

    Args:
        make: the context, out of the files as they are now; raises OSError.
        files: those that it is made of.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, make: Callable[[], T], files: Iterable[str]) -> None:
        self._make = make
        self._files = [file for file in files if file]
        self._seen = stamps(self._files)
        self.context = make()

    def renew(self) -> bool:
        """Look at the files; whether there is a new context. Where they are bad, the old one stays."""
        seen = stamps(self._files)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.context = self._make()
        except OSError as error:
            log.error("%s: %s; the former certificates stay", ", ".join(self._files), error)  # noqa: TRY400
            return False
        log.info("%s: read again", ", ".join(self._files))
        return True


Trust = Renewed[ssl.SSLContext]


class Trusts(dict[Tls, Trust]):
    """How model servers are trusted: one context for all that have the same `Tls`, made when it is first asked for.

    Raises:
        OSError: on the way to an item: a file of its `Tls` cannot be read.
    """

    def __missing__(self, tls: Tls) -> Trust:
        trust = self[tls] = Trust(lambda: client_context(tls), tls.files)
        return trust


def stamps(files: Iterable[str]) -> tuple[Stamp | None, ...]:
    """What tells that one of the files has changed; those without a name are left out."""
    return tuple(_stamp(file) for file in files if file)


def _stamp(file: str) -> Stamp | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
