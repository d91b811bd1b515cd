"""Lanes: further copies of what the champion answers, each with rows, slots and a breaker of its own."""

import pytest
from memory_transport import MemoryTransport

from router.link.messages import EXCHANGE_ROW, SHED, Backend, Lane, Limits, ModelRoutes, Routes, Rule
from router.proxy import codes
from router.proxy.plane import DataPlane
from router.proxy.server import ClientConnection
from router.proxy.traced import Tracing
from router.proxy.upstream import UpstreamConnection

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"predictions": [1]}'
ROLLOUT, VERSION, FLAGS, ROLE, MODE, BOTH = 1, 4, 8, 10, 11, 12
LANES = (
    Lane("m@challenger-b", Backend(3, "http://b:1"), 30, 100),
    Lane("m@challenger-c", Backend(4, "http://c:1"), 40, 100),
)


class Desk:
    """A data plane with one client and one kept connection to each model server, all in memory."""

    def __init__(self, limits: Limits | None = None, traced: int | None = None, **routes) -> None:
        self.journal: list[tuple[str, bytes]] = []
        self.silent: set[str] = set()  # who does not answer
        self.changes = []
        self.plane = DataPlane(self.changes.append)
        self.limits = limits or Limits()
        self.written = {"mode": codes.MODE_SHADOW, "mirror": 100, "rollout_id": 7, "lanes": LANES} | routes
        self.apply(1, traced=traced)
        target = self.plane.table.target("m")
        endpoints = {"champion": target.champion.endpoint, "challenger": target.other.endpoint}
        endpoints |= {lane.name[-1]: lane.other.endpoint for lane in target.lanes}
        self.servers = {name: self._connected(name, endpoint) for name, endpoint in endpoints.items()}
        self.client = ClientConnection(self.plane)
        self.client.connection_made(MemoryTransport(self.journal, "client"))

    def apply(self, revision: int, traced: int | None = None, **routes) -> None:
        model = ModelRoutes(
            "m", "mlflow", Backend(1, "http://champion:1"), Backend(2, "http://challenger:1"), **(self.written | routes)
        )
        self.plane.apply(Routes(revision, "g", (model,), self.limits, traced))

    def _connected(self, name, endpoint):
        connection = UpstreamConnection(endpoint)
        connection.connection_made(MemoryTransport(self.journal, name))
        endpoint.release(connection, float("inf"))  # taken as alive
        return connection

    def ask(self, fields: str = "", body: bytes = b"{}", path: str = "/invocations") -> list[str]:
        """One request, answered by whoever was asked; who was written to, in order."""
        before = len(self.journal)
        head = f"POST {path} HTTP/1.1\r\nHost: m\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self.client.data_received(head.encode() + body)
        for name, _ in self.journal[before:]:
            if name in self.servers and name not in self.silent:
                self.servers[name].data_received(ANSWER)
                self.servers[name].idle_since = float("inf")
        return [name for name, _ in self.journal[before:]]

    def rows(self) -> dict[str, list[tuple]]:
        messages = []

        class Kept:
            ready = True

            def send(self, message) -> bool:
                messages.append(message)
                return True

        self.plane.recorder.flush_all(Kept())
        found: dict[str, list[tuple]] = {}
        for message in messages:
            found.setdefault(message.model, []).extend(EXCHANGE_ROW.iter_unpack(message.rows))
        return found


def told(rows: list[tuple]) -> set[tuple]:
    return {(row[VERSION], row[ROLE], row[MODE], row[ROLLOUT], row[FLAGS], bool(row[BOTH])) for row in rows}


def beside(lane: int, rollout: int) -> set[tuple]:
    """A pair of rows of a lane: the champion's and the lane's own."""
    return {
        (1, codes.CHAMPION, codes.MODE_SHADOW, rollout, 0, True),
        (lane, codes.CHALLENGER, codes.MODE_SHADOW, rollout, 0, True),
    }


def test_each_lane_gets_a_copy_and_a_pair_of_rows_under_its_own_name():
    desk = Desk()
    assert desk.ask() == ["champion", "challenger", "b", "c", "client"]
    rows = desk.rows()
    assert told(rows["m"]) == beside(2, 7)
    assert told(rows["m@challenger-b"]) == beside(3, 30)
    assert told(rows["m@challenger-c"]) == beside(4, 40)
    ids = {(row[2], row[3]) for each in rows.values() for row in each}
    assert len(ids) == 1


@pytest.mark.parametrize("mode", [codes.MODE_NONE, codes.MODE_CANARY, codes.MODE_WATCH])
def test_a_lane_goes_on_whatever_the_models_own_rollout_is_at(mode):
    desk = Desk(mode=mode, mirror=0, share=0)
    desk.ask()
    rows = desk.rows()
    assert [row[MODE] for row in rows["m"]] == [mode]
    assert told(rows["m@challenger-b"]) == beside(3, 30)


def test_what_the_challenger_answers_is_copied_to_no_lane():
    desk = Desk(mode=codes.MODE_CANARY, mirror=0, share=99)
    for _ in range(32):
        asked = desk.ask()
        assert ("b" in asked) is ("champion" in asked)
    rows = desk.rows()
    champions = [row for row in rows["m"] if row[ROLE] == codes.CHAMPION]
    assert len(champions) < 32
    assert len(rows.get("m@challenger-b", ())) == 2 * len(champions)


