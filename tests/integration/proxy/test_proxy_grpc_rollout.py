"""Shadow and canary over gRPC: the same assignment, slots, breaker and rows as over HTTP."""

import struct
from contextlib import suppress

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from grpc_wire import model, read, request
from infer_server import answer
from proxy_wire import until

from comparator.events import Mode, Outcome, Role
from router.link.messages import BODY_PROTO, COPY_FIRST, SHED, Backend, BreakerChanged, Limits, ModelRoutes

SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}
CANARY = {"mode": int(Mode.CANARY), "share": 100, "rollout_id": 77}


def test_the_copy_is_the_same_bytes_marked_and_without_credentials(grpc_world):
    champion = grpc_world.infer_server()
    challenger = grpc_world.infer_server(lambda request, context: answer(request, [0.0]))
    grpc_world.serve(model(champion, challenger, **SHADOW))
    sent = request(raw=True)
    got, _ = grpc_world.call(sent, [("authorization", "a"), ("cookie", "b"), ("x-api-key", "c"), ("x-user", "u")])
    assert got.raw_output_contents[0] == struct.pack("<f", 1.0)
    rows = {row["role"]: row for row in grpc_world.control.wait_rows(2)}
    (asked,), (copied,) = champion.calls, challenger.calls
    assert copied.message == asked.message == sent.SerializeToString()
    for name in ("x-user", "x-titleshot-id", "x-request-id", "x-forwarded-for"):
        assert copied[name] == asked[name]
    for name in ("authorization", "cookie", "x-api-key"):
        assert name in asked
        assert name not in copied
    assert copied["x-titleshot-shadow"] == "1"
    assert copied.seconds_left == pytest.approx(asked.seconds_left, abs=1.0)
    assert rows.keys() == {Role.CHAMPION, Role.CHALLENGER}
    for row in rows.values():
        assert (row["rollout_id"], row["mode"], row["both"], row["outcome"]) == (77, Mode.SHADOW, 1, Outcome.OK)
        assert row["body_state"] == BODY_PROTO
    assert rows[0]["lo"] == rows[1]["lo"]
    assert [rows[role]["version"] for role in (0, 1)] == [1, 2]
    assert [read(rows[role]) for role in (0, 1)] == [[1.0], [0.0]]


def test_a_shadow_that_hangs_or_is_away_costs_the_client_nothing(grpc_world):
    grpc_world.limits = Limits(mirror_slots=2, mirror_seconds=0.5)
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    challenger.behave = lambda request, context: challenger.release.wait(20) and answer(request)
    grpc_world.serve(model(champion, challenger, **SHADOW))
    for _ in range(5):
        grpc_world.call(request(), timeout=3)
    rows = grpc_world.control.wait_rows(7)
    copies = [row for row in rows if row["role"] == Role.CHALLENGER]
    assert [row["outcome"] for row in copies] == [Outcome.TIMEOUT] * 2
    assert sum(bool(row["flags"] & SHED) for row in rows if row["role"] == Role.CHAMPION) == 3
    grpc_world.wait_counters(lambda counters: counters.shadow_dropped["m"]["full"] == 3)
    grpc_world.wait_counters(lambda counters: counters.shadow_dropped["m"]["deadline"] == 2)
    challenger.close()
    grpc_world.call(request(), timeout=3)
    (row,) = [row for row in grpc_world.control.wait_rows(9) if row["role"] == Role.CHALLENGER][2:]
    assert row["outcome"] == Outcome.CONNECT


def test_a_request_that_is_too_large_is_not_copied(grpc_world):
    grpc_world.limits = Limits(mirror_body_bytes=64)
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, **SHADOW))
    grpc_world.call(request(values=range(40)))
    (row,) = grpc_world.control.wait_rows(1)
    assert row["flags"] == SHED
    assert not challenger.calls
    grpc_world.wait_counters(lambda counters: counters.shadow_dropped["m"]["too_large"] == 1)


def test_who_asks_for_a_version_of_the_servers_own_is_answered_by_the_champion_outside_the_evidence(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, **SHADOW), model(champion, challenger, name="c", **CANARY))
    for name in ("m", "c"):
        grpc_world.call(request(name, model_version="1"))
    rows = grpc_world.control.wait_rows(2)
    assert [(row["role"], row["mode"], row["flags"]) for row in rows] == [(Role.CHAMPION, Mode.NONE, 0)] * 2
    assert not challenger.calls


def test_in_random_order_half_of_the_copies_go_first(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, mirror_random_order=True, **SHADOW))
    for _ in range(40):
        grpc_world.call(request())
    rows = grpc_world.control.wait_rows(80)
    first = {row["lo"] for row in rows if row["flags"] & COPY_FIRST}
    assert first == {row["lo"] for row in rows if row["lo"] & 1}
    assert 0 < len(first) < 40


def test_a_canary_sticks_to_its_key_and_is_assigned_as_over_http(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    both = [world_server.url for world_server in (champion, challenger)]
    http = [grpc_world.server(), grpc_world.server()]
    routes = ModelRoutes(
        "m",
        "mlflow",
        Backend(1, http[0].url(), grpc=both[0]),
        Backend(2, http[1].url(), grpc=both[1]),
        mode=int(Mode.CANARY),
        share=40,
        rollout_id=77,
        assign_by="header:x-user",
    )
    grpc_world.serve(routes)
    client = grpc_world.client()
    for user in range(30):
        grpc_world.call(request(), [("x-user", f"user {user}")])
        client.ask(fields=f"X-User: user {user}\r\n")
    rows = grpc_world.control.wait_rows(60)
    assert [row["role"] for row in rows[::2]] == [row["role"] for row in rows[1::2]]
    assert {row["role"] for row in rows} == {Role.CHAMPION, Role.CHALLENGER}
    assert len(challenger.calls) == len(http[1].requests)


def test_a_challenger_that_is_away_is_taken_out(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    challenger.close()
    grpc_world.serve(model(champion, challenger, mode=int(Mode.CANARY), share=50, rollout_id=77))
    for _ in range(120):
        with suppress(grpc.RpcError):
            grpc_world.call(request())
    assert until(lambda: grpc_world.control.of(BreakerChanged))[0].state == "open"
    answered = [grpc_world.call(request()) for _ in range(20)]
    assert len(answered) == 20
    rows = grpc_world.control.wait_rows(140)
    assert {row["mode"] for row in rows[-20:]} <= {Mode.CANARY, Mode.FORCED}
    assert all(row["outcome"] == Outcome.OK for row in rows[-20:])
