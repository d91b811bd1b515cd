"""A real Chromium (Debian's package), driven as a person would."""

import os
import shutil

import pytest


def need_chromium() -> str:
    """The path of the browser; without it the test is skipped, or fails where CI has to have it."""
    found = shutil.which("chromium")
    if found is None:
        text = "needs Debian's package chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return found
