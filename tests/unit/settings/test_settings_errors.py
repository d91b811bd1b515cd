"""Every error with its exact file, line and column."""
# ruff: noqa: E501, ISC004 - messages are longer than lines

import pytest

from router.settings import SettingsError, load_policy, load_settings

HEAD = """\
registry: sqlite:///mlflow.db
models:
  m:
    endpoint: http://m-v{version}:1
"""  # a model's next key stands in line 5, its value behind the colon


def problems(tmp_path, text):
    path = tmp_path / "titleshot.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("alhpa: 0.05", 5, "alhpa: unknown key; did you mean 'alpha'?"),
        ("rollout: {shadow: 100}", 14, "rollout: expected a list, not a mapping"),
        ("rollout: []", 14, "rollout: expected at least one step"),
        ("rollout: [100]", 15, "rollout[0]: expected a mapping with one of shadow, canary, promote, watch, not 100"),
        ("rollout: [{shadwo: 100}]", 15, "rollout[0]: expected exactly one of shadow, canary, promote, watch, "
         "found 'shadwo'; did you mean 'shadow'?"),
        ("rollout: [{shadow: 1, canary: 1}]", 15, "rollout[0]: expected exactly one of shadow, canary, promote, watch, "
         "not shadow and canary"),
        ("rollout: [{shadow: 0}]", 24, "rollout[0].shadow: expected an integer percent from 1 to 100, such as 10, not 0"),
        ("rollout: [{shadow: 5, canary_for: 1h}]", 27, "rollout[0].canary_for: unknown key; expected one of at_deadline, for, shadow, within"),
        ("rollout: [{canary: 100}]", 24, "rollout[0].canary: expected at most 99 percent: without a champion there is "
         "nothing to compare with"),
        ("rollout: [{canary: 10%}]", 24, "rollout[0].canary: expected an integer percent from 1 to 100, such as 10, "
         "not '10%'"),
        ("rollout: [{canary: 50}, {canary: 10}]", 14, "rollout: expected canary shares that grow, not [50, 10]"),
        ("rollout: [{canary: 50}, {shadow: 10}]", 14, "rollout: expected shadow steps before canary steps"),
        ("rollout: [{promote: {}}]", 14, "rollout: expected a shadow or canary step before promote: no evidence is "
         "never a pass"),
        ("rollout: [{shadow: 1}, {watch: 1h}]", 14, "rollout: expected a promote step before watch"),
        ("rollout: [{shadow: 1, for: 10}]", 32, "rollout[0].for: expected a duration with its unit, such as 10s or 10m, "
         "not a bare number"),
        ("rollout: [{shadow: 1, for: soon}]", 32, "rollout[0].for: expected a duration such as 30s, 10m, 1h30m or 7d, "
         "not 'soon'"),
        ("rollout: [{shadow: 1}, {promote: {signoff: true}}]", 39, "rollout[1].promote.signoff: unknown key; did you "
         "mean 'sign_off'?"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: 1}}]", 49, "rollout[1].promote.sign_off: expected true or false, "
         "not 1"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: {people: 0}}}]", 58, "rollout[1].promote.sign_off.people: expected "
         "an integer of at least 1, not 0"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: {people: 9}}}]", 58, "rollout[1].promote.sign_off.people: expected "
         "1 to 5, not 9"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: {by: [a b]}}}]", 55, "rollout[1].promote.sign_off.by[0]: expected "
         "the name of a token: 1 to 64 letters, digits and any of . _ @ -, not 'a b'"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: {by: [ann], people: 2}}}]", 54, "rollout[1].promote.sign_off.by: "
         "expected at least 2 names: so many people have to sign"),
        ("rollout: [{shadow: 1}, {promote: {sign_off: {poeple: 2}}}]", 50, "rollout[1].promote.sign_off.poeple: "
         "unknown key; did you mean 'people'?"),
        ("rollout: [{shadow: 1}, {promote: }]", 37, "rollout[1].promote: expected a value; leave the key out for its "
         "default, or write {} for an empty mapping"),
        ("guardrails: {}", 17, "guardrails: expected at least one"),
        ("guardrails: {precison: {margin: 2 points}}", 18, "guardrails.precison: unknown guardrail; did you mean "
         "'precision'?"),
        ("guardrails: {precision: {margin: 10%}}", 38, "guardrails.precision.margin: expected percentage points, such "
         "as \"2 points\", not '10%'"),
        ("guardrails: {precision: {margin: 0 points}}", 38, "guardrails.precision.margin: expected more than 0 and at "
         "most 1, not 0.0"),
        ("guardrails: {precision: {}}", 18, "guardrails.precision.margin: expected a value, found nothing"),
        ("guardrails: {error_rate: {margin: 1 point, offline_tolerance: 1 point}}", 48,
         "guardrails.error_rate.offline_tolerance: unknown key; expected one of margin"),
        ("guardrails: {mae: {margin: 1 point, range: 10}}", 32, "guardrails.mae.margin: expected a number, not '1 point'"),
        ("guardrails: {mae: {margin: 1}}", 18, "guardrails.mae.range: expected a value, found nothing"),
        ("guardrails: {mae: {margin: 1, range: 0}}", 42, "guardrails.mae.range: expected two finite numbers, the lower "
         "first, not 0.0 and 0.0"),
        ("guardrails: {mae: {margin: 3, range: 2}}", 32, "guardrails.mae.margin: expected more than 0 and at most 2, not "
         "3.0"),
        ("guardrails: {reward: {margin: 1, range: 5}}", 45, "guardrails.reward.range: expected [lowest, highest], such as "
         "[0, 1], not 5"),
        ("guardrails: {reward: {margin: 1, range: [1, 0]}}", 45, "guardrails.reward.range: expected two finite numbers, "
         "the lower first, not 1.0 and 0.0"),
        ("guardrails: {mae: {margin: 1, range: 5}, recall: {margin: 1 point}}", 23, "guardrails.mae: expected predictions "
         "to be numbers or classes, not both: see recall"),
        ("guardrails: {brier: {margin: 1 point, offline_tolerance: 1 point}}", 43,
         "guardrails.brier.offline_tolerance: unknown key; expected one of margin"),
        ("judge: {split_alpha: 0}", 26, "judge.split_alpha: expected more than 0 and at most 0.5, not 0.0"),
        ("guardrails: {p99_latency: {margin: 2 points}}", 40, "guardrails.p99_latency.margin: expected a percentage of "
         "the champion's, such as 10%, not '2 points'"),
        ("guardrails: {p99_latency: {margn: 1%, margin: 1%}}", 32, "guardrails.p99_latency.margn: unknown key; did you "
         "mean 'margin'?"),
        ("guardrails: {p10_latency: {margin: 1%}}", 18, "guardrails.p10_latency.quantile: expected 0.5 to 0.999, not 0.1"),
        ("alpha: 0.6", 12, "alpha: expected more than 0 and at most 0.5, not 0.6"),
        ("alpha: 5%", 12, "alpha: expected a number, not '5%'"),
        ("alpha: true", 12, "alpha: expected a number, not true"),
        ("gate: strict", 11, "gate: expected 'required', 'offline' or 'off', not 'strict'"),
        ("judge: {bucket: 0s}", 21, "judge.bucket: expected a duration of more than 0, not 0.0"),
        (
            "restraint: {freeze: [{days: [fri], from: 16:00, to: 8:00}]}",
            57,
            "restraint.freeze[0].to: expected a time of the day with two digits each, such as 08:00, not '8:00'",
        ),
        ("restraint: {max_rollbacks_per_day: 0}", 40, "restraint.max_rollbacks_per_day: expected an integer of at least 1, not 0"),
        ("judge: {block_requests: 1}", 29, "judge.block_requests: expected at least 2, not 1"),
        ("judge: {min_answers: 0}", 26, "judge.min_answers: expected an integer of at least 1, not 0"),
        ("judge: {min_answer: 5}", 13, "judge.min_answer: unknown key; did you mean 'min_answers'?"),
        ("protocol: mflow", 15, "protocol: expected a protocol (mlflow, open_inference, kserve_v1, openai, json), not 'mflow'; "
         "did you mean 'mlflow'?"),
        ("answer: {prediction: label}\n    protocol: json", 13, "answer: expected answer.prediction to be a JSON pointer "
         "such as /outputs/0/label, or # for the whole, not 'label'"),
        ("answer: {score: /p}\n    protocol: json", 13, "answer: expected answer.prediction beside answer.score, "
         "both as JSON pointers such as /label"),
        ("answer: {rows: /outputs}\n    protocol: open_inference", 13, "answer: expected no answer.rows: the rows are the "
         "first dimension of the outputs"),
        ("answer: {rows: /predictions}\n    protocol: kserve_v1", 13, "answer: expected no answer.rows: the rows stand in "
         "predictions, outputs or results"),
        ("served_as: m", 16, "served_as: expected no served_as: the paths of mlflow name no model"),
        ("served_as: a/b\n    protocol: open_inference", 16, "served_as: expected the model's name in paths, "
         "without '/', not 'a/b'"),
        ("predict_path: /x", 19, "predict_path: expected no predict_path: mlflow says which requests are predictions"),
        ("predict_path: predict\n    protocol: json", 19, "predict_path: expected a path such as /predict, "
         "percent-encoded as in a URL, not 'predict'"),
        ("predict_path: /x?y\n    protocol: json", 19, "predict_path: expected a path without a query: any query "
         "is a prediction's"),
        ("ready_path: 'http://a/'", 17, "ready_path: expected a path such as /predict, percent-encoded as in a URL, not "
         "'http://a/'"),
        ("rollback_on: {alertname: X}", 18, "rollback_on: expected a list, not a mapping"),
        ("rollback_on: [{}]", 19, "rollback_on[0]: expected at least one label: an empty matcher would be for every alert"),
        ("rollback_on: [{alert-name: X}]", 20, "rollback_on[0].alert-name: expected the name of a label: letters, digits "
         "and _, not beginning with a digit"),
        ("rollback_on: [{severity: 1}]", 30, "rollback_on[0].severity: expected text, not 1"),
        ("endpoints: {1: ftp://m:1}", 20, "endpoints.1: expected http(s)://host:port or unix:///path.sock"),
        ("endpoints: {1: 'unix://m.sock'}", 20, "endpoints.1: expected http(s)://host:port or unix:///path.sock, the path being absolute"),
        ("endpoints: {1: http://u:p@m:1}", 20, "endpoints.1: expected http(s)://host:port or unix:///path.sock, without user and password"),
        ("endpoints: {one: http://m:1}", 17, "endpoints.one: expected a version number as the key, such as 1, not 'one'"),
        ("assign_by: x-user-id", 16, "assign_by: expected header:NAME, query:NAME, cookie:NAME or path:N (a segment), such "
         "as header:x-user-id, not 'x-user-id'"),
        ("request_id: header:a b", 17, "request_id: expected header:NAME, such as header:x-user-id, not 'header:a b'"),
        ("split: {challenger: 100}", 25, "split.challenger: expected at most 99 percent: without a champion there is "
         "nothing to compare with"),
        ("endpoint: http://other-v{version}:1", 5, "endpoint: expected each key once; it stands in line 4 already"),
    ],
)  # fmt: skip
def test_errors_within_a_model(tmp_path, line, column, problem):
    assert problems(tmp_path, f"{HEAD}    {line}\n") == [f"titleshot.yaml:5:{column}: models.m.{problem}"]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://m:1", "expected {version} in it: every version has a model server of its own"),
        ("http://{model}-v{version}:1", "expected no placeholders but {name} and {version}, not {model}"),
        (
            "http://{name.__class__}-{version}:1",
            "expected no placeholders but {name} and {version}, not {name.__class__}",
        ),
        ("http://m-v{version:08d}:1", "expected no placeholders but {name} and {version}, not {version}"),
        ("http://m-v{version!r}:1", "expected no placeholders but {name} and {version}, not {version}"),
        ("http://m-v{version:1", "expected each { with its }; only {name} and {version} may be used"),
        ("//m-v{version}:1", "expected http(s)://host:port or unix:///path.sock"),
        ("http:///v{version}", "expected http(s)://host:port or unix:///path.sock"),
        ("http://m-v{version}:99999", "expected http(s)://host:port or unix:///path.sock, with a port from 1 to 65535"),
        (
            "http://m-v{version}:1/?a=b",
            "expected http(s)://host:port or unix:///path.sock, perhaps with a base path, and nothing after it",
        ),
        (
            "http://m-v{version}:1/a b",
            "expected http(s)://host:port or unix:///path.sock, perhaps with a base path, and nothing after it",
        ),
    ],
)
def test_endpoint_templates(tmp_path, endpoint, expected):
    text = f'registry: r\nmodels:\n  m:\n    endpoint: "{endpoint}"\n'
    assert problems(tmp_path, text) == [f"titleshot.yaml:4:15: models.m.endpoint: {expected}"]


