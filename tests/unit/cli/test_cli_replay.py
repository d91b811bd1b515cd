import json
import uuid
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from duel import Duel, Model, traffic
from pyarrow import parquet

from comparator.events import Role
from router.cli.main import main
from router.settings import load_policy

POLICY = """\
rollout:
  - shadow: 100
    for: 5s
  - promote: {}
guardrails:
  precision: {margin: 10 points}
  error_rate: {margin: 10 points}
judge: {bucket: 1s, bucket_min_answers: 3, min_buckets: 5, min_answers: 50, min_labelled_positives: 10}
"""
START = 1_700_000_000.0


@cache
def recorded(precision, seconds=25.0):
    """A shadow record in order of time: the champion's precision is 0.9, the challenger's is given."""
    duel = Duel(Model(0.12, 0.9), Model(0.12, precision), label_delay=1.0)
    observations, labels = traffic(duel, np.random.default_rng(2), seconds, start=START)
    rows = [
        {
            "type": "observation",
            "at": float(row["at"]),
            "request_id": name(row),
            "role": Role(row["role"]).name.lower(),
            "latency_s": float(row["latency"]),
            "status": 200,
            "prediction": int(row["prediction"]),
        }
        for row in observations
    ]
    rows += [
        {"type": "label", "at": float(row["at"]), "request_id": name(row), "label": int(row["label"])} for row in labels
    ]
    return sorted(rows, key=lambda row: row["at"])


def name(row):
    return str(uuid.UUID(int=(int(row["request_hi"]) << 64) | int(row["request_lo"])))


def ndjson(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)

    def run(rows, *options, file="day.ndjson", **settings):
        path = tmp_path / file
        if file.endswith(".parquet"):
            names = dict.fromkeys(each for row in rows for each in row)
            parquet.write_table(pa.table({each: [row.get(each) for row in rows] for each in names}), path)
        else:
            path.write_text(rows if isinstance(rows, str) else ndjson(rows))
        policy = ["--policy", str(tmp_path / "policy.yaml")]
        return CliRunner().invoke(main, ["replay", str(path), *policy, *options], **settings)

    return run


def decisions(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_a_record_says_nothing_of_is_left_out(run, tmp_path):
    plain = run(recorded(0.2))
    assert plain.stderr == ""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY + "checks: {depth: {query: max(d), at_most: 5}}\nconfirm_start: [desk]\n")
    done = run(recorded(0.2))
    assert done.stderr == "checks and webhooks of the policy are not replayed, and left out: depth, desk\n"
    assert done.stdout == plain.stdout


def test_a_bad_challenger_rolls_back(run, tmp_path):
    start, back, moved = decisions(run(recorded(0.2), "--json"))
    assert list(back) == [
        "at", "kind", "version", "phase", "step", "trigger", "reason", "guardrails", "policy_digest"
    ]  # fmt: skip
    assert (start["kind"], start["phase"], start["step"], start["guardrails"]) == ("start", "shadow", 0, [])
    assert (back["kind"], back["phase"], back["trigger"], back["version"]) == (
        "roll_back",
        "rolling_back",
        "precision",
        2,
    )
    assert (moved["kind"], moved["phase"]) == ("moved", "rolled_back")
    precision, errors = back["guardrails"]
    assert list(precision) == [
        "name", "verdict", "champion", "challenger", "evidence", "threshold", "harm", "margin", "proven", "missing"
    ]  # fmt: skip
    assert (precision["name"], precision["verdict"], errors["name"]) == ("precision", "fail", "error_rate")
    assert precision["evidence"] >= precision["threshold"] == 40
    assert precision["champion"].keys() == {"value", "lower", "upper", "count"}
    assert precision["challenger"]["upper"] < precision["champion"]["lower"]
    assert back["policy_digest"] == load_policy(tmp_path / "policy.yaml").digest


def test_what_people_read(run):
    done = run(recorded(0.2))
    assert done.exit_code == 0
    start, reason, back, precision, errors, why, moved, _ = done.stdout.splitlines()
    assert start == "2023-11-14T22:13:20.0Z  +0s  start of version 2 -> shadow (step 1)"
    assert reason.startswith("    ")
    assert "  roll back by precision of version 2 -> rolling back" in back
    assert precision.startswith("    precision: fail; champion 0.9")
    assert " of 40" in precision
    assert errors.startswith("    error_rate: ")
    assert why.startswith("    precision 0.")
    assert moved.endswith("moved of version 2 -> rolled back")


