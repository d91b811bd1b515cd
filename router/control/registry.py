"""The MLflow registry: aliases and versions read, moves and tags written.

MLflow's client is synchronous and lets any exception through, so it runs in threads of its own, within a deadline, and
only the exceptions below come out. MLFLOW_* variables (credentials, TLS) are MLflow's own business.

MLflow has no compare-and-swap: every write reads first and compares, and a move of @champion is read back. What is left
is the time between a read and the write that follows it, one round trip: `carry_out` cannot see a move by somebody else
in it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from comparator.events import AliasMove, VersionFacts
from comparator.title import Effect
from router.control.lineage import model_in_source, version_facts
from router.control.mlflow_errors import of_client, reason, refusal

log = logging.getLogger(__name__)

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"

STATE_TAG: Final = "titleshot.state"
"""On a version that had its shot: promoted, rejected or aborted."""
STATE_AT_TAG: Final = "titleshot.state_at"
"""When STATE_TAG became so (ISO 8601, UTC)."""
CHAIN_TAG: Final = "titleshot.chain_head"
"""Where the chain over the decisions ended when the version got the title."""

MOST_FACTS: Final = 256
COMPLETE_SECONDS: Final = 60.0  # facts with metrics, git SHA and data hash are read again after so long
INCOMPLETE_SECONDS: Final = 2.0  # someone may be adding the tag that the gate waits for

START_SECONDS: Final = 30.0  # to import MLflow and to open its database: 2 s, but 10 on a busy machine

_LARGEST_VERSION: Final = 2**32 - 1  # what an observation has room for
_PAGE: Final = 1000  # versions asked for at once
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",  # MLflow's own defaults keep a thread busy for many minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}

T = TypeVar("T")


class RegistryUnavailable(Exception):
    """The registry did not answer in time, or not sensibly; the message says why, without credentials."""


class Denied(RegistryUnavailable):
    """The registry answers, but not this user; the message says which permission is missing."""


class UnknownModel(Exception):
    """The registry has no such model."""


class UnknownVersion(UnknownModel):
    """The registry has no such version of the model."""


class ForeignMove(Exception):
    """@champion names neither the version that we expected there nor the one that we move it to.

    Args:
        model: in the registry.
        found: what it names; None: there is no such alias.
        move: the one that we were asked for.
    """

    def __init__(self, model: str, found: int | None, move: AliasMove) -> None:
        names = "no version" if found is None else f"version {found}"
        super().__init__(f"@champion of {model} names {names}, neither {move.expected} nor {move.to}: not moved")
        self.found = found
        self.move = move


@dataclass(frozen=True, slots=True)
class Aliases:
    """The versions that the aliases of one model name; None: there is no such alias."""

    champion: int | None
    challenger: int | None
    previous: int | None


class MlflowRegistry:
    """One registry.

    Args:
        uri: of MLflow's tracking server or database. A sqlite file that does not exist is not created.
        timeout_seconds: no method takes longer, but for START_SECONDS at first use.
    """

    def __init__(self, uri: str, timeout_seconds: float = 10.0) -> None:
        self._uri = uri
        self._timeout_seconds = timeout_seconds
        self._client: Any = None
        self._making = threading.Lock()
        self._reads = ThreadPoolExecutor(2, "mlflow-read")
        # One thread: what a caller has given up on is over before the next write begins.
        self._writes = ThreadPoolExecutor(1, "mlflow-write")
        self._facts: OrderedDict[tuple[str, int], tuple[float, VersionFacts]] = OrderedDict()

    async def read(self, model: str, challenger: str = CHALLENGER) -> Aliases:
        """The aliases now, by one call; `challenger` is the alias that names the challenger, of a lane another one.

        Raises:
            UnknownModel: there is no such model.
            RegistryUnavailable: no sensible answer in time.
        """
        return await self._run(self._reads, lambda calls: _aliases(calls, model, challenger))

    async def version(self, model: str, version: int) -> VersionFacts:
        """What `router.control.lineage` finds of one version, at most COMPLETE_SECONDS old.

        Raises:
            UnknownVersion: there is no such model or version.
            RegistryUnavailable: no sensible answer in time.
        """
        known = self._facts.get((model, version))
        if known is not None and known[0] > time.monotonic():
            self._facts.move_to_end((model, version))
            return known[1]
        facts = await self._run(self._reads, lambda calls: _version(calls, model, version))
        complete = facts.offline and facts.git_sha and facts.data_hash
        until = time.monotonic() + (COMPLETE_SECONDS if complete else INCOMPLETE_SECONDS)
        self._facts[model, version] = until, facts
        while len(self._facts) > MOST_FACTS:
            self._facts.popitem(last=False)
        return facts

    async def chain_tags(self, model: str) -> dict[int, str]:
        """Version -> CHAIN_TAG, as it is written there: nothing to trust.

        Raises:
            RegistryUnavailable: no sensible answer in time.
        """
        return await self._run(self._reads, lambda calls: _chain_tags(calls, model))

    async def carry_out(self, model: str, effect: Effect) -> None:
        """Tell the registry, in the order of Effect's fields. Safe to repeat, whole or after it broke off anywhere.

        A version to mark or to name @previous that somebody deleted is left out: there is nothing to tell of it.

        Raises:
            ForeignMove: @champion names a third version, or none. Nothing was changed, or others undid our move.
            UnknownVersion: the version that an alias is to name does not exist.
            UnknownModel: there is no such model.
            RegistryUnavailable: no sensible answer in time, or not to us. Nothing more is written once this is raised,
                but for the one call that may be on its way.
        """
        await self._run(self._writes, lambda calls: _carry_out(calls, model, effect))

    async def annotate(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Set those tags of a version that say something else. Safe to repeat.

        Raises:
            UnknownVersion: there is no such model or version.
            RegistryUnavailable: no sensible answer in time.
        """
        await self._run(self._writes, lambda calls: _annotate(calls, model, version, tags))

    def close(self) -> None:
        """Begin nothing more; calls on their way end by themselves."""
        self._reads.shutdown(wait=False, cancel_futures=True)
        self._writes.shutdown(wait=False, cancel_futures=True)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[_Calls], T]) -> T:
        calls = _Calls(self._client_now)
        try:
            if self._client is None:
                await _within(START_SECONDS, self._reads, _guarded, self._client_now)
            return await _within(self._timeout_seconds, pool, work, calls)
        finally:
            calls.given_up = True

    def _client_now(self) -> Any:  # noqa: ANN401 - MLflow is untyped
        """The client, made at first use: importing MLflow takes most of a second, a new client opens its database."""
        with self._making:
            check_file(self._uri)
            if self._client is None:
                self._client = make_client(self._uri)
            return self._client