def test_a_name_that_makes_no_url_with_the_template(tmp_path):
    text = "registry: r\nmodels:\n  _m:\n    endpoint: http://{name}-v{version}:1\n"
    assert problems(tmp_path, text) == [
        "titleshot.yaml:4:15: models._m.endpoint: expected http(s)://host:port or unix:///path.sock"
    ]


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("listne: 0.0.0.0:80", 1, "listne: unknown key; did you mean 'listen'?"),
        ("listen: 8080", 9, "listen: expected host:port, such as 127.0.0.1:9901, not 8080"),
        ("listen: 127.0.0.1", 9, "listen: expected host:port, such as 127.0.0.1:9901, not '127.0.0.1'"),
        ("listen: 127.0.0.1:70000", 9, "listen: expected host:port, such as 127.0.0.1:9901, not '127.0.0.1:70000'"),
        ("listen: 300.0.0.1:80", 9, "listen: expected host:port with a legal address, such as 127.0.0.1:9901 or "
         "[::1]:9901, not '300.0.0.1:80'"),
        ("admin: 0.0.0.0:9901", 8, "admin: expected tokens (a file made with `titleshot token`) for an admin port that "
         "other machines reach; 0.0.0.0 is no loopback address"),
        ("ledger: postgresql://u:p@db/x", 9, "ledger: PostgreSQL: not yet; expected sqlite:///FILE"),
        ("ledger: titleshot.db", 9, "ledger: expected sqlite:///FILE"),
        ("workers: 0", 10, "workers: expected an integer of at least 1, not 0"),
        ("workers: true", 10, "workers: expected an integer of at least 1, not true"),
        ("poll: 1", 7, "poll: expected a duration with its unit, such as 1s or 1m, not a bare number"),
        ("poll: 50ms", 7, "poll: expected at least 100ms"),
        ("admin_hosts: example.org", 14, "admin_hosts: expected a list, not 'example.org'"),
        ("admin_hosts: [1]", 15, "admin_hosts[0]: expected text, not 1"),
        ("limits: {max_body: 64MB}", 20, "limits.max_body: expected a size such as 64KiB or 1MiB (B, KiB, MiB, GiB), "
         "not '64MB'"),
        ("limits: {max_body: 64}", 20, "limits.max_body: expected a size with its unit, such as 64KiB, not a bare number"),
        ("limits: {mirror_slot: 4}", 10, "limits.mirror_slot: unknown key; did you mean 'mirror_slots'?"),
        ("state:", 7, "state: expected a value; leave the key out for its default, or write {} for an empty mapping"),
    ],
)  # fmt: skip
def test_errors_at_the_top(tmp_path, line, column, problem):
    assert problems(tmp_path, f"{HEAD}{line}\n") == [f"titleshot.yaml:5:{column}: {problem}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1:1: expected a mapping with admin, admin_hosts, grpc, ledger, limits, listen, models, notify, poll, prometheus, registry, route_by, state, "
         "tls, tokens, tracing, webhooks, workers"),
        ("- a\n", ":1:1: expected a mapping with admin, admin_hosts, grpc, ledger, limits, listen, models, notify, poll, prometheus, registry, "
         "route_by, state, tls, tokens, tracing, webhooks, workers"),
        ("a: [1\nb: 2\n", ":2:2: expected YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ("a: 1\n\tb: 2\n", ":2:1: expected YAML: while scanning for the next token, found character '\\t' that cannot "
         "start any token"),
        ("a: *nowhere\n", ":1:4: expected YAML: found undefined alias 'nowhere'"),
        ("registry: r\nmodels: {}\n", ":2:9: models: expected at least one model"),
        ("registry: r\nmodels: []\n", ":2:9: models: expected a mapping, not a list"),
        ("registry: r\n", ":1:1: models: expected a value, found nothing"),
        ("registry: r\nmodels:\n  m: {}\n", ":3:3: models.m.endpoint: expected endpoint (a template) or endpoints (one "
         "URL by version)"),
        ("registry: r\nmodels:\n  ../x: {endpoint: 'http://m-v{version}:1'}\n", ":3:3: models.../x: expected a model "
         "name of 1 to 64 letters, digits, '.', '_' or '-': it becomes a path and a label"),
        ("registry: r\nmodels:\n  ..: {endpoint: 'http://m-v{version}:1'}\n", ":3:3: models...: expected a model "
         "name of 1 to 64 letters, digits, '.', '_' or '-': it becomes a path and a label"),
        ("a: 1\n---\nb: 2\n", ":2:1: expected YAML: expected a single document in the stream, but found another document"),
    ],
)  # fmt: skip
def test_whole_files(tmp_path, text, expected):
    assert problems(tmp_path, text) == [f"titleshot.yaml{expected}"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match=r"titleshot.yaml:1:1: cannot be read: No such file or directory"):
        load_settings(tmp_path / "titleshot.yaml")


