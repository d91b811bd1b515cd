"""Overhead is kept by the proxies in buckets: how long a request was with us, apart from the model."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from test_proxy_copies import Desk

from router.link.messages import Counters, Limits, frame, read_up
from router.link.overhead import OVERHEAD_BOUNDS, Overhead
from router.proxy import exchange
from router.proxy.plane import DataPlane

TIMES = st.lists(st.one_of(st.floats(0, 5), st.sampled_from(OVERHEAD_BOUNDS)), max_size=30)


@given(TIMES)
def test_every_request_is_in_one_bucket_and_in_the_sum(times):
    overhead = Overhead.none()
    for seconds in times:
        overhead.add(seconds)
    assert sum(overhead.counts) == len(times)
    assert abs(overhead.seconds - sum(times)) < 1e-9
    for index, count in enumerate(overhead.counts):
        assert count == sum(bisect_left(OVERHEAD_BOUNDS, seconds) == index for seconds in times)


def test_the_buckets_go_from_10_microseconds_to_a_second():
    assert OVERHEAD_BOUNDS[0] == 1e-5
    assert 1 <= OVERHEAD_BOUNDS[-1] < 2
    assert list(OVERHEAD_BOUNDS) == sorted(set(OVERHEAD_BOUNDS))


class Clock:
    """Goes on by a second at every look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_request_is_held_until_it_is_handed_over_and_while_its_answer_is_written(monkeypatch):
    desk = Desk(mode=0, mirror=0)
    monkeypatch.setattr(exchange, "monotonic", Clock())
    desk.ask()  # looks: at its arrival, at the hand-over, at the answer's end, when that is written
    held = desk.plane.counters().overhead["m"]
    assert (sum(held.counts), held.seconds) == (1, 2.0)
    desk.ask()
    assert desk.plane.counters().overhead["m"].seconds == 4.0


def test_a_copy_is_no_request_of_a_clients():
    desk = Desk(Limits())
    desk.ask()
    assert len(desk.rows()) == 2
    assert sum(desk.plane.counters().overhead["m"].counts) == 1


def test_what_was_refused_by_us_was_not_handed_over():
    desk = Desk(mode=0, mirror=0)
    desk.client.data_received(b"GET /models/nobody/x HTTP/1.1\r\nHost: m\r\n\r\n")
    assert desk.plane.counters().refused == {"unknown_model": 1}
    assert desk.plane.counters().overhead == {}


def test_what_was_reported_does_not_change_any_more_and_survives_the_link():
    plane = DataPlane(lambda _change: None)
    plane.held("m", 0.00002)
    told = plane.counters()
    plane.held("m", 3.0)
    assert sum(told.overhead["m"].counts) == 1
    read = read_up(frame(plane.counters())[4:])
    assert isinstance(read, Counters)
    assert read.overhead["m"].counts[-1] == 1
    assert read.overhead["m"].seconds == 3.00002
