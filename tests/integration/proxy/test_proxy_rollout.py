"""Shadow, canary and watch: who answers, what is recorded, and that the shadow harms nobody."""

import socket
import time

import pytest
from proxy_wire import ANSWER, answer, model, post, until

from comparator.breaker import PROBES
from comparator.events import Mode, Outcome, Role
from router.link.messages import BODY_WHOLE, SHED, Backend, BreakerChanged, Limits, ModelRoutes

SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}


def canary(share: int, **rest) -> dict:
    return {"mode": int(Mode.CANARY), "share": share, "rollout_id": 77, **rest}


def test_the_copy_is_the_same_bytes_marked_and_without_credentials(world):
    champion, challenger = (
        world.server(),
        world.server(lambda wire, _: wire.raw.sendall(answer(b'{"predictions": [0]}'))),
    )
    world.start(model(champion, challenger, **SHADOW))
    fields = (
        "Authorization: Bearer a\r\nCookie: b\r\nProxy-Authorization: c\r\nX-Api-Key: d\r\n"
        "Content-Type: x/y\r\nX-User: u\r\nTraceparent: t\r\n"
    )
    got = world.client().ask(b"\x00 same \xff", fields, "/invocations?q=1")
    assert got.body == ANSWER
    rows = world.control.wait_rows(2)
    (asked,), (copied,) = champion.requests, challenger.requests
    assert copied.body == asked.body == b"\x00 same \xff"
    assert copied.first == asked.first
    for name in ("content-type", "x-user", "traceparent", "x-titleshot-id", "x-request-id", "x-forwarded-for"):
        assert copied[name] == asked[name]
    for name in ("authorization", "cookie", "proxy-authorization", "x-api-key"):
        assert name in asked
        assert name not in copied
    assert copied["x-titleshot-shadow"] == "1"
    assert "x-titleshot-shadow" not in asked
    assert copied["host"] == f"127.0.0.1:{challenger.port}"
    by_role = {row["role"]: row for row in rows}
    assert by_role.keys() == {Role.CHAMPION, Role.CHALLENGER}
    for row in rows:
        assert (row["rollout_id"], row["mode"], row["both"], row["outcome"]) == (77, Mode.SHADOW, 1, Outcome.OK)
        assert row["body_state"] == BODY_WHOLE
    assert by_role[0]["lo"] == by_role[1]["lo"]
    assert (by_role[0]["version"], by_role[1]["version"]) == (1, 2)
    assert (by_role[0]["body"], by_role[1]["body"]) == (ANSWER, b'{"predictions": [0]}')


def test_a_chunked_request_is_copied_whole(world):
    champion, challenger = world.server(), world.server()
    world.start(model(champion, challenger, **SHADOW))
    client = world.client().send(
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    )
    until(lambda: champion.connections)
    assert not challenger.requests
    client.send(b"2\r\nde\r\n0\r\n\r\n")
    assert client.message().status == 200
    until(lambda: challenger.requests)
    assert challenger.requests[0].body == b"abcde"
    assert challenger.requests[0]["content-length"] == "5"


def hang(wire, _):
    wire.more()


def refuse(wire, _):
    wire.raw.shutdown(socket.SHUT_RDWR)


def garbage(wire, _):
    wire.raw.sendall(b"garbage\r\n\r\n" * 100)


def endless(wire, _):
    wire.raw.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        wire.raw.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def slow(wire, _):
    for byte in answer():
        wire.raw.sendall(bytes([byte]))
        time.sleep(0.002)


def failing(wire, _):
    wire.raw.sendall(answer(b"{}", "500 Internal Server Error"))


@pytest.mark.parametrize(
    ("behave", "outcomes"),
    [
        (hang, {Outcome.TIMEOUT}),
        (refuse, {Outcome.BROKEN}),
        (garbage, {Outcome.BROKEN}),
        (endless, {Outcome.TIMEOUT, Outcome.OK}),
        (slow, {Outcome.OK}),
        (failing, {Outcome.SERVER_ERROR}),
    ],
)
def test_the_clients_answer_comes_whatever_the_challenger_does(world, behave, outcomes):
    champion, challenger = world.server(), world.server(behave)
    world.limits = Limits(mirror_seconds=0.5, max_body_bytes=1_000_000)
    world.start(model(champion, challenger, **SHADOW))
    client = world.client()
    for _ in range(5):
        got = client.ask()
        assert (got.status, got.body) == (200, ANSWER)
    rows = world.control.wait_rows(10)
    shadows = [row for row in rows if row["role"] == Role.CHALLENGER]
    assert len(shadows) == 5
    assert {row["outcome"] for row in shadows} <= outcomes
    assert all(row["both"] for row in rows)
    assert all(row["outcome"] == Outcome.OK for row in rows if row["role"] == Role.CHAMPION)


