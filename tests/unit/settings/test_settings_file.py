from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from comparator.outside import Check, Outside
from comparator.policy import DEFAULT_GUARDRAILS, DEFAULT_STEPS, Gate, Guardrail, Metric, Policy, SignOff, StepKind
from comparator.restraint import FreezeWindow, Restraint, Then
from comparator.staging import Staging
from router.link.endpoint import Tls
from router.link.messages import Limits
from router.protocols.coding import Coding, Predicts
from router.settings import SettingsError, is_loopback, load_policy, load_settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "titleshot.example.yaml"

SMALL = """\
registry: sqlite:///mlflow.db
models:
  late-arrival:
    endpoint: http://{name}-v{version}:8080
"""


def written(directory, text, name="titleshot.yaml"):
    path = directory / name
    path.write_text(text)
    return path


def problems(path):
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    directory = f"{path.parent}/"
    return [str(problem).replace(directory, "") for problem in caught.value.problems]


def test_the_documented_freeze_is_from_friday_afternoon_to_monday_morning_without_a_gap(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    (block,) = [each for each in text.split("```") if each.startswith("yaml\nrestraint:")]
    freeze = load_policy(written(tmp_path, block.removeprefix("yaml\n"), "policy.yaml")).restraint.freeze
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 11, 27, tzinfo=berlin)
    hours = [friday + timedelta(hours=hour) for hour in range(7 * 24)]
    frozen = [hour for hour in hours if any(window.until(hour.timestamp()) is not None for window in freeze)]
    assert frozen == [friday + timedelta(hours=hour) for hour in range(16, 3 * 24 + 8)]


def test_the_example_file_is_valid():
    settings = load_settings(EXAMPLE)
    model = settings.models["late-arrival"]
    assert model.policy() == Policy()
    assert model.endpoint_of(7) == "http://late-arrival-v7:8080"
    assert (model.assign_by, model.request_id, model.positive, model.protocol) == (
        "header:x-user-id",
        None,
        1.0,
        "mlflow",
    )
    assert (settings.listen.host, settings.listen.port, str(settings.admin)) == ("0.0.0.0", 8080, "127.0.0.1:9901")
    assert settings.ledger == "sqlite:///titleshot.db"
    assert settings.state == EXAMPLE.parent / ".titleshot"


def test_what_is_left_out_has_its_default(tmp_path):
    settings = load_settings(written(tmp_path, SMALL))
    model = settings.models["late-arrival"]
    assert model.policy() == Policy(steps=DEFAULT_STEPS, guardrails=DEFAULT_GUARDRAILS)
    assert model.registered_model == "late-arrival"
    assert settings.limits == Limits()
    assert settings.ledger == f"sqlite:///{tmp_path / '.titleshot' / 'ledger.db'}"
    assert (settings.workers, settings.poll_seconds, settings.tokens_path) == (1, 1.0, None)


