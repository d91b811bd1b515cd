""".ci/servers, with a Python that makes environments of shell scripts."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """\
#!/bin/sh
if [ "$1" = -c ]; then echo 3.11; exit; fi
echo "said by venv"
[ -z "$NO_VENV" ] || exit 1
mkdir -p "$3/bin"
echo "version = 3.11.7" >"$3/pyvenv.cfg"
for each in python pip; do echo "#!/bin/sh" >"$3/bin/$each"; chmod +x "$3/bin/$each"; done
"""


@pytest.fixture
def cache(tmp_path):
    found = tmp_path / "it's a cache"
    found.mkdir()
    (found / "python").write_text(PYTHON)
    (found / "python").chmod(0o755)
    return found


def servers(cache, *names, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TITLESHOT_TEST_")}
    return subprocess.run(
        [ROOT / ".ci" / "servers", *names],
        env={**kept, "XDG_CACHE_HOME": str(cache), "PYTHON": str(cache / "python"), **variables},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_what_it_prints_is_for_the_shell_and_nothing_else(cache):
    done = servers(cache, "triton", "bentoml")
    assert done.returncode == 0, done.stderr
    assert "said by venv" in done.stderr
    shell = f'set -e; {done.stdout}printf "%s\\n" "$TITLESHOT_TEST_TRITON" "$TITLESHOT_TEST_BENTOML"'
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [f"{cache}/titleshot/{name}/bin" for name in ("triton", "bentoml")]


def test_without_venv_nothing_is_printed(cache):
    done = servers(cache, "bentoml", NO_VENV="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no environment for bentoml could be made" in done.stderr


def test_one_that_is_named_already_is_left_alone(cache):
    done = servers(cache, "bentoml", TITLESHOT_TEST_BENTOML="/elsewhere")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "changed", "how"),
    [
        ("triton", None, ""),
        ("bentoml", None, ""),
        ("bentoml", "made-from.txt", "bentoml==0.1\n"),
        ("bentoml", "made-with.txt", "--no-deps\n"),
        ("triton", "made-with.txt", ""),
        ("bentoml", "pyvenv.cfg", "version = 3.1.7\n"),
        ("bentoml", "pyvenv.cfg", "version = 3.12.1\n"),
        ("bentoml", "bin/python", "#!/no/python\n"),
    ],
)
def test_it_is_made_again_only_where_something_has_changed(cache, name, changed, how):
    made = cache / "titleshot" / name
    servers(cache, name)
    (made / "mark").touch()
    if changed is not None:
        (made / changed).unlink(missing_ok=True)  # never through a link: a real environment's Python is one
        (made / changed).write_text(how)
    done = servers(cache, name)
    assert done.returncode == 0, done.stderr
    assert (made / "mark").exists() is (changed is None)
