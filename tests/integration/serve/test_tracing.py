"""Traces of a real titleshot at a real collector: who is whose child, what model servers got, what nobody notices."""

import secrets
import time

import httpx
import pytest
from collector import Collector, values
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from world import MODEL, QUICK_POLICY, QUICK_ROLLOUT, wait_for

SERVER, CLIENT, ERROR = 2, 3, 2  # of opentelemetry-proto
POLICY = QUICK_POLICY + QUICK_ROLLOUT.replace("for: 1s", "for: 10m")


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def traced(world, collector, monkeypatch):
    """Version 2 on trial beside 1, in shadow; only clients say what is traced."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    world.more = f"tracing: {{endpoint: {collector.url!r}, share: 0}}\n"
    world.write_settings(POLICY)
    world.set_alias("champion", 1)
    world.start()
    world.serving(1)
    world.set_alias("challenger", 2)
    wait_for(lambda: world.phase() == "shadow", "version 2 is on trial")
    return world


def ask(world, headers=(), path="/invocations"):
    url = f"http://127.0.0.1:{world.port}{path}"
    rows = {"inputs": [{"truth": 0, "noise": 1.0}]}
    return httpx.post(url, json=rows, headers=dict(headers), timeout=10, trust_env=False)


def seen(stub, answer):
    """The headers with which a model server got the request of this answer, names in lower case."""

    def found():
        asked = [{name.lower(): value for name, value in headers.items()} for headers in list(stub.seen)]
        return [each for each in asked if each.get("x-titleshot-id") == answer.headers["x-titleshot-id"]]

    (headers,) = wait_for(found, "the model server was asked")
    return headers


def page(world, accept):
    return httpx.get(f"{world.admin}/metrics", headers={"accept": accept}, timeout=5, trust_env=False).text


def counted(world, outcome):
    lines = page(world, "text/plain").splitlines()
    (line,) = [line for line in lines if line.startswith(f'titleshot_spans_total{{outcome="{outcome}"}}')]
    return float(line.split()[-1])


def test_a_sampled_request_is_one_trace_through_client_titleshot_and_both_versions(traced, collector):
    trace, client = secrets.token_hex(16), secrets.token_hex(8)
    before = time.time_ns()
    context = {"traceparent": f"00-{trace}-{client}-01", "tracestate": "vendor=1", "baggage": "user=7"}
    answer = ask(traced, {**context, "authorization": "Bearer s3cret"}, "/invocations?key=s3cret")
    assert answer.status_code == 200
    wait_for(lambda: len(collector.of_trace(trace)) == 3, "three spans of the trace")
    spans = {span.name: span for span in collector.of_trace(trace)}
    own, champion, challenger = (spans[name] for name in (f"POST /models/{MODEL}", "POST champion", "POST challenger"))

    assert own.parent_span_id.hex() == client
    assert champion.parent_span_id == challenger.parent_span_id == own.span_id
    assert (own.kind, champion.kind, challenger.kind) == (SERVER, CLIENT, CLIENT)
    for stub, span in ((traced.stubs[1], champion), (traced.stubs[2], challenger)):
        headers = seen(stub, answer)
        assert headers["traceparent"] == f"00-{trace}-{span.span_id.hex()}-01"
        assert (headers["tracestate"], headers["baggage"]) == ("vendor=1", "user=7")
        assert before < own.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano
        assert [event.name for event in span.events] == ["titleshot.sent", "titleshot.first_byte"]
        said = values(span.attributes)
        assert said["server.address"] == "127.0.0.1"
        assert f":{said['server.port']}" in stub.url
    assert champion.end_time_unix_nano <= own.end_time_unix_nano < time.time_ns()

    said = values(own.attributes)
    rollout = traced.status()["rollout"]["id"]
    assert said == {
        "http.request.method": "POST",
        "http.route": f"/models/{MODEL}",
        "url.path": "/invocations",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "titleshot.model": MODEL,
        "titleshot.version": 1,
        "titleshot.role": "champion",
        "titleshot.mode": "shadow",
        "titleshot.request_id": answer.headers["x-titleshot-id"],
        "titleshot.outcome": "ok",
        "titleshot.rollout_id": rollout,
    }
    assert values(challenger.attributes)["titleshot.version"] == 2
    assert "s3cret" not in str(collector.spans)
    assert {each["service.name"] for each in collector.resources} == {"titleshot"}

    untraced = ask(traced, {"traceparent": f"00-{trace}-{client}-00", "tracestate": "vendor=1"})
    for version in (1, 2):
        headers = seen(traced.stubs[version], untraced)
        assert (headers["traceparent"], headers["tracestate"]) == (f"00-{trace}-{client}-00", "vendor=1")
    plain = ask(traced)
    assert "traceparent" not in seen(traced.stubs[1], plain)

    def exemplars():
        families = text_string_to_metric_families(page(traced, "application/openmetrics-text;version=1.0.0"))
        (durations,) = [each for each in families if each.name == "titleshot_request_duration_seconds"]
        found = [sample for sample in durations.samples if sample.exemplar is not None]
        return {sample.labels["role"]: sample for sample in found} if len(found) == 2 else None

    for role, sample in wait_for(exemplars, "an exemplar of each role").items():
        span = {"champion": champion, "challenger": challenger}[role]
        assert sample.exemplar.labels == {"trace_id": trace, "span_id": span.span_id.hex()}
        assert sample.exemplar.value <= float(sample.labels["le"])
        assert before / 1e9 < float(sample.exemplar.timestamp) < time.time()
    assert trace not in page(traced, "text/plain")
    assert (len(collector.spans), counted(traced, "exported"), counted(traced, "failed")) == (3, 3, 0)


def test_a_reload_changes_the_share_and_switches_tracing_off_and_failures_are_told(traced, collector):
    traced.more = f"tracing: {{endpoint: {collector.url!r}, share: 100, service_name: shop}}\n"
    traced.write_settings(POLICY)
    wait_for(lambda: "traceparent" in seen(traced.stubs[1], ask(traced)), "every request is traced")
    traced.stubs[1].status = 500
    failed = ask(traced)
    request = failed.headers["x-titleshot-id"]

    def told():
        found = [(span, values(span.attributes)) for span in list(collector.spans)]
        found = [(span, said) for span, said in found if said["titleshot.request_id"] == request]
        return found if len(found) == 3 else None

    for span, said in wait_for(told, "the spans of the failure"):
        copy = span.name == "POST challenger"
        assert (said.get("error.type"), span.status.code) == ((None, 0) if copy else ("500", ERROR))
        assert said["titleshot.outcome"] == ("ok" if copy else "server_error")
    assert collector.resources[-1]["service.name"] == "shop"

    traced.more = ""
    traced.write_settings(POLICY)
    wait_for(lambda: "traceparent" not in seen(traced.stubs[1], ask(traced)), "nothing is traced")


def test_nobody_notices_a_collector_that_is_away(traced, collector):
    traced.more = f"tracing: {{endpoint: {collector.url!r}, share: 100}}\n"
    traced.write_settings(POLICY)
    wait_for(lambda: "traceparent" in seen(traced.stubs[1], ask(traced)), "every request is traced")
    wait_for(lambda: counted(traced, "exported") > 0, "spans are exported")
    collector.status = 401
    wait_for(lambda: ask(traced).status_code == 200 and counted(traced, "failed") > 0, "a refusal is counted")
    refused = counted(traced, "failed")
    collector.close()
    wait_for(lambda: ask(traced).status_code == 200 and counted(traced, "failed") > refused, "the failure is counted")
    assert [ask(traced).status_code for _ in range(20)] == [200] * 20
    log = (traced.folder / "serve.log").read_text()
    assert log.count("the collector did not take") == 1
    assert "its answer was 401" in log
    assert "opentelemetry" not in log.lower()  # the exporter would tell of every batch
    assert "Failed to export" not in log
    traced.stop()
    assert traced.process.returncode == 0
