"""Routes down, rows and counters up; without control a proxy serves on."""

from proxy_wire import WAIT, Control, model, post, until

from comparator.events import Mode, Outcome
from router.link.messages import Counters, Hello, Limits, Retire, Routes, RoutesSet, SetRoutes


def test_it_says_hello_and_counts(world):
    world.start(model(world.server()))
    (hello,) = world.control.of(Hello)
    assert (hello.worker, hello.pid, hello.generation) == (0, world.proxy.process.pid, "g")
    world.client().ask()
    world.wait_counters(lambda counters: counters.client_connections == 1 and counters.upstream_connections == 1)
    assert world.counters().revision == 1
    assert world.counters().rows_dropped == 0


def test_it_serves_from_the_routes_file_without_control(world):
    world.start(model(world.server()), control=False)
    assert world.client().ask().status == 200


def test_a_routes_file_that_is_none_is_not_the_end(world, tmp_path):
    (tmp_path / "routes.json").write_text("{half")
    world.start()
    assert world.client().ask().status == 503
    world.control.set_routes(world.routes(model(world.server())))
    assert world.client().ask().status == 200


def test_routes_change_live_and_requests_keep_theirs(world):
    one, two = world.server(), world.server()
    one.behave = lambda wire, _: (
        one.release.wait(10),
        wire.raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
    )
    world.start(model(one))
    open_request = world.client().send(post())
    until(lambda: one.requests)
    world.control.set_routes(world.routes(model(two)))
    assert world.client().ask().body != b"one"
    one.release.set()
    assert open_request.message().body == b"one"
    assert one.lost.wait(WAIT)  # its connection is not kept: no route names that server


def test_older_routes_are_ignored_unless_the_generation_changed(world):
    one, two = world.server(), world.server()
    world.start(model(one))
    world.control.set_routes(Routes(7, "g", (model(one),)))
    world.control.send(SetRoutes(Routes(6, "g", (model(two),))))
    until(lambda: world.control.of(RoutesSet).count(RoutesSet(7, "g")) == 2)  # it says which ones are in force
    world.client().ask()
    assert (len(one.requests), len(two.requests)) == (1, 0)
    world.control.set_routes(Routes(1, "h", (model(two),)))
    world.client().ask()
    assert (len(one.requests), len(two.requests)) == (1, 1)


def test_rows_wait_for_control_and_are_delivered(world):
    world.start(model(world.server()))
    client = world.client()
    client.ask()
    world.control.wait_rows(1)
    world.control.hang_up()
    for _ in range(50):
        assert client.ask().status == 200
    world.control = Control(world.proxy.link)
    assert len({row["lo"] for row in world.control.wait_rows(50)}) == 50
    world.control.set_routes(Routes(1, "next", (model(None),)))
    assert client.ask().status == 503


def test_beyond_the_bound_rows_are_dropped_and_counted(world):
    world.limits = Limits(record_rows=10)
    world.start(model(world.server()), control=False)
    client = world.client()
    for _ in range(25):
        client.ask()
    world.control = Control(world.proxy.link)
    world.control.wait_rows(10)
    world.wait_counters(lambda counters: counters.rows_dropped == 15)


def test_a_model_of_an_unknown_protocol_does_not_take_the_others_down(world):
    server = world.server()
    world.start(model(server))
    strange = type(model(server))("strange", "telepathy", model(server).champion)
    world.control.set_routes(world.routes(model(server), strange))
    assert world.client().ask(path="/models/m/invocations").status == 200
    assert world.client().ask(path="/models/strange/invocations").status == 404


def retired_by_signal(world):
    world.proxy.terminate()


def retired_by_link(world):
    world.control.send(Retire())


def test_retiring_finishes_what_is_open(world):
    for retire in (retired_by_link, retired_by_signal):
        _retire(world, retire)


def _retire(world, retire):
    champion, challenger = world.server(), world.server()
    champion.behave = lambda wire, request: (
        champion.release.wait(10),
        wire.raw.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"),
    )
    if world.control is not None:
        world.control.hang_up()
    world.start(model(champion, challenger, mode=int(Mode.SHADOW), mirror=100, rollout_id=5))
    idle = world.client()
    busy = world.client().send(post())
    until(lambda: champion.requests and challenger.requests)
    retire(world)
    assert idle.ended()
    late = world.client()  # the supervisor's socket still queues it, for the next worker
    champion.release.set()
    got = busy.message()
    assert (got.status, got["connection"]) == (204, "close")
    assert world.proxy.process.wait(WAIT) == 0
    rows = world.control.wait_rows(2)
    assert {row["outcome"] for row in rows} == {Outcome.OK}
    assert world.control.of(Counters)
    late.close()
    world.proxy.close()


def test_retiring_does_not_wait_for_ever(world):
    champion = world.server()
    champion.behave = lambda wire, _: wire.more()
    world.limits = Limits(total_seconds=0.5)
    world.start(model(champion))
    world.client().send(post())
    until(lambda: champion.requests)
    world.proxy.terminate()
    assert world.proxy.process.wait(WAIT) == 0
    assert world.control.wait_rows(1)[0]["outcome"] in (Outcome.CANCELLED, Outcome.TIMEOUT)
