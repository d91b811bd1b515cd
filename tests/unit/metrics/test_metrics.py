import math
import os
from functools import lru_cache

import numpy as np
import pytest
from judged_model import JudgedModel, UnderControl, observations
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from comparator.events import Command, CommandKind, Decision, DecisionKind, Mode, Outcome, Role
from comparator.title import Title
from router.control.metric_family import Kind
from router.control.metric_table import PHASES, REFUSALS, TABLE, TOKENS_USED
from router.control.metrics import Metrics
from router.control.notifier import Line
from router.control.skew.model import ModelSkew
from router.control.skew.trained import Trained
from router.link.messages import Counters
from router.link.overhead import Overhead
from router.protocols.protocol import Asking
from router.protocols.select import protocol
from router.settings.skew import SkewSettings


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    """Every sample of the page, by name and labels."""
    return parsed(metrics.expose("")[0])


@lru_cache(maxsize=4)
def parsed(body: bytes) -> dict[tuple[str, frozenset], float]:
    found = {}
    for family in read_text(body.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def looked_at() -> ModelSkew:
    made = ModelSkew(SkewSettings(), protocol("mlflow").tables(Asking()))
    made.serve({Role.CHAMPION: (1, Trained())})
    return made


def watched(metrics: Metrics, *models: JudgedModel, ready=frozenset({1, 2}), proxies=(0,)) -> dict:
    controlled = {model.name: model.controlled for model in models}
    metrics.watch(
        controlled,
        ready=lambda _: ready,
        proxies=lambda: proxies,
        revision=lambda: 7,
        notifications=lambda: {"chat": Line()},
    )
    metrics.watch_skew(lambda _: looked_at().report(0.0))
    for model in models:
        metrics.add_model(model.name)
    return controlled


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def model(metrics):
    made = JudgedModel(metrics, "late")
    watched(metrics, made)
    return made


def counters(**totals) -> Counters:
    usual = {
        "refused": {}, "shadow_dropped": {}, "rows_dropped": 0, "lost_races": 0, "client_connections": 0,
        "upstream_connections": 0, "revision": 1,
    }  # fmt: skip
    return Counters(**{**usual, **totals})


def in_a_rollout(model: JudgedModel, requests: int = 60) -> None:
    model.aliases()
    model.at += 1
    model.aliases(challenger=2)
    model.requests_of_step(requests, np.random.default_rng(3))
    model.tick(model.at + 1)


def test_all_counters_are_there_from_the_first_scrape(metrics, model):
    names = {name for name, _ in samples(metrics)}
    for family in TABLE:
        if family.kind is Kind.COUNTER and family is not TOKENS_USED:  # of language models only
            assert family.name in names
    assert (
        value(metrics, "titleshot_requests_total", model="late", role="challenger", mode="canary", outcome="timeout")
        == 0
    )
    assert value(metrics, "titleshot_decisions_total", model="late", kind="roll_back", trigger="precision") == 0
    assert value(metrics, "titleshot_decisions_total", model="late", kind="roll_back", trigger="breaker") == 0
    assert value(metrics, "titleshot_refused_requests_total", reason="no_champion") == 0
    assert value(metrics, "titleshot_rollout_phase", model="late", phase="none") == 1
    assert value(metrics, "titleshot_live_precision", model="late", role="champion") is None


def test_series_do_not_multiply_with_traffic(metrics, model):
    in_a_rollout(model)
    before = samples(metrics).keys()
    model.requests_of_step(500, np.random.default_rng(4))
    model.tick(model.at + 1)
    assert samples(metrics).keys() == before


def test_the_page_agrees_with_the_judge(metrics, model):
    in_a_rollout(model)
    title = model.title
    for role, version in (("champion", 1), ("challenger", 2)):
        score = title.scoreboard.score(version)
        assert value(metrics, "titleshot_live_precision", model="late", role=role) == score.precision.value
        assert value(metrics, "titleshot_live_precision_lower", model="late", role=role) == score.precision.lower
        assert value(metrics, "titleshot_live_precision_upper", model="late", role=role) == score.precision.upper
        assert value(metrics, "titleshot_latency_quantile_seconds", model="late", role=role, q="0.99") == score.p99
        for outcome, count in score.labelled.items():
            assert value(metrics, "titleshot_labels_joined_total", model="late", role=role, outcome=outcome) == count
        answers = sum(
            count
            for (name, labels), count in samples(metrics).items()
            if name == "titleshot_requests_total" and ("role", role) in labels
        )
        assert answers == score.answers
    report = title.rollout.report(model.controlled.last_tick)
    assert value(metrics, "titleshot_evidence_combined", model="late") == report.combined_e
    assert value(metrics, "titleshot_evidence_threshold", model="late") == report.threshold
    for guardrail in report.guardrails:
        assert value(metrics, "titleshot_evidence", model="late", guardrail=guardrail.name) == guardrail.harm_e
        now = guardrail.verdict.name.lower()
        assert value(metrics, "titleshot_guardrail_verdict", model="late", guardrail=guardrail.name, verdict=now) == 1
    assert value(metrics, "titleshot_labels_total", model="late", result="matched") == title.pairing.matched
    assert value(metrics, "titleshot_labels_waiting", model="late") == title.pairing.labels_waiting
    assert value(metrics, "titleshot_predictions_waiting", model="late") == title.pairing.predictions_waiting


def test_a_rollout_in_the_shadow(metrics, model):
    in_a_rollout(model)
    page = samples(metrics)
    phases = {
        phase: page["titleshot_rollout_phase", frozenset({("model", "late"), ("phase", phase)})] for phase in PHASES
    }
    assert {phase for phase, on in phases.items() if on} == {"shadow"}
    assert value(metrics, "titleshot_rollout_step", model="late") == 1
    assert value(metrics, "titleshot_rollout_steps", model="late") == 4
    assert value(metrics, "titleshot_traffic_share_ratio", model="late", role="champion") == 1
    assert value(metrics, "titleshot_traffic_share_ratio", model="late", role="challenger") == 0
    assert value(metrics, "titleshot_mirrored_share_ratio", model="late", role="challenger") == 1
    assert value(metrics, "titleshot_version_info", model="late", alias="challenger", version="2") == 1
    assert value(metrics, "titleshot_endpoint_ready", model="late", alias="challenger") == 1
    assert value(metrics, "titleshot_endpoint_ready", model="late", alias="previous") is None
    assert value(metrics, "titleshot_decisions_total", model="late", kind="start", trigger="none") == 1


def test_a_rollback_by_hand_is_told_and_its_evidence_goes(metrics, model):
    in_a_rollout(model)
    model.metrics.breaker("late", 0, "open")
    assert value(metrics, "titleshot_breaker_workers", model="late", state="open") == 1
    (decision,) = model.title.receive(Command(model.at, CommandKind.ROLL_BACK, "alice", "by hand"))
    model.title.receive(decision)
    metrics.decided("late", decision)
    assert value(metrics, "titleshot_decisions_total", model="late", kind="roll_back", trigger="operator") == 1
    assert value(metrics, "titleshot_rollout_phase", model="late", phase="rolling_back") == 1
    assert value(metrics, "titleshot_evidence_combined", model="late") is None
    assert value(metrics, "titleshot_breaker_workers", model="late", state="open") == 0  # a new trial, a new breaker


def test_a_workers_breaker_is_forgotten_with_the_worker(metrics, model):
    in_a_rollout(model)
    metrics.counters(0, counters(shadow_dropped={"late": {"breaker_open": 4}}))
    metrics.breaker("late", 0, "open")
    metrics.breaker("late", 1, "half_open")
    metrics.breaker("late", -1, "open")  # retiring
    assert value(metrics, "titleshot_breaker_workers", model="late", state="open") == 1
    metrics.counters(0, counters())
    assert value(metrics, "titleshot_breaker_workers", model="late", state="open") == 0
    assert value(metrics, "titleshot_breaker_workers", model="late", state="half_open") == 1
    metrics.breaker("late", 1, "closed")
    assert value(metrics, "titleshot_breaker_workers", model="late", state="half_open") == 0


def test_what_a_restart_brings_back_is_not_counted_again(metrics, model):
    in_a_rollout(model)
    again = Metrics()
    model.metrics = again
    watched(again, model)
    assert value(again, "titleshot_labels_total", model="late", result="matched") == 0
    assert value(again, "titleshot_labels_joined_total", model="late", role="champion", outcome="tp") == 0
    precision = model.title.scoreboard.score(1).precision.value
    assert value(again, "titleshot_live_precision", model="late", role="champion") == precision
    before = model.title.pairing.matched
    model.requests_of_step(50, np.random.default_rng(5))
    grown = model.title.pairing.matched - before
    assert value(again, "titleshot_labels_total", model="late", result="matched") == grown > 0


def test_models_join_and_leave_the_page(metrics, model):
    controlled = watched(metrics, model)
    late = {("model", "second")}
    controlled["second"] = UnderControl(Title(model.title.policy))
    metrics.add_model("second")
    assert any(late <= labels for _, labels in samples(metrics))
    del controlled["second"]
    assert not any(late <= labels for _, labels in samples(metrics))


def test_a_workers_totals_count_from_its_first_message(metrics, model):
    metrics.counters(0, counters(refused={"malformed": 900}, rows_dropped=5))
    assert value(metrics, "titleshot_refused_requests_total", reason="malformed") == 0
    metrics.counters(
        0, counters(refused={"malformed": 902}, rows_dropped=6, lost_races=1, client_connections=3, revision=7)
    )
    metrics.counters(1, counters(refused={"malformed": 50}))
    assert value(metrics, "titleshot_refused_requests_total", reason="malformed") == 2
    assert value(metrics, "titleshot_observations_dropped_total", dropped_by="proxy") == 1
    assert value(metrics, "titleshot_lost_races_total") == 1
    metrics.counters(0, counters(refused={"malformed": 1, "upgrade": 4}, client_connections=2))  # began anew
    assert value(metrics, "titleshot_refused_requests_total", reason="malformed") == 3
    assert value(metrics, "titleshot_refused_requests_total", reason="upgrade") == 4
    assert value(metrics, "titleshot_client_connections") == 2  # worker 1 is not linked
    assert value(metrics, "titleshot_proxies_connected") == 1
    assert value(metrics, "titleshot_routes_revision") == 7


def test_retiring_workers_are_left_out(metrics, model):
    for total in (100, 50, 100, 50):
        metrics.counters(-1, counters(refused={"malformed": total}))
    assert value(metrics, "titleshot_refused_requests_total", reason="malformed") == 0


def test_shed_copies_by_reason(metrics, model):
    metrics.counters(0, counters())
    metrics.counters(0, counters(shadow_dropped={"late": {"full": 3, "something_new": 1}}))
    assert value(metrics, "titleshot_shadow_dropped_total", model="late", reason="full") == 3
    assert value(metrics, "titleshot_shadow_dropped_total", model="late", reason="something_new") == 1
    assert value(metrics, "titleshot_shadow_dropped_total", model="late", reason="too_large") == 0


def test_registry_ledger_and_settings(metrics, model):
    assert value(metrics, "titleshot_registry_up", model="late") == 0  # not read yet
    metrics.registry_read("late", 50.0, ok=True)
    metrics.registry_read("late", 60.0, ok=False)
    assert value(metrics, "titleshot_registry_up", model="late") == 0
    assert value(metrics, "titleshot_registry_read_timestamp_seconds", model="late") == 50
    assert value(metrics, "titleshot_registry_errors_total", model="late") == 1
    metrics.ledger(False)
    assert value(metrics, "titleshot_ledger_up") == 0
    assert value(metrics, "titleshot_ledger_errors_total") == 1
    metrics.ledger(True)
    assert value(metrics, "titleshot_ledger_up") == 1
    metrics.reloaded(70.0, ok=True)
    metrics.reloaded(80.0, ok=False)
    assert value(metrics, "titleshot_config_reload_success") == 0
    assert value(metrics, "titleshot_config_reload_timestamp_seconds") == 70
    assert b"\ntitleshot_config_reload_success 0.0\n" in metrics.expose("")[0]


def test_an_awaited_champion_is_told(metrics, model):
    model.aliases()
    assert value(metrics, "titleshot_champion_awaited", model="late") == 0
    model.aliases(champion=9)
    assert value(metrics, "titleshot_champion_awaited", model="late") == 1


def test_observations_lost_here_only_grow(metrics, model):
    for lost, total in ((3, 3), (5, 5), (2, 7)):  # a controller made anew begins at 0
        model.controlled.lost_rows = lost
        assert value(metrics, "titleshot_observations_dropped_total", dropped_by="control") == total


def test_unreadable_answers(metrics, model):
    metrics.unpredicted("late", unreadable=4, unread=2)
    assert value(metrics, "titleshot_unreadable_answers_total", model="late") == 4


def test_the_histogram_adds_up(metrics, model):
    metrics.observe("late", observations([{"latency": 0.0005}, {"latency": 99.0}, {"latency": 0.02}]))
    labels = {"model": "late", "role": "champion"}
    assert value(metrics, "titleshot_request_duration_seconds_count", **labels) == 3
    assert math.isclose(value(metrics, "titleshot_request_duration_seconds_sum", **labels), 99.0205, rel_tol=1e-6)
    assert value(metrics, "titleshot_request_duration_seconds_bucket", le="0.001", **labels) == 1
    assert value(metrics, "titleshot_request_duration_seconds_bucket", le="+Inf", **labels) == 3


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "späte-Ankunft", "{}"])
def test_any_model_name_is_only_ever_a_label_value(metrics, name):
    metrics.add_model(name)
    metrics.observe(name, observations([{"outcome": Outcome.OK, "role": Role.CHAMPION, "mode": Mode.NONE}]))
    assert value(metrics, "titleshot_requests_total", model=name, role="champion", mode="none", outcome="ok") == 1


