"""Watches the settings while titleshot runs: every change becomes new settings, or the error that says what is wrong.

Directories are watched, not files: editors replace a file by renaming another over it, and Kubernetes swaps a symbolic
link next to it; neither is seen by who watches the file itself. What counts as a change is the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from watchfiles import awatch

from router.settings import Settings, SettingsError, load_settings

log = logging.getLogger(__name__)

DEBOUNCE_MILLISECONDS = 400  # the longest that a burst of events is gathered
QUIET_MILLISECONDS = 50  # a burst is over after so long without another event
LOOK_ANYWAY_SECONDS = 1.0  # some file systems (NFS, some container mounts) report nothing

logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it would tell of every write to a ledger in the directory


async def watch(path: Path, current: Settings | None = None) -> AsyncGenerator[Settings | SettingsError, None]:
    """Yield what the settings become, each time that the content of the file or of a policy file changes.

    Never ends and never raises: a directory that cannot be watched is looked at every second.

    Args:
        path: of the settings file.
        current: the settings in force, which are not yielded again; None: those that the file holds now.
    """
    files = dict(current.files if current is not None else (await _load(path)).files)
    failed = ""
    while True:
        try:
            async with contextlib.aclosing(_changes(path, files)) as changes:
                async for _ in changes:
                    failed = ""
                    loaded = await _load(path)
                    yield loaded
                    if loaded.files.keys() != files.keys():
                        files = dict(loaded.files)
                        break  # other policy files than before: other places to look at
                    files = dict(loaded.files)
        except Exception as error:  # noqa: BLE001 - whatever it is, traffic and the good settings go on
            if str(error) != failed:
                log.warning("the settings' directory cannot be watched (%s); looking at it every second", error)
            failed = str(error)
            await asyncio.sleep(LOOK_ANYWAY_SECONDS)
            if await asyncio.to_thread(_digests, files) != files:
                loaded = await _load(path)
                files = dict(loaded.files)
                yield loaded


async def _changes(path: Path, files: Mapping[str, str]) -> AsyncGenerator[None, None]:
    """One item each time that the content of a file has changed."""
    known = dict(files)
    events = awatch(
        *_directories(path, files),
        watch_filter=None,
        debounce=DEBOUNCE_MILLISECONDS,
        step=QUIET_MILLISECONDS,
        rust_timeout=int(LOOK_ANYWAY_SECONDS * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    try:
        async for _ in events:
            now = await asyncio.to_thread(_digests, known)
            if now != known:
                known = now
                yield
    finally:
        await events.aclose()


async def _load(path: Path) -> Settings | SettingsError:
    try:
        return await asyncio.to_thread(load_settings, path)
    except SettingsError as error:
        return error


def _directories(path: Path, files: Mapping[str, str]) -> set[Path]:
    return {path.parent, *(Path(file).parent for file in files)}


def _digests(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each file's content, "" where it cannot be read."""
    found = {}
    for file in files:
        try:
            found[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            found[file] = ""
    return found
