"""What `titleshot doctor` looks at: each part that titleshot needs, and what would mend it. Changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import make_url

from router.control.admin.tokens import TokensError, read_entries
from router.control.ledger import LedgerUnavailable
from router.control.ledger.archive import Archive
from router.control.probe import Prober
from router.control.registry import Aliases, MlflowRegistry, RegistryUnavailable, UnknownModel
from router.settings import Settings
from router.settings.model import ModelSettings

SECONDS = 5.0
"""Nothing is waited for longer than this."""

CLOCK_SECONDS = 5.0
LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20


class Level(str, Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: it is.
        level: how bad it is.
        text: what was found, and what would mend it.
    """

    what: str
    level: Level
    text: str


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
    place = settings.state
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return [Finding("state", Level.FAIL, f"{there} cannot be written to: give it to the user of titleshot")]
    return [Finding("state", Level.OK, f"{place}{'' if there == place else ' will be made'}"), _space("state", there)]


def _space(what: str, place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    told = f"{free / (1 << 30):.1f} GiB free at {place}"
    if free < NO_SPACE:
        return Finding(f"{what}: space", Level.FAIL, f"{told}: without room nothing is recorded, and nothing advances")
    level = Level.WARN if free < LITTLE_SPACE else Level.OK
    return Finding(f"{what}: space", level, told)


def _ledger(settings: Settings) -> list[Finding]:
    file = Path(make_url(settings.ledger).database or "")
    folder = file.absolute().parent
    if not file.is_file():
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if not os.access(there, os.W_OK):
            return [Finding("ledger", Level.FAIL, f"{there} cannot be written to: give it to the user of titleshot")]
        return [Finding("ledger", Level.OK, "is not there yet; the first start makes it")]
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(folder, os.W_OK):
        return [Finding("ledger", Level.FAIL, f"{file} or its directory cannot be written to")]
    try:
        with Archive.open(settings.ledger) as archive:
            models = archive.models()
    except LedgerUnavailable as error:
        return [Finding("ledger", Level.FAIL, str(error))]
    return [
        Finding("ledger", Level.OK, f"has decisions about {', '.join(models) or 'no model yet'}"),
        _space("ledger", folder),
    ]


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
    ahead = (before + time.time()) / 2 - there
    if abs(ahead) > CLOCK_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        return [Finding("clock", Level.WARN, f"{abs(ahead):.0f} s {side} the registry's: let a time service set both")]
    return [Finding("clock", Level.OK, "agrees with the registry's")]


async def _ports(settings: Settings) -> list[Finding]:
    """Free, or held by a titleshot."""
    admin, data = settings.admin, settings.listen
    running = await _is_titleshot(admin.host, admin.port)
    found = []
    for what, host, port in (("admin port", admin.host, admin.port), ("data port", data.host, data.port)):
        free = _free(host, port)
        if free == "":
            text = f"{host}:{port} is free" + (", although titleshot runs" if running else "")
            found.append(Finding(what, Level.OK, text))
        elif running:
            found.append(Finding(what, Level.OK, f"{host}:{port} is held, and a titleshot answers on the admin port"))
        else:
            found.append(Finding(what, Level.FAIL, f"{host}:{port} cannot be had: {free}"))
    return found


async def _is_titleshot(host: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens on all
    name = f"[{host}]" if ":" in host else host
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
            answer = await client.get(f"http://{name}:{port}/health/live")
            return bool(answer.json() == {"status": "live"})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


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
    """The user's Prometheus and webhooks: whether somebody is there. Nothing is sent to them."""
    addresses = {f"webhook {name}": each.url for name, each in settings.webhooks.items()}
    if settings.prometheus is not None:
        addresses["prometheus"] = settings.prometheus.url
    addresses |= {f"notify {each.name}": each.url for each in settings.notify if each.url is not None}
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
        return Finding(what, Level.WARN, f"{parts.hostname}:{port} cannot be reached ({why}): what needs it holds")
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
        url = model.endpoint_of(version)
        if url is None:
            found.append(
                Finding(what, bad, f"version {version} has no endpoint: add it to `endpoints` in the settings")
            )
        elif await prober.check(url, model.ready_path, model.tls):
            found.append(Finding(what, Level.OK, f"version {version} answers its readiness probe"))
        else:
            found.append(Finding(what, bad, f"version {version} does not answer its readiness probe: start its server"))
    return found
