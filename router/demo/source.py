"""Which source the running code is: for the lineage of the demo's models."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import router


def source_version() -> str:
    """The commit of the checkout that this code runs from; where it is installed without one, `titleshot VERSION`."""
    checkout = Path(router.__file__).parent.parent
    if (checkout / ".git").exists():
        try:
            commit = subprocess.run(  # noqa: S603 - no text of others in it
                ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607 - the user's own git
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            )
        except (OSError, subprocess.SubprocessError):  # no git on this machine: the release says it, if less precisely
            pass
        else:
            return commit.stdout.strip()
    return f"titleshot {metadata.version('titleshot')}"