def test_every_option(tmp_path):
    text = """\
registry: http://mlflow:5000
listen: "[::]:8080"
admin: 0.0.0.0:9901
admin_hosts: [router.example.org]
tokens: tokens.yaml
ledger: sqlite:////var/lib/titleshot.db
state: state
workers: 4
poll: 2s
prometheus: {url: "http://prometheus:9090/base/", token_file: prometheus.token, timeout: 3s}
webhooks:
  desk: {url: "https://desk.example/hooks/titleshot?key=1", secret_file: desk.secret, timeout: 4s}
limits:
  connect: 500ms
  first_byte: 20s
  answer_idle: 20s
  total: 30s
  mirror: 5s
  idle: 3s
  client_idle: 1m
  client_header: 5s
  client_body: 5s
  max_header: 16KiB
  max_header_count: 64
  max_body: 8MiB
  max_connections: 100
  upstream_connections: 10
  mirror_slots: 8
  mirror_body: 512KiB
  mirror_bytes: 8MiB
  breaker_wait: 5s
  scan: 256KiB
  extract: 32KiB
  record_rows: 1000
models:
  late.arrival_2:
    protocol: mlflow
    endpoints: {1: http://127.0.0.1:5001/, 2: "http://[::1]:5002/base"}
    positive: 2
    assign_by: header:X-User-Id
    request_id: header:X-Request-Id
    mirror_credentials: true
    mirror_order: random
    tls: {server_name: models.internal}
    registered_model: Late Arrival
    gate: off
    rollout:
      - {shadow: 50, for: 1h30m, within: 3d, at_deadline: abort}
      - {canary: 5}
      - promote: {}
      - {watch: 10m, percent: 20}
    guardrails:
      precision: {margin: 3 points}
      p50_latency: {margin: 20 %}
      p99_9_latency: {margin: 50%}
      error_rate: {margin: 1 point}
    alpha: 0.01
    checks:
      queue_time: {query: 'q{role="{role}"}', worse_by: 20%, every: 10s, for: 2}
      revenue: {query: 'r{v="{version}"}', worse_by: 5%, better: higher}
      depth: {query: max(depth), at_most: 0.5}
      free: {query: min(free), at_least: -1}
    confirm_start: [desk]
    confirm_promote: [desk]
    on_rollback: [desk]
    staging:
      minimum: {precision: 0.7, recall: 0.5}
      reproduce_tolerance: 0.02
      min_rows: 1000
      rate: 50
      requests: 300
      p50: 20ms
      p99: 100ms
    restraint:
      warm_up: {for: 30s, answers: 100}
      cool_down: 10m
      max_rollbacks_per_day: 3
      freeze:
        - {days: [fri, sat], from: "16:00", to: "08:30", timezone: Europe/Berlin}
      no_data: {after: 1h, then: abort}
    judge:
      bucket: 1s
      bucket_min_answers: 5
      incident_buckets: 6
      min_buckets: 4
      min_answers: 50
      min_labelled_positives: 20
      block_requests: 4
      restart: 1m
      tau_window: 30s
      tau_lag: 0s
      coverage: 40
      shed: 5
      split_alpha: 0.01
      label_grace: 5m
      label_retention: 1d
"""
    for name in ("prometheus.token", "desk.secret"):
        (tmp_path / name).write_text("0123456789abcdef\n")
    settings = load_settings(written(tmp_path, text))
    prometheus, desk = settings.prometheus, settings.webhooks["desk"]
    assert (prometheus.url, prometheus.timeout) == ("http://prometheus:9090/base", 3.0)
    assert prometheus.token_file == str(tmp_path / "prometheus.token")
    assert (desk.url, desk.timeout) == ("https://desk.example/hooks/titleshot?key=1", 4.0)
    assert desk.secret_file == str(tmp_path / "desk.secret")
    assert settings.tokens_path == tmp_path / "tokens.yaml"
    assert settings.state == tmp_path / "state"
    assert (settings.listen.host, settings.admin_hosts) == ("::", ("router.example.org",))
    limits = settings.limits
    assert all(
        value != getattr(Limits(), name) for name in Limits.__struct_fields__ if (value := getattr(limits, name))
    )
    model = settings.models["late.arrival_2"]
    assert model.registered_model == "Late Arrival"
    assert (model.mirror_credentials, model.mirror_order) == (True, "random")
    assert model.tls == Tls(server_name="models.internal")
    assert settings.listen_tls is None
    assert (model.endpoint_of(1), model.endpoint_of(2)) == ("http://127.0.0.1:5001", "http://[::1]:5002/base")
    assert model.endpoint_of(3) is None
    assert (model.assign_by, model.request_id, model.positive) == ("header:x-user-id", "header:x-request-id", 2.0)
    policy = model.policy()
    assert policy.gate is Gate.OFF
    assert policy.outside == Outside(
        (
            Check("queue_time", 'q{role="{role}"}', worse_by=0.2, every_seconds=10.0, results=2),
            Check("revenue", 'r{v="{version}"}', worse_by=0.05, higher_is_better=True),
            Check("depth", "max(depth)", at_most=0.5),
            Check("free", "min(free)", at_least=-1.0),
        ),
        ("desk",),
        ("desk",),
        ("desk",),
    )
    assert policy.restraint == Restraint(
        30.0, 100, 600.0, 3, (FreezeWindow((4, 5), 57_600.0, 30_600.0, "Europe/Berlin"),), 3600.0, Then.ABORT
    )
    assert policy.staging == Staging((("precision", 0.7), ("recall", 0.5)), 0.02, 1000, 50.0, 300, 0.02, 0.1)
    assert (policy.steps[0].within_seconds, policy.steps[0].at_deadline) == (259_200.0, Then.ABORT)
    assert [(step.kind.value, step.percent, step.min_seconds) for step in policy.steps] == [
        ("shadow", 50, 5400.0),
        ("canary", 5, 0.0),
        ("promote", 100, 0.0),
        ("watch", 20, 600.0),
    ]
    assert [rail.name for rail in policy.guardrails] == ["precision", "p50_latency", "p99_9_latency", "error_rate"]
    assert policy.guardrail(Metric.LATENCY).margin == 0.2
    defaults = asdict(Policy())
    told = [name for name, value in asdict(policy).items() if value == defaults[name]]
    assert told == ["multiclass"]  # beside a precision of the positive class: see test_settings_predicted


