"""Which source a model was made from: the commit of a git checkout."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_TIMEOUT_SECONDS = 30.0
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # SHA-1, SHA-256
_DIRTY = "-dirty"
# Whatever is set that hides changes; it holds in submodules, too.
_SHOW_ALL = ("-c", "status.showUntrackedFiles=all", "-c", "diff.ignoreSubmodules=none", "-c", "core.fsmonitor=false")
_STATUS = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none")


class SourceError(Exception):
    """The commit cannot be told; the message says why, and what helps."""


def checked_sha(text: str) -> str:
    """The SHA of a commit as somebody wrote it. Raises SourceError: it is none."""
    if _SHA.fullmatch(text.removesuffix(_DIRTY)) is None:
        raise SourceError(
            f"expected a git SHA of 40 or 64 digits 0-9, a-f, and {_DIRTY} where files were changed, not {text[:99]!r}"
        )
    return text


def commit_of(directory: Path, *, allow_dirty: bool) -> str:
    """The commit that is checked out in a directory; `-dirty` is appended where its files are not those of the commit.

    A file that git was told not to look at (assume-unchanged, skip-worktree) may have changed, and counts as changed.
    Files that git ignores do not count.

    Raises:
        SourceError: no git, no checkout, no commit, or the checkout ignores this directory; or changed or untracked
            files, unless that is allowed.
    """
    sha = _git(directory, "rev-parse", "--verify", "HEAD").strip()
    if _SHA.fullmatch(sha) is None:
        raise SourceError(f"{directory}: git names no commit")
    top = Path(_git(directory, "rev-parse", "--show-toplevel").removesuffix("\n"))
    if _ignored(directory):
        raise SourceError(
            f"{directory}: ignored by the git repository around it, {top}, whose commit says nothing of it: "
            "say --git-sha SHA, or --source DIR of the checkout"
        )
    changed = _changed(top)
    if changed and not allow_dirty:
        first = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise SourceError(
            f"{directory}: {len(changed)} {'files are' if len(changed) > 1 else 'file is'} not as in commit {sha[:12]} "
            f"({first}): commit them, or say --allow-dirty"
        )
    return f"{sha}{_DIRTY}" if changed else sha


def _changed(top: Path) -> list[str]:
    """Names of files that are not as in the commit, or that git does not look at; fit to be printed."""
    names = {entry[3:] for entry in _git(top, *_SHOW_ALL, *_STATUS).split("\0") if entry}
    for entry in _git(top, "ls-files", "-v", "-z").split("\0"):
        if entry and (entry[0].islower() or entry[0] == "S"):
            names.add(entry[2:])
    return [name.encode(errors="backslashreplace").decode() for name in sorted(names)]


def _ignored(directory: Path) -> bool:
    return _run(directory, "check-ignore", "-q", ".").returncode == 0


def _git(directory: Path, *arguments: str) -> str:
    done = _run(directory, *arguments)
    if done.returncode:
        said = (os.fsdecode(done.stderr).strip().splitlines() or ["git failed"])[0]
        raise SourceError(f"{directory}: {said}: say --git-sha SHA, or --source DIR of the checkout")
    return os.fsdecode(done.stdout)


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and only words of ours but for the directory
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            # of this directory, whatever a hook that runs us has in its environment
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"git cannot be asked ({type(error).__name__}): say --git-sha SHA") from None
