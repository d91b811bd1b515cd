# ruff: noqa: INP001 - a script
"""Takes docs/pictures/console.png of a running titleshot: python docs/pictures/console.py (needs Debian's chromium)."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests")]

from conftest import registry_template  # noqa: E402 - found by the line above
from world import MODEL, QUICK_POLICY, Traffic, World, bad, fair, good, wait_for  # noqa: E402

ROLLOUT = """    rollout:
      - {shadow: 100, for: 40s}
      - {promote: {sign_off: true}}
"""


class _Folders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mktemp(self, name: str) -> Path:
        made = self._folder / name
        made.mkdir()
        return made


def main() -> None:
    """A challenger in shadow, once it waits for a sign-off."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        template = registry_template.__wrapped__(_Folders(Path(folder)))
        world = World(Path(folder), template, {1: fair, 2: good, 3: bad})
        try:
            world.write_settings(QUICK_POLICY + ROLLOUT)
            world.start()
            world.serving(1)
            world.traffic = Traffic(world)
            world.set_alias("challenger", 2)
            wait_for(lambda: world.phase() == "sign_off", "it waits for a sign-off", 120)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 1500})
            page.goto(f"{world.admin}/console/models/{MODEL}")
            page.get_by_text("Waiting for a sign-off").wait_for()
            page.screenshot(path=str(ROOT / "docs" / "pictures" / "console.png"))
            browser.close()
        finally:
            world.close()


if __name__ == "__main__":
    main()
