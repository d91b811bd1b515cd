"""What `titleshot doctor` looks at: each part that titleshot needs; `findings` judges. Changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import make_url

from router.cli.findings import (
    Finding,
    Holder,
    Level,
    Port,
    of_clock,
    of_ledger,
    of_new_ledger,
    of_ports,
    of_space,
    of_state,
)
from router.control.admin.tokens import TokensError, read_entries
from router.control.ledger import LedgerUnavailable
from router.control.ledger.archive import Archive
from router.control.probe import Prober
from router.control.registry import Aliases, MlflowRegistry, RegistryUnavailable, UnknownModel
from router.settings import Settings
from router.settings.model import ModelSettings

SECONDS = 5.0
"""Nothing is waited for longer than this."""

ELSEWHERE = "/models/-titleshot-doctor-/"
"""A path of no model: a titleshot answers it by itself, and no model server hears of it."""


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything, side by side."""
    models = list(settings.models.items())
    found = await asyncio.gather(
        _clock(settings),
        _ports(settings),
        _others(settings),
        *(_model(settings, name, model) for name, model in models),
    )
    return [*_state(settings), *_ledger(settings), *_tokens(settings), *(each for part in found for each in part)]


def _state(settings: Settings) -> list[Finding]:
    """The directory that holds the routes file, the link's socket and the spool."""
    nearest = _nearest(settings.state)
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    found = of_state(settings.state, nearest, writable=writable)
    return [found, of_space("state", nearest, shutil.disk_usage(nearest).free)] if writable else [found]


def _nearest(place: Path) -> Path:
    """Itself, or the first directory above it that is there."""
    return next(each for each in (place, *place.parents) if each.exists())


def _ledger(settings: Settings) -> list[Finding]:
    file = Path(make_url(settings.ledger).database or "")
    folder = file.absolute().parent
    if not file.is_file():
        nearest = _nearest(folder)
        return [of_new_ledger(nearest, writable=os.access(nearest, os.W_OK))]
    writable = os.access(file, os.R_OK | os.W_OK) and os.access(folder, os.W_OK)
    models, problem = _models_in(settings.ledger) if writable else ([], "")
    found = of_ledger(file, models, problem, writable=writable)
    return [found, of_space("ledger", folder, shutil.disk_usage(folder).free)] if found.level is Level.OK else [found]


def _models_in(ledger: str) -> tuple[list[str], str]:
    """The models that it has decisions about, and why they cannot be read."""
    try:
        with Archive.open(ledger) as archive:
            return archive.models(), ""
    except LedgerUnavailable as error:
        return [], str(error)


def _tokens(settings: Settings) -> list[Finding]:
    if settings.tokens_path is None:
        return []
    try:
        entries = read_entries(settings.tokens_path)
    except TokensError as error:
        return [Finding("tokens", Level.FAIL, str(error))]
    if not entries:
        text = f"{settings.tokens_path} has no entry: `titleshot token NAME --role ROLE` makes one"
        return [Finding("tokens", Level.WARN, text)]
    return [Finding("tokens", Level.OK, f"of {', '.join(sorted({each.actor.name for each in entries}))}")]


async def _clock(settings: Settings) -> list[Finding]:
    """Compared with the registry's, where that is a server: labels and deadlines go by it."""
    if not settings.registry.startswith(("http://", "https://")):
        return []
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            before = time.time()
            answer = await client.head(settings.registry)
            there = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError):
        return []  # the registry itself is told of below
    return [of_clock((before + time.time()) / 2 - there)]


async def _ports(settings: Settings) -> list[Finding]:
    """Free, or held by a titleshot."""
    admin, data = settings.admin, settings.listen
    at_admin, at_data = await asyncio.gather(_admin_holder(admin.host, admin.port), _data_holder(settings))
    return of_ports(
        Port("admin port", f"{admin.host}:{admin.port}", _free(admin.host, admin.port), at_admin),
        Port("data port", f"{data.host}:{data.port}", _free(data.host, data.port), at_data),
    )


async def _admin_holder(host: str, port: int) -> Holder:
    answer = await _asked(f"http://{_reachable(host)}:{port}/health/live")
    if not isinstance(answer, httpx.Response):
        return answer
    try:
        return Holder.TITLESHOT if answer.json() == {"status": "live"} else Holder.ANOTHER
    except ValueError:
        return Holder.ANOTHER