def test_a_challenger_that_is_not_there(world):
    champion = world.server()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    routes = model(champion, **SHADOW)
    dead = ModelRoutes("m", "mlflow", routes.champion, Backend(2, f"http://127.0.0.1:{port}"), **SHADOW)
    world.start(dead)
    client = world.client()
    for _ in range(30):
        assert client.ask().status == 200
    until(lambda: len([row for row in world.control.rows() if row["role"] == Role.CHAMPION]) == 30)
    (opened,) = world.control.of(BreakerChanged)
    assert (opened.state, opened.tripped, opened.rollout_id) == ("open", False, 77)
    rows = world.control.rows()
    tried = [row for row in rows if row["role"] == Role.CHALLENGER]
    assert {row["outcome"] for row in tried} == {Outcome.CONNECT}
    assert sum(row["both"] for row in rows if row["role"] == Role.CHAMPION) == len(tried) < 30
    world.wait_counters(lambda counters: counters.shadow_dropped["m"]["breaker_open"] == 30 - len(tried))


def test_copies_beyond_the_slots_are_shed_and_counted(world):
    champion, challenger = world.server(), world.server(hang)
    world.limits = Limits(mirror_slots=3, mirror_seconds=0.6)
    world.start(model(champion, challenger, **SHADOW))
    client = world.client()
    for _ in range(8):
        assert client.ask().status == 200
    rows = world.control.wait_rows(11)
    assert sum(row["both"] for row in rows if row["role"] == Role.CHAMPION) == 3
    dropped = {"full": 5, "breaker_open": 0, "too_large": 0, "stream": 0, "deadline": 3}
    world.wait_counters(lambda counters: counters.shadow_dropped["m"] == dropped)


def test_copies_beyond_the_bytes_in_flight_are_shed_and_counted(world):
    champion, challenger = world.server(), world.server(hang)
    world.limits = Limits(mirror_bytes=100_000, mirror_seconds=0.6)
    world.start(model(champion, challenger, **SHADOW))
    client = world.client()
    for _ in range(4):
        assert client.ask(b"x" * 40_000).status == 200
    rows = world.control.wait_rows(6)
    assert [row["flags"] & SHED for row in rows if row["role"] == Role.CHAMPION] == [0, 0, SHED, SHED]
    assert client.ask(b"x" * 40_000).status == 200  # those that were cut off at their deadline hold no bytes
    assert sum(row["both"] for row in world.control.wait_rows(8)) == 6
    world.wait_counters(lambda counters: counters.shadow_dropped["m"]["full"] == 2)


def test_after_a_while_a_few_requests_probe_a_failing_challenger(world):
    champion, challenger = world.server(), world.server(failing)
    world.limits = Limits(breaker_wait_seconds=0.2)
    world.start(model(champion, challenger, **canary(100)))
    client = world.client()

    def states() -> list[tuple[str, bool]]:
        return [(change.state, change.tripped) for change in world.control.of(BreakerChanged)]

    def ask_until(wanted: list[tuple[str, bool]]) -> list[int]:
        statuses = []
        until(lambda: statuses.append(client.ask().status) or states()[-len(wanted) :] == wanted)
        return statuses

    assert ask_until([("open", False)]).count(500) == 10
    failed = ask_until([("half_open", False), ("open", True)])
    assert failed.count(500) == PROBES  # no other request still reaches it
    challenger.behave = lambda wire, request: wire.raw.sendall(answer())
    assert 500 not in ask_until([("half_open", False), ("closed", False)])


def test_a_request_too_large_is_not_mirrored(world):
    champion, challenger = world.server(), world.server()
    world.limits = Limits(mirror_body_bytes=1000)
    world.start(model(champion, challenger, **SHADOW))
    client = world.client()
    assert client.ask(b"x" * 1001).status == 200
    client.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"200\r\n" + b"x" * 512 + b"\r\n").send(b"200\r\n" + b"x" * 512 + b"\r\n0\r\n\r\n")
    assert client.message().status == 200
    rows = world.control.wait_rows(2)
    assert [row["both"] for row in rows] == [0, 0]
    world.wait_counters(lambda counters: counters.shadow_dropped["m"]["too_large"] == 2)
    assert challenger.connections == 0


