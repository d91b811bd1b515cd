"""Channels to model servers' gRPC ports. Imports gRPC: only what calls one imports this."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import grpc
import grpc.aio

from router.link.endpoint import Tls, client_context
from router.link.grpc_place import grpc_place


def grpc_channel(url: str, tls: Tls, options: Iterable[tuple[str, int]]) -> grpc.aio.Channel:
    """A channel, which connects when it is used: to that address only, whatever proxies the environment names.

    Raises:
        ValueError: the URL is not of that form.
        OSError: a file of `tls` cannot be read, or is not what it should be.
    """
    place = grpc_place(url)
    given: list[tuple[str, int | str]] = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        *options,
    ]
    if not place.secure:
        return grpc.aio.insecure_channel(place.target, given)
    client_context(tls)  # gRPC would say nothing of files that are not what they should be
    if tls.server_name:
        given.append(("grpc.ssl_target_name_override", tls.server_name))
    trust = grpc.ssl_channel_credentials(_read(tls.ca or _of_system()), _read(tls.key), _read(tls.certificate))
    return grpc.aio.secure_channel(place.target, trust, given)


def _of_system() -> str:
    """The file of whom the system trusts; "": there is none, and gRPC's own list is taken."""
    return ssl.get_default_verify_paths().cafile or ""


def _read(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None