async def _within(seconds: float, pool: ThreadPoolExecutor, work: Callable[..., T], *args: object) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().run_in_executor(pool, work, *args)
    except TimeoutError:
        raise RegistryUnavailable(f"no answer within {seconds:g} s") from None


class _Calls:
    """MlflowClient's methods for one operation, until its caller has given up."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self.given_up = False
        self._client = client

    def __call__(self, method: str, *args: object) -> Any:  # noqa: ANN401 - MLflow is untyped
        """Call one.

        Raises:
            _Missing: what was asked for does not exist.
            RegistryUnavailable: anything else went wrong.
        """
        client = _guarded(self._client)
        if self.given_up:
            raise RegistryUnavailable("given up")
        return _guarded(getattr(client, method), *args)


class _Missing(Exception):
    """What was asked for does not exist."""


def _guarded(function: Callable[..., T], *args: object) -> T:
    """Call MLflow, which lets through what requests, SQLAlchemy and urllib3 raise; their texts can hold passwords."""
    try:
        return function(*args)
    except RegistryUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND"):
            raise _Missing(reason(error)) from None
        if (denied := refusal(error, of_client(getattr(function, "__name__", ""), *args))) is not None:
            raise Denied(denied) from None
        raise RegistryUnavailable(reason(error)) from None


def check_file(uri: str) -> None:
    """MLflow would make an empty registry where sqlite's file is missing; we are no place to begin one."""
    if not uri.startswith("sqlite:"):
        return
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - slow to import

    path = make_url(uri).database
    if path and path != ":memory:" and not Path(path).is_file():
        raise RegistryUnavailable(f"there is no file {Path(path).name}")


