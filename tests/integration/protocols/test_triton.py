"""Triton behind titleshot, over HTTP in JSON and in binary and over gRPC, in every mode."""

import json
import os
import queue
import signal
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc as grpc_triton
import tritonclient.http as triton
from asking import ROWS, curl, grpc_tensors, inputs, tensors, version_of
from matrix import TRITON, cells
from model_servers import SERVED_AS
from model_servers import triton as start
from rest_world import both_versions, rest_world
from tritonclient.utils import InferenceServerException
from world import wait_for

READY = f"/v2/models/{SERVED_AS}/ready"
INFER = f"/v2/models/{SERVED_AS}/infer"
OUTPUTS = ("label", "probabilities")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with both_versions(start, tmp_path_factory.mktemp("triton")) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory, registry_template, servers):
    more, folder = f"    served_as: {SERVED_AS}\n", tmp_path_factory.mktemp("titleshot")
    with rest_world(folder, registry_template, servers, "open_inference", READY, more) as found:
        yield found


def checked(found):
    assert found.as_numpy("probabilities").shape == (3, 2)
    return version_of(found.as_numpy("label").tolist())


def by_binary(world, count):
    with triton.InferenceServerClient(world.address) as client:
        for number in range(count):
            coding = (None, "gzip")[number % 2]
            found = client.infer(
                SERVED_AS,
                tensors(ROWS, binary=True),
                request_id=f"request {number}",
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            assert found.get_response()["id"] == f"request {number}"
            assert found.get_response()["outputs"][0]["parameters"]["binary_data_size"] == 24
            yield checked(found)


def by_json(world, count):
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
    with triton.InferenceServerClient(world.address) as client:
        for _ in range(count):
            yield checked(client.infer(SERVED_AS, tensors(ROWS, binary=False), outputs=outputs))


def by_curl(world, count):
    for _ in range(count):
        found = curl(f"{world.url}{INFER}", {"id": "c", "inputs": inputs(ROWS)})
        assert found["id"] == "c"
        yield version_of(found["outputs"][0]["data"])


def by_grpc(world, count):
    with grpc_triton.InferenceServerClient(world.grpc_address) as client:
        for number in range(count):
            found = client.infer(SERVED_AS, grpc_tensors(ROWS), request_id=f"call {number}")
            assert found.get_response().id == f"call {number}"
            yield checked(found)


def by_stream(world, count):
    for number in range(count):
        ((found, error),) = streamed(world.grpc_address, {f"call {number}": grpc_tensors(ROWS)})
        assert error is None
        assert found.get_response().id == f"call {number}"
        yield checked(found)


def streamed(address, calls):
    """(answer, error) of each call in one stream."""
    came = queue.Queue()
    with grpc_triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        for name, asked in calls.items():
            client.async_stream_infer(SERVED_AS, asked, request_id=name)
        found = [came.get(timeout=20) for _ in calls]
        client.stop_stream()
    return found


ASK = {"binary": by_binary, "json": by_json, "curl": by_curl, "grpc": by_grpc, "stream": by_stream}


def test_the_gate_asks_in_tensors_and_takes_tritons_own_errors_as_the_champions(world):
    checks = {check["name"]: check for check in json.loads(world.gate(2).stdout)["checks"]}
    assert {check["verdict"] for check in checks.values()} == {"PASS"}
    assert "errors of the server, as of the champion's" in checks["contract.malformed"]["reason"]


@pytest.mark.parametrize(("client", "mode"), cells(TRITON))
def test_cell(world, client, mode):
    world.cell(mode, ASK[client])


def test_both_clients_see_the_server(world, servers):
    for made, direct, ours in (
        (triton, servers[1].url[7:], world.address),
        (grpc_triton, servers[1].grpc_url[7:], world.grpc_address),
    ):
        with made.InferenceServerClient(direct) as one, made.InferenceServerClient(ours) as other:
            assert other.is_server_live()
            assert other.is_server_ready()
            assert other.is_model_ready(SERVED_AS)
            assert not other.is_model_ready(SERVED_AS, "9")
            assert one.get_model_metadata(SERVED_AS) == other.get_model_metadata(SERVED_AS)
            assert one.get_model_config(SERVED_AS) == other.get_model_config(SERVED_AS)


def test_a_gap_among_probabilities_is_bare_nan_and_a_row_without_a_score(world):
    rows = [{"truth": 1, "noise": -1.0}, {"truth": 1, "noise": 0.5}]
    before, lost = sum(world.answers().values()), world.lost()
    for _ in range(4):
        found = httpx.post(f"{world.url}{INFER}", json={"inputs": inputs(rows)}, trust_env=False)
        assert found.status_code == 200
        assert found.text.count("NaN") == 2
    wait_for(lambda: sum(world.answers().values()) == before + 4, "they are recorded")
    assert world.lost() == lost


def test_an_error_within_a_stream_reaches_the_client_and_counts(world):
    failed = sum(count for (_, _, outcome), count in world.answers().items() if outcome == "server_error")
    short = [grpc_tensors(ROWS)[0], grpc_tensors(ROWS[:2])[1]]
    (answer, nothing), (no_answer, error) = streamed(world.grpc_address, {"good": grpc_tensors(ROWS), "bad": short})
    assert checked(answer) in (1, 2)
    assert nothing is no_answer is None
    assert "expected as many of truth as of noise" in error.message()

    def counted():
        return sum(count for (_, _, outcome), count in world.answers().items() if outcome == "server_error") - failed

    wait_for(lambda: counted() == 1, "the stream is the server's error")


def test_errors_are_tritons_own(world, servers):
    short = [*inputs(ROWS)[:1], {**inputs(ROWS[:2])[1]}]
    path = f"/v2/models/{SERVED_AS}/versions/1/infer"  # the champion's, in every mode
    told = []
    for body in (b"no JSON", b"{}", json.dumps({"inputs": short}).encode(), json.dumps({"inputs": []}).encode()):
        ours, theirs = (httpx.post(url + path, content=body, trust_env=False) for url in (world.url, servers[1].url))
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        told.append(ours.status_code)
    assert told == [500, 500, 400, 400]  # what it cannot parse, Triton takes for its own error
    for made, address in ((triton, world.address), (grpc_triton, world.grpc_address)):
        with made.InferenceServerClient(address) as client, pytest.raises(InferenceServerException) as caught:
            client.infer("other", tensors(ROWS, binary=True) if made is triton else grpc_tensors(ROWS))
        assert caught.value.status() in ("404", "StatusCode.NOT_FOUND")


@pytest.mark.long  # Triton takes a second to answer that, and half a minute to end afterwards
def test_a_challenger_whose_backend_died_is_cut_off_although_it_says_that_it_is_ready(world, servers):
    world.enter("canary")
    pid = servers[2].pid
    (stub,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(stub), signal.SIGKILL)

    def ask():
        return httpx.post(f"{world.url}{INFER}", json={"inputs": inputs(ROWS)}, timeout=20, trust_env=False).status_code

    wait_for(lambda: (ask() and world.phase()) == "rolled_back", "the challenger is rolled back")
    wait_for(lambda: ask() == 200, "the champion answers")
    assert {ask() for _ in range(24)} == {200}
    assert httpx.get(servers[2].url + READY, trust_env=False).status_code == 200
