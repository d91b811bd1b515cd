"""`titleshot policy`: what a file asks for, or what is wrong with it."""

import json

import pytest
from click.testing import CliRunner

from router.cli.main import main
from router.settings import load_policy

POLICY = """\
gate: "off"
rollout:
  - shadow: 100
    for: 1h
  - canary: 10
  - promote: {sign_off: {by: [ben, ann], people: 2, not_registrant: true}}
guardrails:
  precision: {margin: 2 points, offline_tolerance: 5 points}
  p99_latency: {margin: 10%}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


def test_what_a_policy_asks_for(file):
    done = run("check", file)
    assert done.exit_code == 0, done.output
    digest = load_policy(file).digest
    assert f"digest: {digest}" in done.stdout
    for line in (
        "1. shadow 100 % for 1h\n",
        "2. canary 10 %\n",
        "3. promote after a sign-off\n",
        "precision: not worse by 2 points, and 5 points of the offline promise\n",
        "p99_latency: not worse by 10 %\n",
        "sign-off: 2 of ann, ben, not whoever registered the version\n",
    ):
        assert line in done.stdout
    assert "about" not in done.stdout  # how long depends on a rate
    assert run("digest", file).stdout == f"{digest}\n"


def test_what_a_policy_asks_of_others(file):
    plain = load_policy(file).digest
    file.write_text(
        POLICY
        + "checks:\n"
        + "  queue_time: {query: 'q{role=\"{role}\"}', worse_by: 20%}\n"
        + "  depth: {query: max(d), at_most: 5, every: 10s, for: 1}\n"
        + "  skew: {figure: skewed_features, at_most: 0, then: hold}\n"
        + "confirm_promote: [desk, board]\n"
    )
    done = run("check", file)
    assert done.exit_code == 0, done.output
    for line in (
        "  checks (a threshold, not any-time-valid; queries are asked of the Prometheus of the settings):\n",
        "    depth: at most 5, every 10s, 1 results in a row: max(d)\n",
        '    queue_time: at most 20 % higher than the champion\'s, every 30s, 3 results in a row: q{role="{role}"}\n',
        "    skew: at most 0, or it holds, every 30s, 3 results in a row: skewed_features\n",
        "  confirm_promote: board, desk\n",
    ):
        assert line in done.stdout
    told = json.loads(run("check", file, "--json").stdout)
    assert [each["name"] for each in told["checks"]] == ["depth", "queue_time", "skew"]
    assert told["webhooks"] == {"confirm_start": [], "confirm_promote": ["board", "desk"], "on_rollback": []}
    assert told["digest"] != plain


def test_what_its_gate_checks(file):
    assert "contract" not in run("check", file).stdout
    staging = "staging: {minimum: {precision: 0.7}, rate: 50, p99: 200ms}\n"
    file.write_text(POLICY.replace('gate: "off"\n', staging))
    done = run("check", file)
    assert done.exit_code == 0, done.output
    for line in (
        "gate: required\n",
        "    contract: 11 checks of how it answers, and the input example where there is one\n",
        "    holdout: 200 labelled rows or more, each with a prediction\n",
        "    precision: at least 0.7, not worse than the champion by 2 points, the offline figure within 5 points\n",
        "    latency: p99 within 200ms at 50 requests/s\n",
    ):
        assert line in done.stdout
    assert len(json.loads(run("check", file, "--json").stdout)["gate_checks"]) == 4


def test_about_how_long_it_takes_at_a_rate(file):
    done = run("check", file, "--rate", "20")
    assert done.exit_code == 0, done.output
    assert "1. shadow 100 % for 1h   about " in done.stdout
    assert "(p99_latency)" in done.stdout
    assert "estimates: equal versions, independent requests" in done.stdout
    told = json.loads(run("check", file, "--rate", "20", "--json").stdout)
    assert [each["step"] for each in told["estimates"]] == [0, 1]
    assert told["estimates"][1]["low_seconds"] <= told["estimates"][1]["high_seconds"]
    assert told["sign_off"] == {"by": ["ann", "ben"], "people": 2, "not_registrant": True}
    for wrong in ("0", "-1", "many"):
        assert run("check", file, "--rate", wrong).exit_code == 2


def test_everything_that_is_wrong_with_its_place(file):
    file.write_text(POLICY.replace("canary: 10", "canary: 0").replace("people: 2", "people: 3").replace("10%", "10"))
    done = run("check", file)
    assert (done.exit_code, done.stdout) == (1, "")
    first, second, third = done.stderr.splitlines()
    assert first.startswith(f"{file}:5:13: rollout[1].canary: expected an integer percent")
    assert "rollout[2].promote.sign_off.by: expected at least 3 names" in second
    assert third.startswith(f"{file}:9:25: guardrails.p99_latency.margin: expected a percentage")
    told = json.loads(run("check", file, "--json").stdout)
    assert not told["valid"]
    assert [problem["line"] for problem in told["problems"]] == [5, 6, 9]
    assert run("digest", file).exit_code == 1


def test_a_file_that_is_not_there(tmp_path):
    done = run("check", tmp_path / "none.yaml")
    assert done.exit_code == 1
    assert "none.yaml" in done.stderr
