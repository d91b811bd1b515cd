import pytest
from world import World, bad, fair, good


@pytest.fixture
def world(tmp_path, registry_template):
    """Version 1 fair, 2 good, 3 bad; not started yet."""
    made = World(tmp_path, registry_template, {1: fair, 2: good, 3: bad})
    yield made
    made.close()
    for line in (tmp_path / "serve.log").read_text().splitlines() if (tmp_path / "serve.log").exists() else []:
        print(line)  # noqa: T201 - shown when the test fails