def test_a_file_that_is_not_utf_8(tmp_path):
    (tmp_path / "titleshot.yaml").write_bytes(b"registry: r\nmodels: \xff\n")
    with pytest.raises(SettingsError, match=r"titleshot.yaml:2:1: expected UTF-8 text"):
        load_settings(tmp_path / "titleshot.yaml")


def test_all_problems_at_once(tmp_path):
    text = """\
registry: ""
listen: nowhere
wrokers: 2
models:
  late-arrival:
    endpoint: http://late-v{version}:8080
    rollout:
      - shadow: 100
        for: 24
      - canary: 0
      - canary: 50
        fro: 1h
    guardrails:
      p99_latency: {margin: 10}
    alpha: high
  on time:
    endpoint: http://{nmae}:1
"""
    assert problems(tmp_path, text) == [
        "titleshot.yaml:1:11: registry: expected text, not ''",
        "titleshot.yaml:2:9: listen: expected host:port, such as 127.0.0.1:9901, not 'nowhere'",
        "titleshot.yaml:3:1: wrokers: unknown key; did you mean 'workers'?",
        "titleshot.yaml:9:14: models.late-arrival.rollout[0].for: expected a duration with its unit, such as 24s or "
        "24m, not a bare number",
        "titleshot.yaml:10:17: models.late-arrival.rollout[1].canary: expected an integer percent from 1 to 100, such "
        "as 10, not 0",
        "titleshot.yaml:12:9: models.late-arrival.rollout[2].fro: unknown key; did you mean 'for'?",
        "titleshot.yaml:14:29: models.late-arrival.guardrails.p99_latency.margin: expected a percentage of the "
        "champion's, such as 10%, not 10",
        "titleshot.yaml:15:12: models.late-arrival.alpha: expected a number, not 'high'",
        "titleshot.yaml:16:3: models.on time: expected a model name of 1 to 64 letters, digits, '.', '_' or '-': it "
        "becomes a path and a label",
        "titleshot.yaml:17:15: models.on time.endpoint: expected no placeholders but {name} and {version}, not {nmae}",
    ]


