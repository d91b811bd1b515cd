"""The last good settings, kept in the state directory: what a control process goes on with when the file is bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from router.settings.settings import Settings


class _Kept(msgspec.Struct, frozen=True):
    directory: str
    files: dict[str, str]
    data: dict[str, Any]


def keep(settings: Settings, path: Path) -> None:
    """Write settings down, readable by this user only: they can hold passwords. Raises OSError."""
    kept = _Kept(str(settings.directory), dict(settings.files), dict(settings.written))
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(kept))
    fresh.replace(path)


def kept(path: Path) -> Settings | None:
    """What `keep` wrote, or None: nothing, or nothing that this version reads."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Kept)
        context = {"directory": Path(found.directory), "files": found.files, "data": found.data}
        return Settings.model_validate(found.data, context=context)
    except (OSError, msgspec.DecodeError, ValidationError):
        return None