@pytest.mark.parametrize("mode", [codes.MODE_NONE, codes.MODE_SHADOW])
def test_what_a_rule_keeps_out_of_the_trial_is_kept_out_of_the_lanes(mode):
    desk = Desk(mode=mode, mirror=100, rules=(Rule("header:x-tenant", codes.CHAMPION, ("acme",)),))
    assert desk.ask("X-Tenant: acme\r\n") == ["champion", "client"]
    assert "m@challenger-b" not in desk.rows()
    assert "b" in desk.ask("X-Tenant: other\r\n")


def test_what_is_no_prediction_is_not_copied():
    desk = Desk()
    assert desk.ask(path="/models/m/ping") == ["champion", "client"]
    assert desk.rows() == {}


def test_a_body_that_comes_in_chunks_is_copied_whole():
    desk = Desk()
    desk.client.data_received(
        b"POST /invocations HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    )
    desk.client.data_received(b"2\r\nde\r\n0\r\n\r\n")
    (copy,) = [data for name, data in desk.journal if name == "b"]
    assert copy.endswith(b"\r\n\r\nabcde")
    assert b"content-length: 5\r\n" in copy


def test_what_is_too_large_is_shed_and_told_per_lane():
    desk = Desk(Limits(mirror_body_bytes=10))
    assert desk.ask(body=b"x" * 11) == ["champion", "client"]
    rows = desk.rows()
    for lane, rollout in (("m@challenger-b", 30), ("m@challenger-c", 40)):
        assert told(rows[lane]) == {(1, codes.CHAMPION, codes.MODE_SHADOW, rollout, SHED, False)}
        assert desk.plane.counters().shadow_dropped[lane]["too_large"] == 1


def test_a_lane_that_hangs_takes_no_slot_of_another():
    desk = Desk(Limits(mirror_slots=2))
    desk.silent = {"b"}
    desk.ask()
    hanging = desk.plane.table.target("m").lanes[0].shadows
    assert hanging.open == 1
    hanging.open = 2  # all that it has
    assert desk.ask() == ["champion", "challenger", "c", "client"]
    rows = desk.rows()
    assert (1, codes.CHAMPION, codes.MODE_SHADOW, 30, SHED, False) in told(rows["m@challenger-b"])
    assert told(rows["m@challenger-c"]) == beside(4, 40)
    assert told(rows["m"]) == beside(2, 7)


def test_the_bound_on_memory_holds_for_the_model_and_its_lanes_together():
    desk = Desk(Limits(mirror_bytes=90))
    desk.ask(body=b"x" * 31)  # more than the third of it that each may have
    assert all(reasons["full"] == 1 for reasons in desk.plane.counters().shadow_dropped.values())
    assert set(desk.plane.counters().shadow_dropped) == {"m", "m@challenger-b", "m@challenger-c"}
    assert "b" in desk.ask(body=b"x" * 30)


def test_the_breaker_of_a_lane_is_its_own_and_told_of_by_its_name():
    desk = Desk()
    lane = desk.plane.table.target("m").lanes[0]
    failing = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    for _ in range(200):
        if desk.changes:
            break
        desk.silent = {"b"}
        desk.ask()
        desk.servers["b"].data_received(failing)
        desk.servers["b"].idle_since = float("inf")
    (change,) = desk.changes
    assert (change.model, change.rollout_id, change.state) == ("m@challenger-b", 30, "open")
    assert desk.ask() == ["champion", "challenger", "c", "client"]
    assert desk.plane.counters().shadow_dropped[lane.name]["breaker_open"] == 1


def test_a_rollout_of_a_lane_that_goes_on_keeps_its_slots_and_one_that_ended_gets_no_more_copies():
    desk = Desk()
    before = desk.plane.table.target("m").lanes
    desk.apply(2, share=0)
    assert [lane.shadows for lane in desk.plane.table.target("m").lanes] == [lane.shadows for lane in before]
    desk.apply(3, lanes=LANES[1:])
    assert not before[0].shadows.mirroring
    assert before[1].shadows.mirroring
    assert desk.ask() == ["champion", "challenger", "c", "client"]


def test_a_lane_without_an_endpoint_is_none():
    desk = Desk(lanes=(*LANES[:1], Lane("m@challenger-d", Backend(5, ""), 50, 100)))
    assert [lane.name for lane in desk.plane.table.target("m").lanes] == ["m@challenger-b"]


def test_a_share_of_the_requests_is_copied_by_the_rollout_of_the_lane():
    half = tuple(Lane(lane.name, lane.other, lane.rollout_id, 50) for lane in LANES)
    desk = Desk(lanes=half)
    asked = [desk.ask() for _ in range(400)]
    copied = [sum(name in names for names in asked) for name in "bc"]
    assert all(130 < count < 270 for count in copied)
    assert any(("b" in names) is not ("c" in names) for names in asked)  # each lane draws for itself
    assert len(desk.rows()["m@challenger-b"]) == 2 * copied[0]


def test_the_copies_of_a_traced_request_have_spans_of_their_own():
    desk = Desk(traced=100)
    assert isinstance(desk.plane.tracing, Tracing)
    desk.ask()
    parents = {data.split(b"traceparent: ")[1][:55] for name, data in desk.journal if name in ("challenger", "b", "c")}
    assert len(parents) == 3
    assert len({parent[3:35] for parent in parents}) == 1  # of one trace


def test_what_came_while_a_lane_was_switched_off_is_no_row_of_it():
    desk = Desk()
    desk.client.data_received(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n")
    desk.apply(2, lanes=LANES[1:])  # between the head and the body
    desk.client.data_received(b"{}")
    desk.servers["champion"].data_received(ANSWER)
    rows = desk.rows()
    assert "m@challenger-b" not in rows
    assert {row[ROLE] for row in rows["m@challenger-c"]} == {codes.CHAMPION}
    assert desk.plane.counters().shadow_dropped == {}
