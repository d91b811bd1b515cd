"""docs/cli.md has every exit code, and no other."""

import re
from pathlib import Path

import click

from router.cli import exits


def test_the_table_has_every_exit_code():
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    table = text[text.index("## Exit codes") :].split("\n## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert told == {0, click.UsageError.exit_code, *codes}
