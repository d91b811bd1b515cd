"""The README says what is tested, and docs/matrix.md what came of it: both are held equal to the one list."""

from collections import Counter
from pathlib import Path

import matrix
import pytest
from asking import curled

ROOT = Path(__file__).parents[3]


def test_the_readme_has_the_table():
    assert matrix.table() in (ROOT / "README.md").read_text(), "python tests/support/matrix.py prints it"


def test_the_results_are_of_the_same_rows_and_each_cell_passed():
    lines = (ROOT / "docs" / "matrix.md").read_text().splitlines()
    found = [[word.strip() for word in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    assert [(row[0], row[2], row[4]) for row in found] == [(row.server, row.client, row.asks) for row in matrix.ROWS]
    wanted = [["passed" if mode in row.modes else "-" for mode in matrix.MODES] for row in matrix.ROWS]
    assert [row[5:] for row in found] == wanted, "make test-long writes it"


def test_each_row_has_a_key_of_its_own():
    assert max(Counter((row.server, row.key) for row in matrix.ROWS).values()) == 1


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_curl_its_cells_say_so(monkeypatch, ci, outcome):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="needs curl"):
        curled("http://127.0.0.1:9", "{}")