def test_errors_in_a_policy_file_stand_in_that_file(tmp_path):
    (tmp_path / "strict.yaml").write_text(
        "alpha: 0.05\nrollout:\n  - canary: 500\nendpoint: http://evil-v{version}:1\n"
    )
    text = HEAD + "    policy: strict.yaml\n    alpha: 0.01\n"
    assert problems(tmp_path, text) == [
        "strict.yaml:3:13: models.m.rollout[0].canary: expected an integer percent from 1 to 100, such as 10, not 500",
        "strict.yaml:4:1: endpoint: unknown key; expected one of alpha, checks, confirm_promote, confirm_start, gate, "
        "guardrails, judge, on_rollback, predicts, restraint, rollout, staging",
        "titleshot.yaml:6:5: models.m.alpha: expected either alpha here or policy: FILE",
    ]


def test_a_policy_file_that_is_not_there(tmp_path):
    assert problems(tmp_path, HEAD + "    policy: none.yaml\n") == [
        "titleshot.yaml:5:13: models.m.policy: none.yaml: cannot be read: No such file or directory"
    ]


def test_a_policy_of_its_own_has_marks_too(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("gate: off\nguardrails: {error_rate: {margin: 1%}}\n")
    with pytest.raises(SettingsError) as caught:
        load_policy(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.where) == (2, 35, "guardrails.error_rate.margin")


def test_split_or_rollout(tmp_path):
    text = HEAD + "    split: {challenger: 20}\n    rollout: [{shadow: 1}]\n"
    assert problems(tmp_path, text) == ["titleshot.yaml:5:12: models.m.split: expected either split or rollout"]