def test_openmetrics_where_it_is_asked_for(metrics, model):
    in_a_rollout(model)
    body, content_type = metrics.expose("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in read_openmetrics(body.decode())}
    assert families["titleshot_request_duration_seconds"].unit == "seconds"
    assert not [name for name in families if name.endswith("_created")]


def test_every_sample_has_the_labels_of_its_family(metrics, model):
    in_a_rollout(model)
    model.metrics.decided("late", Decision(DecisionKind.ADVANCE, 1.0, 1, 2, "because"))
    metrics.counters(0, counters())
    known = {family.name: family for family in TABLE}
    for name, labels in samples(metrics):
        base = name
        for suffix in ("_bucket", "_count", "_sum"):
            if name.removesuffix(suffix) in known:
                base = name.removesuffix(suffix)
        assert {label for label, _ in labels} - {"le"} == set(known[base].labels)
    assert {name for name, _ in samples(metrics)} & {"titleshot_routes_revision_in_use"}
    assert len(REFUSALS) == len(set(REFUSALS))


def test_the_overhead_is_what_the_proxies_measured_since_we_began(metrics, model):
    kept = Overhead.none()
    kept.add(5.0)
    metrics.counters(0, counters(overhead={"late": kept.copy()}))  # before this process
    kept.add(0.02)
    kept.add(0.00005)
    metrics.counters(0, counters(overhead={"late": kept.copy()}))
    assert value(metrics, "titleshot_overhead_seconds_count", model="late") == 2
    assert math.isclose(value(metrics, "titleshot_overhead_seconds_sum", model="late"), 0.02005)
    assert value(metrics, "titleshot_overhead_seconds_bucket", model="late", le="5.06e-05") == 1
    anew = Overhead.none()
    anew.add(0.001)
    metrics.counters(0, counters(overhead={"late": anew}))  # another process: all of it counts
    assert value(metrics, "titleshot_overhead_seconds_count", model="late") == 3


def test_the_first_byte_is_told_of_good_answers(metrics, model):
    nan = float("nan")
    rows = [
        {"first_byte": 0.02, "latency": 0.5},
        {"first_byte": nan, "latency": 9.0, "outcome": Outcome.TIMEOUT},
        {"first_byte": 0.001, "latency": 0.001, "outcome": Outcome.SERVER_ERROR},
        {"first_byte": 0.02, "row": 1},
    ]
    metrics.observe("late", observations(rows))
    labels = {"model": "late", "role": "champion"}
    assert value(metrics, "titleshot_first_byte_seconds_count", **labels) == 1
    assert math.isclose(value(metrics, "titleshot_first_byte_seconds_sum", **labels), 0.02, rel_tol=1e-6)
    assert value(metrics, "titleshot_request_duration_seconds_count", **labels) == 2


def test_what_the_ledger_does_not_have_yet(metrics, model):
    assert value(metrics, "titleshot_ledger_lag_seconds", model="late") == 0
    metrics.watch(
        {"late": model.controlled}, ready=lambda _: frozenset(), proxies=tuple, revision=int,
        unrecorded=lambda name: (700, 12.5) if name == "late" else (0, 0.0),
    )  # fmt: skip
    assert value(metrics, "titleshot_ledger_lag_seconds", model="late") == 12.5
    assert value(metrics, "titleshot_observations_unrecorded", model="late") == 700


def test_processes_are_told_by_name(metrics, model):
    metrics.watch(
        {}, ready=lambda _: frozenset(), proxies=lambda: [0], revision=int, pids=lambda: {0: os.getppid(), 1: 2**22 + 1}
    )
    names = {dict(labels)["process"] for name, labels in samples(metrics) if name == "titleshot_process_open_fds"}
    assert names == {"control", "proxy-0"}  # worker 1 has just ended
    assert value(metrics, "titleshot_process_cpu_seconds_total", process="control") > 0


def test_refusals_of_the_admin_port_are_counted(metrics, model):
    metrics.access_refused("unauthenticated")
    assert value(metrics, "titleshot_admin_refused_total", reason="unauthenticated") == 1
    assert value(metrics, "titleshot_admin_refused_total", reason="forbidden") == 0
