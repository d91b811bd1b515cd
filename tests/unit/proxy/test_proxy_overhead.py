"""Overhead is kept by the proxies in buckets: how long a request was with us, apart from the model."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from router.link.messages import Counters, frame, read_up
from router.link.overhead import OVERHEAD_BOUNDS, Overhead
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
