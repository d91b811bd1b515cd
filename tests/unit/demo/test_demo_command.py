"""`titleshot demo`, as far as it goes without running."""

import sys

from click.testing import CliRunner

import router.demo.command
from router.demo.command import demo


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(router.demo.command.EXTRA, "no_such_module", "scikit-learn")
    result = CliRunner().invoke(demo, ["--exit"])
    assert result.exit_code == 1
    assert "scikit-learn" in result.output
    assert "pip install 'titleshot[demo]'" in result.output


def test_a_directory_with_something_in_it_is_not_used(tmp_path):
    (tmp_path / "precious").touch()
    result = CliRunner().invoke(demo, ["--keep", str(tmp_path)])
    assert result.exit_code == 2
    assert "empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_its_import_takes_nothing_of_the_extra_along():
    import subprocess

    code = (
        "import sys, router.demo.command; sys.exit(bool({'pandas', 'sklearn', 'mlflow', 'fastapi'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, timeout=60).returncode == 0