def make_client(uri: str) -> Any:  # noqa: ANN401 - MLflow is untyped
    """MLflow's client, in a process whose calls must not hang: importing it takes most of a second."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if uri.startswith("sqlite:"):
        # A pooled connection would go on reading a file that was replaced (restored from a backup, say).
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow import MlflowClient  # noqa: PLC0415 - slow to import, and only the control process needs it

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its import sets it
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


# ---- reading, in a thread


def _aliases(calls: _Calls, model: str, challenger: str = CHALLENGER) -> Aliases:
    try:
        named = calls("get_registered_model", model).aliases
    except _Missing:
        raise UnknownModel(f"the registry has no model {model}") from None
    return Aliases(*(_number(named.get(alias)) for alias in (CHAMPION, challenger, PREVIOUS)))


def _number(version: object) -> int | None:
    """A version as servers write it: a text over HTTP, an int from sqlite."""
    if version is None:
        return None
    text = str(version)
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= _LARGEST_VERSION):
        raise RegistryUnavailable(f"an alias names the version {text[:20]!r}, which is no number that we can use")
    return int(text)


def _version(calls: _Calls, model: str, version: int) -> VersionFacts:
    found = _existing(calls, model, version)
    run = _if_any(calls, "get_run", found.run_id)
    logged = _if_any(calls, "get_logged_model", getattr(found, "model_id", None) or model_in_source(found.source))
    inputs = run.inputs.dataset_inputs if run is not None and run.inputs is not None else ()
    return version_facts(
        version,
        version_tags=found.tags,
        run_tags=run.data.tags if run is not None else {},
        model_metrics={each.key: each.value for each in logged.metrics or ()} if logged is not None else {},
        run_metrics=run.data.metrics if run is not None else {},
        dataset_digests=[each.dataset.digest for each in inputs],
        user_id=getattr(found, "user_id", None),
    )


def _found(calls: _Calls, model: str, version: int) -> Any:  # noqa: ANN401 - MLflow is untyped
    return _if_any(calls, "get_model_version", model, str(version))


def _existing(calls: _Calls, model: str, version: int) -> Any:  # noqa: ANN401 - MLflow is untyped
    found = _found(calls, model, version)
    if found is None:
        raise UnknownVersion(f"the registry has no version {version} of {model}")
    return found


def _if_any(calls: _Calls, method: str, key: str | None, *more: str) -> Any:  # noqa: ANN401 - MLflow is untyped
    """What the method gives, or None: the key is empty, or names nothing (a deleted run, an older server)."""
    if not key:
        return None
    try:
        return calls(method, key, *more)
    except _Missing:
        return None


def _chain_tags(calls: _Calls, model: str) -> dict[int, str]:
    """Of all versions: a record whose end is cut off does not tell which one got the title last."""
    if not ({"'", '"'} - set(model)):
        raise RegistryUnavailable("MLflow cannot look for a model with both kinds of quotes in its name")
    quoted = f"'{model}'" if "'" not in model else f'"{model}"'
    found: dict[int, str] = {}
    page: str | None = None
    while True:
        versions = calls("search_model_versions", f"name={quoted}", _PAGE, None, page)
        for version in versions:
            number, text = _number(version.version), version.tags.get(CHAIN_TAG)
            if number is not None and text is not None:
                found[number] = str(text)
        page = versions.token
        if not page:
            return found


# ---- writing, in a thread


def _carry_out(calls: _Calls, model: str, effect: Effect) -> None:
    aliases = _aliases(calls, model)
    if effect.move is not None:
        aliases = _move(calls, model, aliases, effect.move, {} if effect.marks else _chained(effect))
    if effect.previous is not None and aliases.previous != effect.previous:
        _set_previous(calls, model, effect.previous)
    for version, state in effect.marks:
        _mark(calls, model, version, state, _chained(effect))
    if effect.set_challenger is not None and aliases.challenger != effect.set_challenger:
        _set(calls, model, CHALLENGER, effect.set_challenger)
    # Read again: as little time as can be between the comparison and the deletion.
    if effect.clear_challenger is not None and _aliases(calls, model).challenger == effect.clear_challenger:
        try:
            _delete(calls, model, CHALLENGER)
        except Denied:
            if not effect.confirms:
                raise
            # All that counts is done, which must not wait for this: it is asked for again, and said, when confirmed.


def _chained(effect: Effect) -> dict[str, str]:
    return {CHAIN_TAG: effect.proof} if effect.proof else {}


def _move(calls: _Calls, model: str, aliases: Aliases, move: AliasMove, tags: Mapping[str, str]) -> Aliases:
    """The aliases after it; the tags go first, so that no version has the title without them."""
    if aliases.champion == move.to:
        return aliases
    if aliases.champion != move.expected:
        raise ForeignMove(model, aliases.champion, move)
    _tag(calls, model, move.to, tags)
    _set(calls, model, CHAMPION, move.to)
    after = _aliases(calls, model)
    if after.champion != move.to:
        raise ForeignMove(model, after.champion, move)
    return after


def _set_previous(calls: _Calls, model: str, version: int) -> None:
    try:
        _set(calls, model, PREVIOUS, version)
    except UnknownVersion:
        log.warning("%s: version %d was deleted; @previous stays as it is", model, version)


def _set(calls: _Calls, model: str, alias: str, version: int) -> None:
    try:
        calls("set_registered_model_alias", model, alias, str(version))
    except _Missing:
        raise UnknownVersion(f"the registry has no version {version} of {model} for @{alias}") from None


def _delete(calls: _Calls, model: str, alias: str) -> None:
    try:
        calls("delete_registered_model_alias", model, alias)
    except _Missing:
        return  # gone already


def _mark(calls: _Calls, model: str, version: int, state: str, tags: Mapping[str, str]) -> None:
    """The state last: it, which is what is looked for when this is repeated, says that all are there."""
    found = _found(calls, model, version)
    if found is None:
        log.warning("%s: version %d was deleted; it is not marked %s", model, version, state)
        return
    if found.tags.get(STATE_TAG) == state:
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    _tag(calls, model, version, {**tags, STATE_AT_TAG: at, STATE_TAG: state})


def _annotate(calls: _Calls, model: str, version: int, tags: Mapping[str, str]) -> None:
    there = _existing(calls, model, version).tags
    _tag(calls, model, version, {name: value for name, value in tags.items() if there.get(name) != value})


def _tag(calls: _Calls, model: str, version: int, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        try:
            calls("set_model_version_tag", model, str(version), name, value)
        except _Missing:
            return  # deleted meanwhile
