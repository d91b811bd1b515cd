import json
from pathlib import Path

from click.testing import CliRunner

from router.cli.main import main
from router.settings.schema import json_schema

EXAMPLE = Path(__file__).parents[3] / "deploy" / "titleshot.example.yaml"


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_a_valid_file():
    done = run("config", "check", str(EXAMPLE))
    assert done.exit_code == 0
    assert "valid; listens on 0.0.0.0:8080, admin on 127.0.0.1:9901" in done.stdout
    assert "late-arrival: shadow 100 % for 1d, canary 10 % for 1h, " in done.stdout
    assert "promote after a sign-off, watch 100 % for 1d" in done.stdout


def test_a_valid_file_as_json():
    done = run("config", "check", str(EXAMPLE), "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["valid"], answer["problems"]) == (0, True, [])
    assert len(answer["models"]["late-arrival"]["policy_digest"]) == 64


def test_an_invalid_file(tmp_path):
    file = tmp_path / "titleshot.yaml"
    file.write_text("registry: r\nmodels:\n  m: {endpoint: 'http://m-v{version}:1', alpha: 2}\nworkres: 1\n")
    done = run("config", "check", str(file))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"{file}:3:49: models.m.alpha: expected more than 0 and at most 0.5, not 2.0\n"
        f"{file}:4:1: workres: unknown key; did you mean 'workers'?\n"
    )
    done = run("config", "check", str(file), "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["valid"]) == (1, False)
    assert answer["problems"][0] == {
        "file": str(file),
        "line": 3,
        "column": 49,
        "where": "models.m.alpha",
        "expected": "expected more than 0 and at most 0.5, not 2.0",
    }


def test_a_file_that_is_not_there(tmp_path):
    done = run("config", "check", str(tmp_path / "none.yaml"))
    assert done.exit_code == 1
    assert "cannot be read: No such file or directory" in done.stderr


def test_the_schema():
    done = run("config", "schema")
    assert (done.exit_code, json.loads(done.stdout)) == (0, json_schema())


def test_serve_refuses_invalid_settings(tmp_path):
    file = tmp_path / "titleshot.yaml"
    file.write_text("models: {}\n")
    done = run("serve", str(file))
    assert done.exit_code == 1
    assert f"{file}:1:1: registry: expected a value, found nothing" in done.stderr
