"""Rules, keys and the champion asked twice over gRPC: as over HTTP, by metadata."""

import pytest

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from grpc_wire import model, refused, request
from proxy_wire import until

from comparator.events import Mode, Outcome, Role
from router.link.messages import BreakerChanged, Limits, Rule

RULES = (
    Rule("header:x-tenant", int(Role.CHAMPION), ("acme",)),
    Rule("header:x-tester", int(Role.CHALLENGER)),
    Rule("path", int(Role.CHALLENGER), (), ("/",)),  # over gRPC there is none
)
SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}


def test_forced_calls_are_out_of_the_trial(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, rules=RULES, **SHADOW))
    grpc_world.call(request(), [("x-tenant", "acme"), ("x-tester", "1")])
    grpc_world.call(request(), [("x-tester", "1")])
    grpc_world.call(request(), [("x-tenant", "hooli")])
    rows = grpc_world.control.wait_rows(4)
    assert sorted((row["mode"], row["role"], row["version"], row["both"]) for row in rows) == [
        (Mode.SHADOW, Role.CHAMPION, 1, 1),
        (Mode.SHADOW, Role.CHALLENGER, 2, 1),
        (Mode.FORCED, Role.CHAMPION, 1, 0),
        (Mode.FORCED, Role.CHALLENGER, 2, 0),
    ]
    assert (len(champion.calls), len(challenger.calls)) == (2, 2)


def test_a_cookie_is_a_key_and_forced_failures_cut_off_and_are_no_probes(grpc_world):
    grpc_world.limits = Limits(breaker_wait_seconds=0.1)
    champion = grpc_world.infer_server()
    challenger = grpc_world.infer_server(lambda request, context: context.abort(grpc.StatusCode.INTERNAL, "sorry"))
    routes = {"mode": int(Mode.CANARY), "share": 1, "rollout_id": 77, "assign_by": "cookie:session", "rules": RULES}
    grpc_world.serve(model(champion, challenger, **routes))
    for _ in range(10):
        refused(lambda: grpc_world.call(request(), [("x-tester", "1")]))
    until(lambda: grpc_world.control.of(BreakerChanged))
    asked = len(challenger.calls)
    key = next(key for key in range(10_000) if not _in_share(key))
    for _ in range(20):
        grpc_world.call(request(), [("x-tester", "1"), ("cookie", f"session={key}")])
    for _ in range(20):
        grpc_world.call(request(), [("cookie", f"a=b; session={key}")])
    assert len(challenger.calls) == asked
    assert [change.state for change in grpc_world.control.of(BreakerChanged)] == ["open"]


def _in_share(key: int) -> bool:
    from router.proxy.assignment import Assignment

    return Assignment(77, 1, 0).to_other(str(key).encode())


def test_the_champion_is_asked_twice(grpc_world):
    champion, challenger = grpc_world.infer_server(), grpc_world.infer_server()
    grpc_world.serve(model(champion, challenger, asked_twice=100, **SHADOW))
    grpc_world.call(request(), [("authorization", "a")])
    rows = grpc_world.control.wait_rows(2)
    assert sorted((row["mode"], row["role"], row["version"], row["both"], row["outcome"]) for row in rows) == [
        (Mode.TWICE, Role.CHAMPION, 1, 1, Outcome.OK),
        (Mode.AGAIN, Role.CHAMPION, 1, 1, Outcome.OK),
    ]
    assert not challenger.calls
    assert sorted("x-titleshot-shadow" in call for call in champion.calls) == [False, True]