def test_a_good_challenger_is_promoted(run):
    assert [each["kind"] for each in decisions(run(recorded(0.9, 60.0), "--json"))] == ["start", "promote", "moved"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_parquet_says_what_ndjson_says(run, options):
    assert run(recorded(0.2), *options, file="day.parquet").stdout == run(recorded(0.2), *options).stdout


def test_labels_in_a_file_of_their_own(run, tmp_path):
    rows = recorded(0.2)
    labels = [{key: value for key, value in row.items() if key != "type"} for row in rows if row["type"] == "label"]
    (tmp_path / "labels.ndjson").write_text(ndjson(labels))
    seen = [row for row in rows if row["type"] == "observation"]
    apart = run(seen, "--labels", str(tmp_path / "labels.ndjson"))
    assert apart.stdout == run(rows).stdout


def test_standard_input(run, tmp_path):
    whole = run(recorded(0.2))
    arguments = ["replay", "-", "--policy", str(tmp_path / "policy.yaml")]
    assert CliRunner().invoke(main, arguments, input=ndjson(recorded(0.2))).stdout == whole.stdout


def test_raw_values_with_the_positive_one_named(run):
    words = {1: "late", 0: "on time"}
    rows = [row | {each: words[row[each]] for each in ("prediction", "label") if each in row} for row in recorded(0.2)]
    assert run(rows, "--positive", "late").stdout == run(recorded(0.2)).stdout
    refused = run(rows)
    assert refused.exit_code == 1
    assert "day.ndjson:1: prediction: expected a number, true or false; --positive says" in refused.stderr


def test_several_classes_under_a_policy_of_them(run, tmp_path):
    words = {1: "late", 0: "on time"}
    rows = [row | {each: words[row[each]] for each in ("prediction", "label") if each in row} for row in recorded(0.2)]
    binary = run(recorded(0.2)).stdout
    policy = POLICY.replace("precision: {margin", "precision: {of: late, margin")
    (tmp_path / "policy.yaml").write_text(policy)
    several = run(rows).stdout
    assert "precision_of_late" in several
    told = several.replace("precision_of_late", "precision").replace("precision of late", "precision")
    assert told.replace("labelled predictions of late", "labelled positives") == binary
    refused = run(rows, "--positive", "late")
    assert refused.exit_code == 1
    assert "the policy is of several" in refused.stderr


def test_a_threshold(run):
    rows = [
        row | ({"prediction": 0.7 * row["prediction"] + 0.2} if "prediction" in row else {}) for row in recorded(0.2)
    ]
    assert run(rows, "--threshold", "0.8").stdout == run(recorded(0.2)).stdout
    scored = [
        row | ({"prediction": "late", "score": 0.1 + row["prediction"] / 2} if "prediction" in row else {})
        for row in recorded(0.2)
    ]
    assert run(scored, "--threshold", "0.6").stdout == run(recorded(0.2)).stdout


def test_versions_by_hand(run):
    assert {each["version"] for each in decisions(run(recorded(0.2), "--json", "--challenger", "9"))} == {9}


def test_a_record_that_decides_nothing_says_what_it_waits_for(run):
    rows = recorded(0.9)[:200]
    done = run([*rows, *rows[-20:], {"type": "label", "at": START + 9, "request_id": "x", "label": None}])
    assert done.exit_code == 0
    *_, holding, left_out = done.stdout.splitlines()
    assert holding.startswith("holding: waiting for ")
    assert left_out.startswith("left out: ")
    assert "repeated" in left_out
    assert "1 invalid" in left_out


def test_an_offline_promise(run, tmp_path):
    strict = POLICY.replace("{margin: 10 points}", "{margin: 10 points, offline_tolerance: 20 points}", 1)
    (tmp_path / "strict.yaml").write_text(strict)
    options = ("--policy", str(tmp_path / "strict.yaml"), "--json")
    rows = recorded(0.9, 60.0)
    assert [each["kind"] for each in decisions(run(rows, *options))] == ["start"]
    kept = decisions(run(rows, *options, "--offline", "precision=0.8"))
    assert [each["kind"] for each in kept] == ["start", "promote", "moved"]


@pytest.mark.parametrize("figure", ["precision", "=1", "precision=high", "precision=nan"])
def test_an_offline_figure_that_is_none(run, figure):
    done = run(recorded(0.9), "--offline", figure)
    assert done.exit_code == 2
    assert "expected NAME=VALUE with a number" in done.stderr


def test_every_malformed_line_is_named(run):
    lines = ndjson(recorded(0.2)[:50]) + "{\n" + ndjson([{"type": "label"}])
    done = run(lines)
    assert done.exit_code == 1
    assert "day.ndjson:51: expected one JSON object in UTF-8\n" in done.stderr
    assert "day.ndjson:52: expected at: seconds since the epoch, before the year 10000\n" in done.stderr
    assert done.stdout == ""


def test_a_record_without_a_challenger(run):
    done = run([row for row in recorded(0.9) if row.get("role") != "challenger"])
    assert done.exit_code == 1
    assert "no observation of the challenger: name its version" in done.stderr


def test_a_policy_that_is_wrong(run, tmp_path):
    (tmp_path / "wrong.yaml").write_text("alpha: 3\n")
    done = run([], "--policy", str(tmp_path / "wrong.yaml"))
    assert done.exit_code == 1
    assert "wrong.yaml:1:8: alpha: expected" in done.stderr


def test_nothing_recorded(run):
    done = run([], "--champion", "1", "--challenger", "2")
    assert done.exit_code == 0
    assert done.stdout == "no decision: nothing was recorded\n"


def test_timing_is_told_apart_on_standard_error(run):
    done = run(recorded(0.2), "--timing", "--json")
    count = len(recorded(0.2))
    read, judged = done.stderr.splitlines()
    assert read.startswith(f"read {count} lines in ")
    assert read.endswith(" lines/s")
    assert judged.startswith("judged ")
    assert judged.endswith(" observations/s")
    assert decisions(done)


def test_milliseconds_by_mistake(run):
    done = run([row | {"at": row["at"] * 1000} for row in recorded(0.9)[:5]])
    assert done.exit_code == 1
    assert "day.ndjson:1: at: expected seconds since the epoch, before the year 10000" in done.stderr


def test_one_version_in_both_roles(run):
    done = run([row | {"version": "7"} if "role" in row else row for row in recorded(0.9)[:50]])
    assert done.exit_code == 1
    assert "expected two versions, not 7 as champion and as challenger" in done.stderr
