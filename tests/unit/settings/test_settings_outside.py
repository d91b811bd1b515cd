"""What a policy asks of others, and where they are: that stands in the settings, and nowhere else."""

import pytest

from comparator.outside import Check
from router.settings import SettingsError, load_policy, load_settings

HEAD = """\
registry: r
{top}
models:
  m:
    endpoint: http://m-v{{version}}:1
"""
PROMETHEUS = 'prometheus: {url: "http://prom:9090"}'


def loaded(folder, body, top=PROMETHEUS):
    path = folder / "titleshot.yaml"
    path.write_text(HEAD.format(top=top) + body)
    return load_settings(path)


def problems(folder, body, top=PROMETHEUS):
    with pytest.raises(SettingsError) as error:
        loaded(folder, body, top)
    return [f"{each.line}: {each.where}: {each.expected}" for each in error.value.problems]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("    checks: {q: {query: up, at_most: 1, at_leas: 2}}",
         "6: models.m.checks.q.at_leas: unknown key; did you mean 'at_least'?"),
        ("    checks: {q: {query: up, worse_by: 20}}",
         "6: models.m.checks.q.worse_by: expected a percentage of the champion's, such as 10%, not 20"),
        ("    checks: {q: {query: up, worse_by: 20%}}",
         "6: models.m.checks.q.query: expected {role} or {version} in it: both versions would have the same figure"),
        ("    checks: {q: {query: up}}",
         "6: models.m.checks.q.query: expected exactly one of worse_by, at_most and at_least beside it"),
        ("    checks: {q: {query: up, at_most: 1, every: 100ms}}",
         "6: models.m.checks.q.every: expected 1s to 1d, not 0.1 seconds"),
        ("    checks: {q: {query: up, at_most: 1, for: 1000}}",
         "6: models.m.checks.q.for: expected 1 to 100 results, not 1000"),
        ("    checks: {Queue: {query: up, at_most: 1}}",
         "6: models.m.checks.Queue: expected a name such as queue_time: 1 to 63 of a-z, 0-9 and _, a letter first"),
        ("    checks: {operator: {query: up, at_most: 1}}",
         "6: models.m.checks.operator: expected a name such as queue_time (a-z, 0-9 and _), not operator"),
        ("    checks: {error_rate: {query: up, at_most: 1}}",
         "6: models.m.checks.error_rate: expected another name: a guardrail is called so"),
        ("    checks: {q: {at_most: 1}}", "6: models.m.checks.q.query: expected either query or figure"),
        ("    checks: {q: {figure: skewed_features, at_most: 0}}",
         "6: models.m.checks.q.figure: expected skew: {...} in the model's settings, which measures it"),
        ("    checks: {q: {figure: skewed_features, worse_by: 10%}}\n    skew: {}",
         "6: models.m.checks.q.worse_by: expected at_most: the fewer features, the better"),
        ("    checks: {q: {figure: skewed_features, at_least: 0}}\n    skew: {}",
         "6: models.m.checks.q.at_least: expected at_most: the fewer features, the better"),
        ("    confirm_start: [desk]",
         "6: models.m.confirm_start[0]: expected a webhook that the settings name (there are none), not 'desk'"),
        ("    on_rollback: [a, a]", "6: models.m.on_rollback: expected at most 5 webhooks, each once"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_what_is_asked(tmp_path, body, expected):
    assert problems(tmp_path, body) == [expected]


def test_a_figure_of_our_own_needs_nobody_to_ask(tmp_path):
    body = "    skew: {}\n    checks: {q: {figure: skewed_features, at_most: 0, then: hold}}"
    (check,) = loaded(tmp_path, body, top="").models["m"].policy().outside.checks
    assert check == Check("q", figure="skewed_features", at_most=0.0, holds=True)


def test_checks_need_somebody_to_ask(tmp_path):
    body = "    checks: {q: {query: up, at_most: 1}}"
    assert problems(tmp_path, body, "poll: 1s") == [
        "6: models.m.checks: expected prometheus: {url: ...} in the settings, to ask"
    ]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ('prometheus: {url: "http://me:secret@prom:9090"}',
         "2: prometheus.url: expected http(s)://host:port, perhaps with a base path, without user and password"),
        ('prometheus: {url: "unix:///run/prom.sock"}',
         "2: prometheus.url: expected http(s)://host:port, perhaps with a base path, without user and password"),
        ('prometheus: {url: "http://p:1", timeout: 2m}',
         "2: prometheus.timeout: expected more than 0s and at most 60s"),
        ('prometheus: {url: "http://p:1", token_file: none}',
         "2: prometheus.token_file: expected a file with a secret: {folder}/none: No such file or directory"),
        ('prometheus: {url: "http://p:1", token_file: empty}',
         "2: prometheus.token_file: expected a secret of at least 1 bytes in {folder}/empty"),
        ('webhooks: {desk: {url: "https://desk/x", secret_file: short}}',
         "2: webhooks.desk.secret_file: expected a secret of at least 16 bytes in {folder}/short"),
        ('prometheus: {url: "http://p:1", token_file: long, authorization_file: long}',
         "2: prometheus.token_file: expected either token_file or authorization_file"),
        ('webhooks: {desk: {url: "ftp://desk/secret"}}',
         "2: webhooks.desk.url: expected http(s)://host:port/path, perhaps with a query, without user and password"),
        ('webhooks: {desk: {url: "https://me:pass@desk/x"}}',
         "2: webhooks.desk.url: expected http(s)://host:port/path, perhaps with a query, without user and password"),
        ('webhooks: {Desk: {url: "https://desk/x"}}',
         "2: webhooks.Desk: expected a name such as queue_time: 1 to 63 of a-z, 0-9 and _, a letter first"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_where_it_is_asked(tmp_path, top, expected):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "long").write_text("0123456789abcdef\n")
    assert problems(tmp_path, "", top) == [expected.replace("{folder}", str(tmp_path))]


def test_a_policy_file_names_checks_and_webhooks_but_no_address(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("checks: {q: {query: up, at_most: 1}}\nconfirm_promote: [desk]\nprometheus: {url: http://evil}\n")
    with pytest.raises(SettingsError, match="prometheus: unknown key"):
        load_policy(path)
    path.write_text("checks: {q: {query: up, at_most: 1}}\nconfirm_promote: [desk]\n")
    policy = load_policy(path)
    assert policy.outside.checks == (Check("q", "up", at_most=1.0),)
    webhooks = PROMETHEUS + '\nwebhooks: {desk: {url: "http://127.0.0.1:1/x"}}'
    settings = loaded(tmp_path, "    policy: policy.yaml", webhooks)
    assert settings.models["m"].policy().digest == policy.digest
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, "    policy: policy.yaml")
    (problem,) = error.value.problems
    assert problem.file.endswith("policy.yaml")
    assert problem.expected == "expected a webhook that the settings name (there are none), not 'desk'"


def test_an_address_of_a_webhook_is_in_no_text(tmp_path):
    settings = loaded(tmp_path, "", 'webhooks: {desk: {url: "https://desk/hooks/T0P"}}')
    assert "T0P" not in repr(settings)
