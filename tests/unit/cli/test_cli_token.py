import json

from click.testing import CliRunner

from router.cli.main import main
from router.control.admin.tokens import Tokens


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_the_entry_of_a_token_lets_its_owner_in(tmp_path):
    done = run("token", "ci@example.org", "--role", "labeller", "--role", "viewer")
    assert done.exit_code == 0
    file = tmp_path / "tokens.yaml"
    file.write_text(done.stdout)
    token = next(line.strip() for line in done.stderr.splitlines() if line.startswith("  titleshot_"))
    assert token not in done.stdout
    assert Tokens(file).actor(token).name == "ci@example.org"


def test_as_json():
    made = json.loads(run("token", "ci", "--role", "admin", "--json").stdout)
    assert (made["name"], made["roles"]) == ("ci", ["admin"])


def test_a_role_that_is_none():
    done = run("token", "ci", "--role", "king")
    assert done.exit_code == 2


def test_a_name_that_is_none():
    done = run("token", "a b", "--role", "admin")
    assert done.exit_code == 2
    assert "expected a name" in done.stderr


def test_a_broken_tokens_file_is_a_problem_of_the_settings(tmp_path):
    (tmp_path / "tokens.yaml").write_text("nothing")
    file = tmp_path / "titleshot.yaml"
    file.write_text("registry: r\ntokens: tokens.yaml\nmodels: {m: {endpoint: 'http://m-v{version}:1'}}\n")
    done = run("config", "check", str(file))
    assert done.exit_code == 1
    assert "expected a list of entries" in done.stderr
