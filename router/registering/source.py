"""Which source a model was made from: the commit of a git checkout."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_TIMEOUT_SECONDS = 30.0
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # SHA-1, SHA-256


class SourceError(Exception):
    """The commit cannot be told; the message says why, and what helps."""


def commit_of(directory: Path, *, allow_dirty: bool) -> str:
    """The commit that is checked out in a directory; `-dirty` is appended where its files are not those of the commit.

    Raises:
        SourceError: no git, no checkout, no commit; or changed or untracked files, unless that is allowed.
    """
    sha = _git(directory, "rev-parse", "--verify", "HEAD").strip()
    if _SHA.fullmatch(sha) is None:
        raise SourceError(f"{directory}: git names no commit")
    changed = [line for line in _git(directory, "status", "--porcelain").splitlines() if line]
    if changed and not allow_dirty:
        first = ", ".join(line[3:] for line in changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise SourceError(
            f"{directory}: {len(changed)} files are not as in commit {sha[:12]} ({first}): "
            "commit them, or say --allow-dirty"
        )
    return f"{sha}-dirty" if changed else sha


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and only words of ours but for the directory
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            # of this directory, whatever a hook that runs us has in its environment
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"git cannot be asked ({type(error).__name__}): say --git-sha SHA") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["git failed"])[0]
        raise SourceError(f"{directory}: {said}: say --git-sha SHA, or --source DIR of the checkout")
    return done.stdout
