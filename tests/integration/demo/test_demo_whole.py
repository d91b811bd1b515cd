"""The whole demo, once, off a terminal."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BOUND_SECONDS = 660  # the demo's own bound is 600
NOT_FOR_THE_DEMO = {
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    "MLFLOW_REGISTRY_URI": "http://127.0.0.1:1",
    "MLFLOW_EXPERIMENT_NAME": "production",
    "TITLESHOT_ADMIN": "http://127.0.0.1:1",
    "TITLESHOT_TOKEN": "of production",
}
"""What somebody who works with MLflow and titleshot has in the environment."""
COMMAND = [sys.executable, "-P", "-c", "from router.cli.main import main; main(prog_name='titleshot')", "demo"]


@pytest.fixture
def place():
    """A directory with a short path: a Unix socket below it has room for some 100 characters."""
    with tempfile.TemporaryDirectory(prefix="demo") as directory:
        yield Path(directory)


@pytest.fixture
def demo(place):
    """Starts the demo; what is left of it is ended."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [*COMMAND, *options],
            cwd=place,
            env={**os.environ, **NOT_FOR_THE_DEMO, "TMPDIR": str(place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        process.stdout.close()


def processes_in(directory):
    """Those that work below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_all_four_acts_happen_and_nothing_is_left(demo, place):
    process = demo("--exit")
    printed, _ = process.communicate(timeout=BOUND_SECONDS)
    assert process.returncode == 0, printed
    for text in (
        "gate: off",
        "alpha: 0.05",
        "@champion = 2, @previous = 1",
        "the gate says FAIL: precision",
        "version 3 rolled back after",
        "@champion = 1, confirmed",
        " 0 failed",
        "/metrics",
    ):
        assert text in printed
    assert processes_in(place) == []
    assert list(place.iterdir()) == []


def test_interrupted_it_ends_with_all_that_it_started(demo, place):
    process = demo("--exit", "--keep", str(place / "kept"))
    for line in process.stdout:
        if "starting the servers 1/" in line:
            break
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert processes_in(place) == []
    assert (place / "kept" / "titleshot.yaml").exists()
