"""What is written of observations and labels is read back as what it was."""

import gzip
import io
import json
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from comparator.events import LABEL, OBSERVATION, Mode, Outcome, Role
from router.link.sampling import in_sample
from router.recordings.files import GROUP_BYTES, create
from router.recordings.lines import Asked, Begun, Ended
from router.recordings.reading import Recording, RecordingError, read_file, read_ndjson
from router.recordings.writing import label_lines, observed_lines, written

_HALF = st.integers(0, 2**64 - 1)
_SINGLE = st.floats(0, 1e6, width=32) | st.just(np.nan)
_DOUBLE = st.floats(allow_infinity=False)
_AT = st.floats(0, 1e10)
observation = st.tuples(
    *(_AT, st.just(0), _HALF, _HALF, st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1)),
    *(st.sampled_from(Role), st.sampled_from(Mode), st.booleans(), st.booleans(), st.booleans()),
    *(st.sampled_from(Outcome), _SINGLE, _SINGLE, _DOUBLE, _DOUBLE),
)
label = st.tuples(_AT, _HALF, _HALF, st.integers(0, 2**32 - 1), _DOUBLE)


def columns(rows, dtype):
    return np.array([tuple(int(cell) if hasattr(cell, "name") else cell for cell in row) for row in rows], dtype)


@given(st.lists(observation, max_size=20), st.lists(label, max_size=20))
def test_lines_are_read_as_the_columns_that_they_were(seen, told):
    observations, labels = columns(seen, OBSERVATION), columns(told, LABEL)
    recording = Recording()
    text = written([Begun(1.0, "m"), *observed_lines(observations), *label_lines(labels), Ended(2.0)])
    read_ndjson(io.BytesIO(text), "day", recording)
    again = recording.columns(champion=1, challenger=2)
    for before, after in zip((observations, labels), again, strict=True):
        for name in before.dtype.names:
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert (recording.begun.model, recording.ended.at) == ("m", 2.0)


def test_requests_go_to_whoever_wants_them():
    asked = Asked(1.0, "a", "/invocations", body="{}")
    text = written([asked, Asked(2.0, "b", "/x", body_base64="AAE=", header_length=3)])
    taken = []
    read_ndjson(io.BytesIO(text), "day", Recording(asked=taken.extend))
    assert taken[0] == asked
    assert (taken[1].body_base64, taken[1].header_length) == ("AAE=", 3)
    nobody = Recording()
    read_ndjson(io.BytesIO(text), "day", nobody)
    assert [each.size for each in nobody.columns(champion=1, challenger=2)] == [0, 0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"type": "request", "at": 1, "request_id": "a"}, "expected path: text"),
        ({"type": "request", "at": 1, "request_id": "a", "path": "/", "body": 3}, "body: expected text"),
        ({"type": "end", "at": "now"}, "at: expected seconds since the epoch"),
    ],
)
def test_a_request_that_is_none_is_named(line, expected):
    with pytest.raises(RecordingError, match=expected):
        read_ndjson(io.BytesIO(json.dumps(line).encode()), "day", Recording())


@pytest.mark.parametrize("name", ["day.ndjson", "day.ndjson.gz", "day.parquet"])
def test_every_kind_of_file_is_read_back(tmp_path, name):
    observations = columns(
        [(5.0, 0, 1, 2, 0, 7, Role.CHAMPION, Mode.NONE, 0, 0, 0, Outcome.OK, 0.1, 0.2, 1, np.nan)] * 3, OBSERVATION
    )
    begun, request, ended = Begun(1.0, "m", redacted=["name"]), Asked(4.0, "a", "/p", body="x"), Ended(9.0)
    lines = [begun, request, *observed_lines(observations), ended]
    sink = create(tmp_path / name)
    for line in lines:
        sink.write(written([line]))
    sink.close()
    asked = []
    recording = Recording(asked=asked.extend)
    read_file(tmp_path / name, recording)
    (seen, _) = recording.columns(champion=1, challenger=2)
    assert seen["version"].tolist() == [7, 7, 7]
    assert seen["mode"].tolist() == [Mode.NONE] * 3
    assert (asked, recording.begun, recording.ended) == ([request], begun, ended)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with pytest.raises(RecordingError, match="not there yet"):
        create(tmp_path / name)
    if name.endswith("gz"):
        assert gzip.decompress((tmp_path / name).read_bytes()).startswith(b'{"type":"recording"')


def test_large_bodies_fill_a_row_group_before_the_memory(tmp_path):
    sink = create(tmp_path / "day.parquet")
    for at in range(5):
        sink.write(written([Asked(float(at), "a", "/p", body="x" * (GROUP_BYTES // 4))]))
    sink.close()
    groups = parquet.ParquetFile(tmp_path / "day.parquet").metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [4, 1]


@given(st.tuples(_HALF, _HALF), st.integers(0, 100), st.integers(0, 100))
def test_a_larger_sample_has_all_of_a_smaller_one(key, one, other):
    small, large = sorted((one, other))
    assert in_sample(*key, small) <= in_sample(*key, large)
    assert in_sample(*key, 100)
    assert not in_sample(*key, 0)


def test_a_sample_is_as_large_as_it_says_whatever_the_ids():
    ids = {"counted": [(0, n) for n in range(20_000)], "node at the end": [(n << 32, 0x123456) for n in range(20_000)]}
    for kind, keys in ids.items():
        share = sum(in_sample(*key, 10) for key in keys) / len(keys)
        assert abs(share - 0.1) < 0.01, kind
