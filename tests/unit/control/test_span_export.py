"""Spans on their way to the collector: bounded, counted, and the failing ones told of once a minute."""

import asyncio
import logging
import subprocess
import sys

import msgspec
import pytest
from collector import Collector, values
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from comparator.events import Outcome, Role
from router.control import tracing
from router.control.metric_table import BOUNDS
from router.control.metrics import Metrics
from router.control.tracing import BATCH, COMPLAINT_SECONDS, MOST_WAITING, Tracing
from router.link.messages import Span, Spans
from router.settings.tracing import TracingSettings

SPAN = Span(
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="00f067aa0ba902b7",
    parent_id="b7ad6b7169203331",
    flags=1,
    exchange=True,
    began=1000.0,
    seconds=0.0012,
    method="POST",
    path="/invocations",
    model="m",
    request_id="id",
    role=0,
    outcome=0,
    recorded=True,
)


def counts(metrics):
    return {outcome: metrics._spans[outcome] for outcome in ("exported", "failed", "dropped")}


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def test_what_finds_no_room_is_dropped_and_counted(metrics):
    kept = Tracing(lambda: None, metrics)
    for _ in range(MOST_WAITING // 512 + 1):
        kept.take(Spans((SPAN,) * 512, 3))
    assert counts(metrics)["dropped"] == 512 + 3 * (MOST_WAITING // 512 + 1)


def test_at_the_end_what_waits_is_exported_in_batches(metrics, collector):
    async def road():
        made = Tracing(lambda: TracingSettings(endpoint=collector.url), metrics)
        made.take(Spans((SPAN,) * (BATCH + 1), 0))
        await made.close()

    asyncio.run(road())
    assert counts(metrics) == {"exported": BATCH + 1, "failed": 0, "dropped": 0}
    assert len(collector.resources) == 2
    span = collector.spans[0]
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (
        SPAN.trace_id,
        SPAN.span_id,
        SPAN.parent_id,
    )
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1000 * 10**9, 1000 * 10**9 + 1_200_000)
    assert values(span.attributes)["titleshot.model"] == "m"


@pytest.mark.parametrize("path", ["", "/otlp", "/v1/traces"])
def test_the_path_of_traces_is_added_once(metrics, collector, path):
    async def road():
        made = Tracing(lambda: TracingSettings(endpoint=collector.url + path), metrics)
        made.take(Spans((SPAN,), 0))
        await made.close()

    asyncio.run(road())
    assert counts(metrics)["failed" if path == "/otlp" else "exported"] == 1


def test_the_service_is_named_by_the_settings_or_the_environment(metrics, collector, monkeypatch):
    async def exported(settings):
        made = Tracing(lambda: settings, metrics)
        made.take(Spans((SPAN,), 0))
        await made.close()
        return collector.resources[-1]["service.name"]

    async def road():
        named = [await exported(TracingSettings(endpoint=collector.url))]
        monkeypatch.setenv("OTEL_SERVICE_NAME", "from-outside")
        named.append(await exported(TracingSettings(endpoint=collector.url)))
        named.append(await exported(TracingSettings(endpoint=collector.url, service_name="own")))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        named.append(await exported(TracingSettings()))
        return named

    assert asyncio.run(road()) == ["titleshot", "from-outside", "own", "from-outside"]


def test_failures_are_counted_and_told_once_a_minute(metrics, collector, caplog, monkeypatch):
    collector.status = 403

    async def road():
        made = Tracing(lambda: TracingSettings(endpoint=collector.url), metrics)
        for _ in range(3):
            made.take(Spans((SPAN,) * 2, 0))
            await made._export()
        monkeypatch.setattr(made, "_complained", made._complained - COMPLAINT_SECONDS)
        made.take(Spans((SPAN,), 0))
        await made._export()

    with caplog.at_level(logging.WARNING):
        asyncio.run(road())
    assert counts(metrics) == {"exported": 0, "failed": 7, "dropped": 0}
    said = [record.getMessage() for record in caplog.records if record.name == tracing.__name__]
    assert said == [f"tracing: the collector did not take {count} spans: its answer was 403" for count in (2, 5)]


def test_switched_off_what_waits_is_dropped(metrics):
    async def road():
        made = Tracing(lambda: None, metrics)
        made.take(Spans((SPAN,) * 2, 0))
        await made.close()

    asyncio.run(road())
    assert counts(metrics) == {"exported": 0, "failed": 0, "dropped": 2}


def test_an_exporter_that_cannot_be_made_is_a_failure_and_no_more(metrics, monkeypatch, collector):
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "no-such-provider")

    async def road():
        made = Tracing(lambda: TracingSettings(endpoint=collector.url), metrics)
        made.take(Spans((SPAN,), 0))
        await made.close()

    asyncio.run(road())
    assert counts(metrics)["failed"] == 1


def durations(metrics):
    body, _ = metrics.expose("application/openmetrics-text;version=1.0.0")
    families = text_string_to_metric_families(body.decode())
    (found,) = [family for family in families if family.name == "titleshot_request_duration_seconds"]
    return {
        (sample.labels["role"], sample.labels["le"]): sample.exemplar
        for sample in found.samples
        if sample.exemplar is not None
    }


def test_exemplars_are_the_latest_of_each_bucket_and_role_and_only_of_what_is_counted(metrics):
    from judged_model import observations

    metrics.add_model("m")
    rows = [
        {"outcome": Outcome.OK, "role": role, "latency": latency}
        for role in (Role.CHAMPION, Role.CHALLENGER)
        for latency in (0.0012, 0.003)
    ]
    metrics.observe("m", observations(rows))
    kept = Tracing(lambda: None, metrics)
    kept.take(
        Spans(
            (
                SPAN,
                msgspec.structs.replace(SPAN, span_id="1" * 16),
                msgspec.structs.replace(SPAN, span_id="2" * 16, role=1, seconds=0.003),
                msgspec.structs.replace(SPAN, span_id="3" * 16, outcome=int(Outcome.BROKEN)),
                msgspec.structs.replace(SPAN, span_id="4" * 16, recorded=False),
                msgspec.structs.replace(SPAN, span_id="5" * 16, seconds=9.0),  # its row has not come yet
                msgspec.structs.replace(SPAN, span_id="6" * 16, model="unknown"),
            )
        )
    )
    found = {key: exemplar.labels["span_id"] for key, exemplar in durations(metrics).items()}
    bucket = {seconds: str(min(bound for bound in BOUNDS if bound >= seconds)) for seconds in (SPAN.seconds, 0.003)}
    assert found == {("champion", bucket[SPAN.seconds]): "1" * 16, ("challenger", bucket[0.003]): "2" * 16}
    assert b"trace_id" not in metrics.expose("text/plain")[0]


def test_without_tracing_the_exporter_is_never_imported():
    call = (
        "import sys, router.control.plane; print([name for name in sys.modules if name.startswith("
        "('opentelemetry.exporter', 'router.control.otlp'))])"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not hasattr(tracing, "Otlp")