def test_only_predictions_are_mirrored_or_split(world):
    champion, challenger = world.server(), world.server()
    world.start(model(champion, challenger, **SHADOW))
    client = world.client()
    for request in (b"GET /ping HTTP/1.1", b"GET /invocations HTTP/1.1", b"POST /feedback HTTP/1.1"):
        assert client.send(request + b"\r\nHost: a\r\nContent-Length: 0\r\n\r\n").message().status == 200
    world.control.set_routes(world.routes(model(champion, challenger, **canary(99))))
    for _ in range(10):
        assert client.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").message().status == 200
    assert len(champion.requests) == 13
    assert challenger.connections == 0
    assert world.control.rows() == []


def test_a_canary_is_sticky_and_recorded_by_role(world):
    champion = world.server(lambda wire, _: wire.raw.sendall(answer(b"champion")))
    challenger = world.server(lambda wire, _: wire.raw.sendall(answer(b"challenger")))
    world.start(model(champion, challenger, **canary(30, assign_by="header:X-User-Id")))
    client = world.client()
    first = {user: client.ask(fields=f"X-User-Id: {user}\r\n").body for user in range(100)}
    again = {user: client.ask(fields=f"x-user-id: {user}\r\n").body for user in range(100)}
    assert first == again
    assert 10 <= list(first.values()).count(b"challenger") <= 55
    rows = world.control.wait_rows(200)
    for row in rows:
        expected = (2, b"challenger") if row["role"] == Role.CHALLENGER else (1, b"champion")
        assert (row["version"], row["body"]) == expected
        assert (row["mode"], row["both"], row["rollout_id"]) == (Mode.CANARY, 0, 77)
    world.control.set_routes(world.routes(model(champion, challenger, **canary(60, assign_by="header:X-User-Id"))))
    grown = {user: client.ask(fields=f"X-User-Id: {user}\r\n").body for user in range(100)}
    assert all(grown[user] == b"challenger" for user in first if first[user] == b"challenger")
    assert list(grown.values()).count(b"challenger") > list(first.values()).count(b"challenger")


def test_a_dead_champion_is_not_retried_on_the_challenger(world):
    champion, challenger = world.server(), world.server()
    champion.close()
    world.start(model(champion, challenger, **canary(1)))
    client = world.client()
    statuses = [client.ask().status for _ in range(30)]
    assert statuses.count(502) >= 25
    assert len(challenger.requests) == statuses.count(200)


def test_the_breaker_takes_a_failing_challenger_out_of_a_canary(world):
    champion = world.server()
    challenger = world.server(failing)
    world.start(model(champion, challenger, **canary(50)))
    client = world.client()
    statuses = []
    while not world.control.of(BreakerChanged):
        statuses.append(client.ask().status)
        assert len(statuses) < 200
    assert 10 <= statuses.count(500) <= 20
    asked = len(challenger.requests)
    assert [client.ask().status for _ in range(40)] == [200] * 40
    assert len(challenger.requests) == asked
    rows = world.control.wait_rows(len(statuses) + 40)
    forced = [row for row in rows if row["mode"] == Mode.FORCED]
    assert forced  # those that were the challenger's, by their key, are left out of the evidence
    assert all(row["role"] == Role.CHAMPION for row in forced)


def test_in_a_watch_the_previous_champion_answers_the_copy(world):
    champion, previous = world.server(), world.server()
    world.start(
        model(champion, previous, mode=int(Mode.WATCH), mirror=100, rollout_id=78, other_role=int(Role.PREVIOUS))
    )
    assert world.client().ask().status == 200
    rows = world.control.wait_rows(2)
    assert sorted((row["role"], row["version"], row["both"], row["mode"]) for row in rows) == [
        (Role.CHAMPION, 1, 1, Mode.WATCH),
        (Role.PREVIOUS, 2, 1, Mode.WATCH),
    ]


def test_a_client_gone_leaves_the_copy_alone(world):
    champion, challenger = world.server(), world.server()
    champion.behave = lambda wire, _: champion.release.wait(10)
    world.start(model(champion, challenger, **SHADOW))
    client = world.client().send(post())
    until(lambda: challenger.requests and champion.requests)
    client.close()
    rows = world.control.wait_rows(2)
    assert {row["role"]: row["outcome"] for row in rows} == {0: Outcome.CANCELLED, 1: Outcome.OK}


def test_mirroring_stops_at_once_even_for_uploads_under_way(world):
    champion, challenger = world.server(), world.server()
    world.start(model(champion, challenger, **SHADOW))
    client = world.client().send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    until(lambda: champion.connections)
    world.control.set_routes(world.routes(model(champion)))
    client.send(b"cd")
    assert client.message().status == 200
    (row,) = world.control.wait_rows(1)
    assert (row["mode"], row["both"], row["rollout_id"]) == (Mode.SHADOW, 0, 77)  # as assigned; asked only one
    assert challenger.connections == 0
