"""Which requests are traced: what is wrong with the block, and what it needs."""

import subprocess
import sys

import pytest

from router.settings import SettingsError, keep, kept, load_settings

TEXT = "registry: r\n{tracing}\nmodels:\n  m:\n    endpoint: http://m-v{{version}}:1\n"

WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None  # as Python has it for what cannot be imported
from pathlib import Path
from router.settings import SettingsError, kept, load_settings
try:
    load_settings(Path(sys.argv[1]))
except SettingsError as error:
    print(error)
print(kept(Path(sys.argv[2])).traced)
"""


def written(folder, tracing):
    path = folder / "titleshot.yaml"
    path.write_text(TEXT.format(tracing=tracing))
    return path


@pytest.mark.parametrize(
    ("tracing", "traced", "endpoint"),
    [
        ("", None, None),
        ("tracing: {}", 1, None),
        ("tracing: {share: 0}", 0, None),
        ("tracing: {share: 100, endpoint: 'https://c.example:4318/otlp/', service_name: shop}", 100,
         "https://c.example:4318/otlp"),
    ],
)  # fmt: skip
def test_what_is_traced(tmp_path, tracing, traced, endpoint):
    settings = load_settings(written(tmp_path, tracing))
    assert settings.traced == traced
    assert (settings.tracing and settings.tracing.endpoint) == endpoint


@pytest.mark.parametrize(
    ("tracing", "expected"),
    [
        ("{share: 101}", "expected an integer percent from 0 to 100, such as 1, not 101"),
        ("{share: true}", "expected an integer percent from 0 to 100, such as 1, not true"),
        ("{share: 1%}", "expected an integer percent from 0 to 100, such as 1, not '1%'"),
        ("{endpoint: 'grpc://c:4317'}",
         "expected http(s)://host:port, perhaps with a base path, without user and password"),
        ("{endpoint: 'http://u:T0P@c:4318'}",
         "expected http(s)://host:port, perhaps with a base path, without user and password"),
        ("{shares: 1}", "unknown key; did you mean 'share'?"),
        ("{service_name: ''}", "expected text, not ''"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it(tmp_path, tracing, expected):
    with pytest.raises(SettingsError) as error:
        load_settings(written(tmp_path, f"tracing: {tracing}"))
    (problem,) = error.value.problems
    assert problem.expected == expected
    assert "T0P" not in str(error.value)


def test_without_the_extra_the_block_is_refused_and_kept_settings_still_read(tmp_path):
    path = written(tmp_path, "tracing: {share: 5}")
    keep(load_settings(path), tmp_path / "kept.json")
    assert kept(tmp_path / "kept.json").traced == 5
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, path, tmp_path / "kept.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    said, share = done.stdout.strip().rsplit("\n", 1)
    assert f"{path}:2:10: tracing: expected the extra otel for tracing: pip install 'titleshot[otel]'" in said
    assert share == "5"
