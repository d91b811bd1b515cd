import subprocess
import sys

import pytest
from click.testing import CliRunner

from router.cli.main import COMMANDS, main

OTHERS = {"demo"}  # its body needs the demo extra


def run(*arguments, **settings):
    return CliRunner().invoke(main, arguments, **settings)


def test_help_lists_every_command_and_imports_none():
    program = (
        "import sys; from router.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'router.settings', 'mlflow', 'pydantic', 'httpx', 'rich', 'yaml'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - OTHERS))
def test_every_command_is_there_and_says_what_it_does(name):
    done = run(name, "--help")
    assert done.exit_code == 0, done.output
    assert COMMANDS[name].load().help


def test_a_command_that_is_not_there():
    done = run("staus")
    assert done.exit_code == 2
    assert "No such command 'staus'. Did you mean 'status'?" in done.output


def test_a_command_that_is_like_no_other():
    done = run("xyzzy")
    assert done.exit_code == 2
    assert "--help` lists them" in done.output


@pytest.mark.parametrize("admin", ["ftp://a:1", "http://", "http://user:pass@a:1", "http://a:x"])
def test_an_admin_address_that_is_none(admin):
    done = run("status", "--admin", admin)
    assert done.exit_code == 2
    assert "expected --admin http://host:port" in done.output


def test_a_token_is_never_an_option():
    done = run("status", "--token", "secret")
    assert done.exit_code == 2


def test_a_broken_token_file_is_a_usage_error_and_is_not_quoted(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\nsecond\n")
    done = run("status", "--token-file", str(file))
    assert done.exit_code == 2
    assert "expected one token" in done.output
    assert "second" not in done.output


def test_start_needs_its_retry():
    done = run("start", "m", "--version", "3", "--reason", "x")
    assert done.exit_code == 2
    assert "@challenger" in done.output


@pytest.mark.parametrize("act", ["rollback", "promote", "sign-off", "reject", "pause", "resume", "abort", "start"])
def test_every_act_needs_a_reason(act):
    more = ["--version", "3", "--retry"] if act == "start" else ["--evidence", "aa"] if act == "sign-off" else []
    for reason in ([], ["--reason", ""], ["--reason", " "]):
        done = run(act, "m", *more, *reason)
        assert done.exit_code == 2
        assert "--reason" in done.output
