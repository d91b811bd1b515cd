"""Lanes over gRPC: the same copies and rows as over HTTP."""

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

from grpc_wire import model, read, request, stream
from infer_server import answer

from comparator.events import Mode, Outcome, Role
from router.link.messages import EXCHANGE_ROW, SHED, Backend, Exchanges, Lane, Limits

SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}
CANARY = {"mode": int(Mode.CANARY), "share": 99, "rollout_id": 77}


def lane(server) -> Lane:
    return Lane("m@challenger-b", Backend(3, "", grpc=server.url), 88, 100)


def named(world) -> dict[str, int]:
    """How many rows came under which name."""
    found: dict[str, int] = {}
    for message in world.control.messages:
        if isinstance(message, Exchanges):
            found[message.model] = found.get(message.model, 0) + len(message.rows) // EXCHANGE_ROW.size
    return found


@pytest.mark.parametrize("rollout", [SHADOW, {}])
def test_a_lane_gets_a_copy_beside_the_challengers(grpc_world, rollout):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    beside = grpc_world.infer_server(lambda request, context: answer(request, [0.0]))
    grpc_world.serve(model(champion, challenger, lanes=(lane(beside),), **rollout))
    sent = request(raw=True)
    grpc_world.call(sent, [("authorization", "a")])
    rows = grpc_world.control.wait_rows(4 if rollout else 3)
    (copied,) = beside.calls
    assert copied.message == sent.SerializeToString()
    assert "authorization" not in copied
    pair = {row["role"]: row for row in rows if row["rollout_id"] == 88}
    assert [pair[role]["version"] for role in (Role.CHAMPION, Role.CHALLENGER)] == [1, 3]
    assert [read(pair[role]) for role in (Role.CHAMPION, Role.CHALLENGER)] == [[1.0], [0.0]]
    for row in pair.values():
        assert (row["mode"], row["both"], row["flags"], row["outcome"]) == (Mode.SHADOW, 1, 0, Outcome.OK)
    assert len({row["lo"] for row in rows}) == 1
    assert set(named(grpc_world)) == {"m", "m@challenger-b"}


def test_what_the_challenger_answers_is_not_copied_and_what_is_too_large_is_shed(grpc_world):
    grpc_world.limits = Limits(mirror_body_bytes=64)
    champion, challenger, beside = (grpc_world.infer_server() for _ in range(3))
    grpc_world.serve(model(champion, challenger, lanes=(lane(beside),), **CANARY))
    for _ in range(8):
        grpc_world.call(request(raw=True, values=range(40)))
    assert not beside.calls
    shed = len(champion.calls)
    rows = grpc_world.control.wait_rows(8 + shed)
    told = [row for row in rows if row["rollout_id"] == 88]
    assert [(row["role"], row["flags"], row["both"]) for row in told] == [(Role.CHAMPION, SHED, 0)] * shed


def test_a_stream_is_shed(grpc_world):
    champion, beside = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, None, lanes=(lane(beside),)))
    list(stream(grpc_world, iter([request()])))
    rows = grpc_world.control.wait_rows(2)
    (told,) = [row for row in rows if row["rollout_id"] == 88]
    assert (told["role"], told["flags"], told["both"]) == (Role.CHAMPION, SHED, 0)
    grpc_world.wait_counters(lambda counters: counters.shadow_dropped["m@challenger-b"]["stream"] == 1)
