"""Recordings under way: what they keep, what they drop, and what of the bodies."""

import asyncio
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import OBSERVATION
from router.control.recordings import MOST_AT_ONCE, MOST_BYTES, Recordings, TooMany, in_samples
from router.link.messages import GRPC_CONTENT, Sampled, SampledRequest
from router.link.sampling import in_sample
from router.recordings.lines import MOST_LINE_BYTES
from router.settings.recording import RecordingSettings

NOTHING = RecordingSettings(redact=())


def asked(lo, body=b"{}", content_type=b"application/json", coding=b"", length=b""):
    return SampledRequest(1.5, 7, lo, b"POST", b"/p", content_type, coding, length, body)


def lines(recording):
    async def read():
        return [piece async for piece in recording.lines(0.0)]

    return [json.loads(line) for line in b"".join(asyncio.run(read())).splitlines() if line]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1), st.integers(0, 100))
def test_many_ids_are_sampled_as_one_is(keys, percent):
    hi, lo = (np.array(half, np.uint64) for half in zip(*keys, strict=True))
    assert in_samples(hi, lo, percent).tolist() == [in_sample(*key, percent) for key in keys]


def test_proxies_copy_as_much_as_the_largest_recording_asks_for():
    told = []
    recordings = Recordings(lambda: told.append(recordings.share("m")))
    with recordings.opened("m", "mlflow", 10, NOTHING), recordings.opened("m", "mlflow", 40, NOTHING):
        assert recordings.share("m") == 40
        assert recordings.share("other") == 0
    assert told == [10, 40, 10, 0]


def test_each_recording_has_its_own_sample():
    recordings = Recordings(lambda: None)
    columns = np.zeros(1000, OBSERVATION)
    columns["request_lo"] = np.arange(1000)
    with recordings.opened("m", "mlflow", 10, NOTHING) as small, recordings.opened("m", "mlflow", 100, NOTHING) as all_:
        recordings.requests(Sampled("m", [asked(lo) for lo in range(1000)]))
        recordings.observed("m", columns)
        recordings.observed("other", columns)
        found, whole = lines(small), lines(all_)
    assert whole[-1]["requests"] == whole[-1]["observations"] == 1000
    assert 60 < found[-1]["requests"] < 140
    assert found[-1]["observations"] == sum(in_sample(0, lo, 10) for lo in range(1000))


def test_what_the_reader_is_too_slow_for_is_dropped_and_counted():
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "mlflow", 100, NOTHING) as recording:
        for lo in range(13):
            recordings.requests(Sampled("m", [asked(lo, b"x" * (MOST_BYTES // 11))]))
        ended = lines(recording)[-1]
    assert (ended["requests"], ended["dropped"]) == (10, 3)


@pytest.mark.parametrize("body", [b"x" * (MOST_LINE_BYTES + 1), b"\xff" * 3_500_000, b"\x01" * 1_000_000])
def test_what_would_be_too_long_a_line_is_left_out(body):
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "mlflow", 100, NOTHING) as recording:
        recordings.requests(Sampled("m", [asked(1, body), asked(2, b"x" * 1_000_000)]))
        found = lines(recording)
    assert (found[-1]["requests"], found[-1]["left_out"]) == (1, 1)


def test_what_proxies_dropped_is_told():
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "mlflow", 100, NOTHING) as recording:
        recordings.requests(Sampled("m", [asked(1)], 3))
        recordings.requests(Sampled("m", [], 2))
        ended = lines(recording)[-1]
    assert (ended["requests"], ended["dropped"]) == (1, 5)


def test_only_so_many_at_once():
    recordings = Recordings(lambda: None)
    held = [recordings.opened("m", "mlflow", 1, NOTHING) for _ in range(MOST_AT_ONCE)]
    for each in held:
        each.__enter__()
    with pytest.raises(TooMany):
        recordings.opened("m", "mlflow", 1, NOTHING)
    held[0].__exit__(None, None, None)
    first, second = (recordings.opened("m", "mlflow", 1, NOTHING) for _ in range(2))
    with first, pytest.raises(TooMany), second:  # asked for at the same time
        pass


def test_a_length_of_tensors_that_is_none_breaks_nothing():
    recordings = Recordings(lambda: None)
    lengths = [b"9" * 5000, b"9" * 19, b"-1", b"x"]
    requests = [asked(lo, b'{"name":"Ann"}', length=length) for lo, length in enumerate(lengths)]
    for redact, left_out in ((), 0), (("name",), 4):
        with recordings.opened("m", "mlflow", 100, RecordingSettings(redact=redact)) as recording:
            recordings.requests(Sampled("m", requests))
            found = lines(recording)
        assert (found[-1].get("requests", 0), found[-1].get("left_out", 0)) == (4 - left_out, left_out)


def test_what_cannot_be_redacted_is_left_out():
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "mlflow", 100, RecordingSettings(redact=("name",))) as recording:
        bodies = [b'{"name": "Ann"}', b"\xff", b'{"name":']
        recordings.requests(Sampled("m", [asked(lo, body) for lo, body in enumerate(bodies)]))
        recordings.requests(Sampled("m", [asked(8, bodies[0], coding=b"gzip"), asked(9, bodies[0], length=b"3")]))
        found = lines(recording)
    assert [line["body"] for line in found if line["type"] == "request"] == ['{"name":"redacted"}']
    assert found[-1]["left_out"] == 4


@pytest.mark.parametrize("redact", [(), ("name",)])
def test_a_request_over_grpc_is_left_out_whatever_is_redacted(redact):
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "open_inference", 100, RecordingSettings(redact=redact)) as recording:
        body = b'{"n": 1}'  # even what could be read
        over_http = asked(1, body, content_type=GRPC_CONTENT)  # a client may say what it likes
        recordings.requests(Sampled("m", [over_http, msgspec.structs.replace(over_http, over_grpc=True)]))
        found = lines(recording)
    assert (found[-1]["requests"], found[-1]["left_out"]) == (1, 1)


def test_a_body_that_is_no_text_is_in_base64():
    recordings = Recordings(lambda: None)
    with recordings.opened("m", "mlflow", 100, NOTHING) as recording:
        recordings.requests(Sampled("m", [asked(1, b"{}\xff", length=b"2")]))
        (_, line, _) = lines(recording)
    assert (line["body_base64"], line["header_length"]) == ("e33/", 2)
