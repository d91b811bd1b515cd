r"""The hash of training data: SHA-256 of a file, or of the list of a directory's files.

A directory's is the SHA-256 of what `sha256sum` prints for its files, by names relative to it, in the order of their
bytes, so that anybody can compute it again:

    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sed 's,  \./,  ,' | sha256sum

No time, owner or mode is in it. Links and other special files are refused: what they lead to would not be in it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

PREFIX = "sha256:"
_PIECE = 1 << 20


class DataError(Exception):
    """The data cannot be hashed; the message says which file, and why."""


def data_size(path: Path) -> int:
    """Bytes of all that `data_hash` will read. Raises DataError."""
    if not path.is_dir():
        _regular(path)
        return path.stat().st_size
    return sum((path / name).stat().st_size for name in _names(path))


def data_hash(path: Path, progress: Callable[[int], None] = lambda _: None) -> str:
    """`sha256:` and 64 hex digits; `progress` is called with every number of bytes read. Raises DataError."""
    if not path.is_dir():
        _regular(path)
        return PREFIX + _file(path, progress)
    whole, any_file = hashlib.sha256(), False
    for name in _names(path):
        any_file = True
        whole.update(f"{_file(path / name, progress)}  {name}\n".encode())
    if not any_file:
        raise DataError(f"{path}: there is no file in it")
    return PREFIX + whole.hexdigest()


def _file(path: Path, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                progress(len(piece))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    return digest.hexdigest()


def _names(directory: Path) -> Iterator[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(directory, onerror=_raise):
        for name in (*folders, *files):
            path = Path(folder) / name
            relative = path.relative_to(directory).as_posix()
            if any(sign in relative for sign in "\\\n\r\0") or not relative.isprintable():
                raise DataError(f"{directory}: expected printable file names without backslashes, not {relative!r}")
            if name in files:
                _regular(path)
                found.append(relative)
            elif path.is_symlink():
                raise DataError(f"{path}: a link; what it leads to would not be in the hash")
    yield from sorted(found, key=os.fsencode)


def _regular(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: expected a regular file or a directory of them, no link, device or pipe")


def _raise(error: OSError) -> None:
    raise DataError(f"{error.filename}: {error.strerror}")