def test_a_template_fills_in_for_versions_that_the_map_does_not_name(tmp_path):
    text = SMALL + "    endpoints: {3: http://three:1}\n"
    model = load_settings(written(tmp_path, text)).models["late-arrival"]
    assert (model.endpoint_of(3), model.endpoint_of(4)) == ("http://three:1", "http://late-arrival-v4:8080")


def test_a_manual_split_never_promotes(tmp_path):
    policy = load_settings(written(tmp_path, SMALL + "    split: {challenger: 20}\n")).models["late-arrival"].policy()
    assert [(step.kind, step.percent) for step in policy.steps] == [(StepKind.CANARY, 20)]
    assert not policy.promotes


def test_the_order_of_latency_guardrails_does_not_change_the_digest(tmp_path):
    rails = ["p50_latency: {margin: 10%}", "p99_latency: {margin: 10%}"]
    digests = {
        load_settings(written(tmp_path, f"{SMALL}    guardrails: {{{', '.join(order)}}}\n"))
        .models["late-arrival"]
        .policy()
        .digest
        for order in (rails, rails[::-1])
    }
    assert len(digests) == 1


def test_a_policy_file_is_the_same_as_the_inline_policy(tmp_path):
    inline = SMALL + "    alpha: 0.01\n    rollout: [{shadow: 100}, {promote: {}}]\n"
    (tmp_path / "policies").mkdir()
    written(tmp_path, "alpha: 0.01\nrollout: [{shadow: 100}, {promote: {}}]\n", "policies/strict.yaml")
    main = written(tmp_path, SMALL + "    policy: policies/strict.yaml\n", "with-file.yaml")
    settings = load_settings(main)
    expected = load_settings(written(tmp_path, inline)).models["late-arrival"].policy()
    assert settings.models["late-arrival"].policy() == expected
    assert load_policy(tmp_path / "policies/strict.yaml") == expected
    assert set(settings.files) == {str(main), str(tmp_path / "policies/strict.yaml")}


def test_anchors_and_merges(tmp_path):
    text = """\
registry: sqlite:///mlflow.db
models:
  a: &base
    endpoint: http://a-v{version}:1
    guardrails: &rails {error_rate: {margin: 1 points}}
  b:
    <<: *base
    endpoint: http://b-v{version}:1
  c: {endpoint: "http://c-v{version}:1", guardrails: *rails}
"""
    models = load_settings(written(tmp_path, text)).models
    assert models["b"].endpoint_of(1) == "http://b-v1:1"
    assert models["a"].policy() == models["b"].policy() == models["c"].policy()


def test_an_error_reached_through_a_merge_stands_where_it_was_written(tmp_path):
    text = """\
registry: sqlite:///mlflow.db
models:
  a: &base
    endpoint: http://a-v{version}:1
    alpha: 2
  b:
    <<: *base
"""
    assert problems(written(tmp_path, text)) == [
        "titleshot.yaml:5:12: models.a.alpha: expected more than 0 and at most 0.5, not 2.0",
        "titleshot.yaml:5:12: models.b.alpha: expected more than 0 and at most 0.5, not 2.0",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "\n".join(
            ["a: &a0 [1,1,1,1,1,1,1,1]", *(f"b{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9))]
        ),
        "a: " + "[" * 1200,
        "a: !!python/object/apply:os.system [ls]",
    ],
)
def test_hostile_yaml_ends_in_an_error(tmp_path, text):
    assert problems(written(tmp_path, text))


def test_scalars_are_read_as_yaml_1_2_says(tmp_path):
    model = load_settings(written(tmp_path, SMALL + "    gate: off\n")).models["late-arrival"]
    assert model.gate == "off"
    (found,) = problems(written(tmp_path, SMALL + "    rollout: [{shadow: 1}, {promote: {sign_off: yes}}]\n"))
    assert found.endswith("models.late-arrival.rollout[1].promote.sign_off: expected true or false, not 'yes'")


def test_who_may_sign_off(tmp_path):
    def signed(written_rules):
        steps = f"    rollout: [{{shadow: 1}}, {{promote: {{sign_off: {written_rules}}}}}]\n"
        return load_settings(written(tmp_path, SMALL + steps)).models["late-arrival"].policy()

    ruled = signed("{by: [ben, ann], people: 2, not_registrant: true}")
    assert ruled.sign_off == SignOff(("ann", "ben"), 2, not_registrant=True)
    assert signed("false").sign_off is None
    assert signed("{}") == signed("{people: 1}") == signed("true")  # and so is the digest
    assert len({each.digest for each in (ruled, signed("true"), signed("false"), signed("{people: 2}"))}) == 4


def test_settings_are_frozen_and_keep_secrets_out_of_their_text(tmp_path):
    settings = load_settings(written(tmp_path, SMALL.replace("sqlite:///mlflow.db", "http://user:secret@mlflow:5000")))
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 2
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings)


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("LOCALHOST", True), ("::1", True),
    ("[::1]", True), ("::ffff:127.0.0.1", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("router.example.org", False),
    ("localhost.evil.org", False),
])  # fmt: skip
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