async def _data_holder(settings: Settings) -> Holder:
    """Every answer of a titleshot has the request's id."""
    data, tls = settings.listen, settings.listen_tls
    answer = await _asked(f"{'https' if tls else 'http'}://{_reachable(data.host)}:{data.port}{ELSEWHERE}")
    if isinstance(answer, httpx.Response):
        return Holder.TITLESHOT if "x-titleshot-id" in answer.headers else Holder.ANOTHER
    return Holder.UNTOLD if answer is Holder.ANOTHER and tls is not None and tls.client_ca else answer


async def _asked(url: str) -> httpx.Response | Holder:
    """Its answer, or who is there: nobody, or somebody who does not speak like that."""
    try:
        # Whose certificate it is does not matter: nothing is told to whoever that is.
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, verify=False) as client:  # noqa: S501
            return await client.get(url)
    except httpx.ConnectError as error:
        return Holder.ANOTHER if _in_tls(error) else Holder.NOBODY
    except (httpx.HTTPError, httpx.InvalidURL):
        return Holder.ANOTHER


def _in_tls(error: BaseException | None) -> bool:
    """Whether a connection was there, and TLS failed on it."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reachable(host: str) -> str:
    """The host of an address that is listened on, as a URL has it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens on all
    return f"[{host}]" if ":" in host else host


def _free(host: str, port: int) -> str:
    """Why an address cannot be listened on; "": it can."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return str(error.strerror or error)
    return ""


async def _others(settings: Settings) -> list[Finding]:
    """The user's Prometheus, webhooks and collector: whether somebody is there. Nothing is sent to them."""
    addresses = {f"webhook {name}": each.url for name, each in settings.webhooks.items()}
    if settings.prometheus is not None:
        addresses["prometheus"] = settings.prometheus.url
    addresses |= {f"notify {each.name}": each.url for each in settings.notify if each.url is not None}
    if settings.tracing is not None and settings.tracing.endpoint is not None:
        addresses["tracing"] = settings.tracing.endpoint
    return list(await asyncio.gather(*(_reached(what, url) for what, url in addresses.items())))


async def _reached(what: str, url: str) -> Finding:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        so = "spans are lost" if what == "tracing" else "what needs it holds"
        return Finding(what, Level.WARN, f"{parts.hostname}:{port} cannot be reached ({why}): {so}")
    return Finding(what, Level.OK, f"{parts.hostname}:{port} can be reached")


async def _model(settings: Settings, name: str, model: ModelSettings) -> list[Finding]:
    """Its aliases, and the endpoints of the versions that they name."""
    what = f"{name}: registry"
    registry = MlflowRegistry(settings.registry, timeout_seconds=SECONDS)
    try:
        aliases = await registry.read(model.registered_model)
    except UnknownModel:
        return [Finding(what, Level.FAIL, f"has no model {model.registered_model}: register a version of it first")]
    except RegistryUnavailable as error:
        return [Finding(what, Level.FAIL, str(error))]
    finally:
        registry.close()
    return [_named(what, aliases), *await _endpoints(name, model, aliases)]


def _versions(aliases: Aliases) -> dict[str, int]:
    """Which version each alias names, of those that are set."""
    named = {"champion": aliases.champion, "challenger": aliases.challenger, "previous": aliases.previous}
    return {alias: version for alias, version in named.items() if version is not None}


def _named(what: str, aliases: Aliases) -> Finding:
    if aliases.champion is None:
        return Finding(what, Level.FAIL, "no version is @champion: set the alias, or nobody serves")
    told = ", ".join(f"@{alias} is version {version}" for alias, version in _versions(aliases).items())
    if aliases.previous is None:
        return Finding(what, Level.OK, f"{told}; there is no @previous to roll back to yet")
    return Finding(what, Level.OK, told)


async def _endpoints(name: str, model: ModelSettings, aliases: Aliases) -> Iterable[Finding]:
    prober = Prober()
    found = []
    for alias, version in _versions(aliases).items():
        what, bad = f"{name}: @{alias}", Level.FAIL if alias == "champion" else Level.WARN
        url = model.probed_at(version)
        if url is None:
            found.append(
                Finding(what, bad, f"version {version} has no endpoint: add it to `endpoints` in the settings")
            )
        elif await prober.check(url, model.ready_path, model.tls):
            found.append(Finding(what, Level.OK, f"version {version} answers its readiness probe"))
        else:
            found.append(Finding(what, bad, f"version {version} does not answer its readiness probe: start its server"))
    return found