NUMBERS = "    guardrails: {mae: {margin: 2, range: 50}, reward: {margin: 0.1, range: [-1, 1]}}\n"


def test_guardrails_on_numbers_keep_predictions_and_labels_as_numbers(tmp_path):
    model = load_settings(written(tmp_path, SMALL + NUMBERS)).models["late-arrival"]
    assert model.policy().guardrails == (
        Guardrail(Metric.MAE, 2.0, range=(0.0, 50.0)),
        Guardrail(Metric.REWARD, 0.1, range=(-1.0, 1.0)),
    )
    assert (model.coding.predicts, model.coding.label_numbers) == (Predicts.NUMBER, True)


def test_a_reward_keeps_labels_as_numbers_and_predictions_as_classes(tmp_path):
    text = SMALL + "    positive: 3\n    guardrails: {reward: {margin: 0.1, range: [-1, 1]}}\n"
    model = load_settings(written(tmp_path, text)).models["late-arrival"]
    assert model.coding == Coding(positive=3.0, label_numbers=True)


def test_classes_beside_a_reward_have_1_as_positive(tmp_path):
    rails = (
        "    guardrails: {reward: {margin: 0.1, range: [0, 1]}, f1: {margin: 1 point, offline_tolerance: 5 points}}\n"
    )
    model = load_settings(written(tmp_path, SMALL + rails)).models["late-arrival"]
    assert [rail.name for rail in model.policy().guardrails] == ["f1", "reward"]
    assert model.policy().guardrail(Metric.F1).offline_tolerance == 0.05
    with pytest.raises(SettingsError, match="positive: expected positive to be 1, not 2"):
        load_settings(written(tmp_path, f"{SMALL}    positive: 2\n{rails}"))


PROTOCOLS = """\
registry: sqlite:///mlflow.db
models:
  a: {endpoint: "http://a{version}", protocol: open_inference}
  b: {endpoint: "http://b{version}", protocol: open_inference, served_as: late arrival}
  c: {endpoint: "http://c{version}", protocol: kserve_v1, served_as: a}
  d: {endpoint: "http://d{version}", protocol: json, predict_path: /score}
  e: {endpoint: "http://e{version}", protocol: json, ready_path: "/alive?deep=1"}
  f: {endpoint: "http://f{version}"}
"""


def test_where_models_are_ready_and_known_by_which_name(tmp_path):
    models = load_settings(written(tmp_path, PROTOCOLS)).models
    assert {name: model.ready_path for name, model in models.items()} == {
        "a": "/v2/models/a/ready",
        "b": "/v2/models/late%20arrival/ready",
        "c": "/v1/models/a",
        "d": "/health",
        "e": "/alive?deep=1",
        "f": "/ping",
    }
    assert {name: model.served_as for name, model in models.items() if model.served_as != name} == {
        "b": "late arrival",
        "c": "a",
    }
    assert models["d"].predict_path == "/score"


def test_no_two_models_have_one_name_in_the_paths_of_a_protocol(tmp_path):
    assert problems(written(tmp_path, PROTOCOLS.replace("served_as: late arrival", "served_as: a"))) == [
        "titleshot.yaml:4:75: models.b.served_as: expected another name: a is served as a, too"
    ]
