import gzip
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from comparator.events import Mode, Outcome, Role, request_key
from router.recordings.reading import CHUNK, Recording, RecordingError, read_file, read_ndjson

SEEN = {"type": "observation", "at": 1.5, "request_id": "a", "role": "challenger", "status": 200}
TOLD = {"type": "label", "at": 2, "request_id": "a", "label": 1}


def lines(*items):
    return b"".join(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n" for item in items)


def read(*items, positive=None, only_labels=False):
    recording = Recording(positive)
    read_ndjson(io.BytesIO(lines(*items)), "day.ndjson", recording, only_labels=only_labels)
    return recording.columns(champion=1, challenger=2)


def refusal(*items, **settings):
    with pytest.raises(RecordingError) as caught:
        read(*items, **settings)
    return str(caught.value).splitlines()


def test_every_field():
    whole = SEEN | {
        "row": 3, "version": "7", "mode": "canary", "latency_s": 0.25, "ok": False, "prediction": 1, "score": 0.83
    }  # fmt: skip
    observations, labels = read(whole, TOLD | {"row": 3})
    (seen,), (told,) = observations, labels
    assert (seen["at"], seen["row"], seen["version"], seen["role"]) == (1.5, 3, 7, Role.CHALLENGER)
    assert (seen["mode"], seen["outcome"], seen["latency"]) == (Mode.CANARY, Outcome.GARBAGE, 0.25)
    assert (seen["prediction"], seen["score"]) == (1.0, 0.83)
    assert (told["at"], told["row"], told["label"]) == (2.0, 3, 1.0)
    for row in (seen, told):
        assert (int(row["request_hi"]) << 64) | int(row["request_lo"]) == request_key("a")


def test_what_may_be_left_out():
    observations, labels = read(
        SEEN,
        b"\n",
        SEEN | {"role": "champion"},
        b"  \r\n",
        SEEN | {"request_id": "b", "version": 9, "prediction": None},
    )
    assert observations["mode"].tolist() == [Mode.SHADOW, Mode.SHADOW, Mode.CANARY]
    assert observations["attempted_both"].tolist() == [True, True, False]
    assert observations["version"].tolist() == [2, 1, 9]
    assert np.isnan(observations["latency"]).all()
    assert np.isnan(observations["prediction"]).all()
    assert labels.size == 0


def test_an_empty_file():
    assert [columns.size for columns in read()] == [0, 0]


def test_labels_of_their_own_need_no_type():
    _, labels = read({"at": 1, "request_id": "a", "label": True}, TOLD, only_labels=True)
    assert labels["label"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("positive", "values", "expected"),
    [
        ("late", ["late", "on time", "LATE"], [1, 0, 0]),
        ("2", [2, 2.0, 1, "2"], [1, 1, 0, 1]),
        ("true", [True, False, "true"], [1, 0, 1]),
        (None, [True, 0, 0.5], [1, 0, 0.5]),
    ],
)
def test_what_is_positive(positive, values, expected):
    observations, labels = read(
        *(SEEN | {"prediction": value} for value in values),
        *(TOLD | {"label": value} for value in values),
        positive=positive,
    )
    assert observations["prediction"].tolist() == expected
    assert labels["label"].tolist() == expected


OBJECT = "expected one JSON object"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"{\n", "expected one JSON object in UTF-8"),
        (b"\xff\n", "expected one JSON object in UTF-8"),
        (b'{"type":"label","at":1,"request_id":"\xff","label":1}\n', "expected one JSON object in UTF-8"),
        (b"[" * 100_000 + b"\n", OBJECT),
        (b"[1]\n", OBJECT),
        (b"3\n", OBJECT),
        ({"at": 1}, 'expected type: "observation", "label", "request"'),
        (SEEN | {"type": "other"}, 'type: expected "observation", "label", "request"'),
        (SEEN | {"type": 3}, 'type: expected "observation", "label", "request"'),
        ({"type": "label", "at": 1, "label": 1}, "expected request_id: text"),
        ({"type": "observation", "at": 1, "request_id": "a", "ok": True}, "expected role: champion, challenger or"),
        (SEEN | {"at": "now"}, "at: expected seconds since the epoch, before the year 10000"),
        (SEEN | {"at": None}, "at: expected seconds since the epoch, before the year 10000"),
        (b'{"type":"label","at":1e999,"request_id":"a","label":1}\n', "at: expected seconds since the epoch"),
        (SEEN | {"request_id": 5}, "request_id: expected text"),
        (b'{"type":"label","at":1,"request_id":"\\ud800","label":1}\n', OBJECT),
        (SEEN | {"request_id": ""}, "request_id: expected text"),
        (SEEN | {"role": "champ"}, "role: expected champion, challenger or previous"),
        (SEEN | {"mode": "shade"}, "mode: expected none, shadow, canary, watch, forced, twice or again"),
        (SEEN | {"row": -1}, "row: expected a whole number from 0"),
        (SEEN | {"row": 1.5}, "row: expected a whole number from 0"),
        (SEEN | {"version": "v7"}, "version: expected a whole number from 1, or its digits"),
        (SEEN | {"version": 0}, "version: expected a whole number from 1, or its digits"),
        (SEEN | {"latency_s": "5 ms"}, "latency_s: expected seconds, a number"),
        (SEEN | {"status": 600}, "status: expected an HTTP status"),
        (SEEN | {"status": 20}, "status: expected an HTTP status"),
        (SEEN | {"status": None}, "expected status, ok or outcome"),
        (SEEN | {"ok": "yes"}, "ok: expected true or false"),
        (SEEN | {"prediction": [1]}, "prediction: expected a number"),
        (SEEN | {"prediction": "late"}, "prediction: expected a number, true or false; --positive says which"),
        (SEEN | {"score": True}, "score: expected a number"),
        (SEEN | {"latency": 1}, "latency: expected no such field; the fields are type, at"),
        (TOLD | {"label": "late"}, "label: expected a number, true or false; --positive says which"),
        (TOLD | {"label": {}}, "label: expected a number, true or false"),
        (TOLD | {"row": "0"}, "row: expected a whole number from 0"),
        (TOLD | {"role": "champion"}, "role: expected no such field"),
    ],
)
def test_a_line_that_is_wrong_is_named(bad, expected):
    (problem,) = refusal(SEEN, b"\n", TOLD, bad, TOLD)
    assert problem.startswith(f"day.ndjson:4: {expected}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


FIELDS = sorted({*SEEN, *TOLD, "row", "version", "mode", "latency_s", "ok", "prediction", "score", "x"})


def taken_or_named(content):
    """How many rows were taken; None: refused by line."""
    recording = Recording()
    try:
        read_ndjson(io.BytesIO(content), "day.ndjson", recording)
    except RecordingError as error:
        return None if str(error).startswith("day.ndjson:") else str(error)
    return sum(columns.size for columns in recording.columns(champion=1, challenger=2))


@given(st.sampled_from([SEEN, TOLD]), st.sampled_from(FIELDS), JSON)
@example(SEEN, "latency_s", 1e300)
def test_whatever_a_field_holds_it_is_taken_or_named(line, name, value):
    assert taken_or_named(lines(line | {name: value})) in (1, None)


@given(st.binary(max_size=60))
def test_whatever_bytes_there_are_they_are_taken_or_named(content):
    assert taken_or_named(lines(TOLD) + content) in (1, None)


def test_all_wrong_lines_are_named_up_to_a_limit():
    assert len(refusal(TOLD, b"x\n", SEEN, b"y\n")) == 2
    many = refusal(*[b"x\n"] * 50)
    assert many[19].startswith("day.ndjson:20: ")
    assert many[20:] == ["and more: the first are shown"]


def test_lines_are_counted_over_chunks():
    filler = SEEN | {"request_id": "a" * 1000}
    count = 2 * CHUNK // 1000
    (problem,) = refusal(*[filler] * count, b"{}\n")
    assert problem.startswith(f"day.ndjson:{count + 1}: expected type")


def test_a_line_without_end_is_refused():
    (problem,) = refusal(TOLD, b"[" * (2 * CHUNK + 5))
    assert problem == f"day.ndjson:2: expected a line of at most {CHUNK} bytes"


def test_a_byte_order_mark_and_no_newline_at_the_end():
    _, labels = read(b"\xef\xbb\xbf" + lines(TOLD, TOLD).rstrip())
    assert labels.size == 2


def test_packed(tmp_path):
    path = tmp_path / "day.ndjson.gz"
    path.write_bytes(gzip.compress(lines(SEEN, TOLD)))
    recording = Recording()
    read_file(path, recording)
    assert recording.lines == 2
    for broken in (lines(SEEN), path.read_bytes()[:-20]):
        path.write_bytes(broken)
        with pytest.raises(RecordingError, match="expected a whole gzip file"):
            read_file(path, Recording())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecordingError, match="expected a file that can be read"):
        read_file(tmp_path / "none.ndjson", Recording())


def table(path, rows):
    names = dict.fromkeys(name for row in rows for name in row)
    parquet.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def test_parquet_says_what_ndjson_says(tmp_path):
    rows = [
        SEEN | {"latency_s": 0.5, "row": 0, "prediction": 1, "label": None},
        SEEN | {"role": "champion", "version": "4", "prediction": None, "latency_s": float("nan")},
        TOLD,
    ]
    recording = Recording()
    read_file(table(tmp_path / "day.parquet", rows), recording)
    plain = [{name: value for name, value in row.items() if str(value) not in ("nan", "None")} for row in rows]
    for one, other in zip(recording.columns(champion=1, challenger=2), read(*plain), strict=True):
        for name in one.dtype.names:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_whole_numbers_and_labels_as_data_frames_write_them(tmp_path):
    nan = float("nan")
    rows = [SEEN | {"status": 200.0, "version": 2.0, "label": nan}, SEEN | {"status": nan, "version": nan, "ok": False}]
    recording = Recording()
    read_file(table(tmp_path / "day.parquet", rows), recording)
    observations, _ = recording.columns(champion=1, challenger=5)
    assert observations["version"].tolist() == [2, 5]
    assert observations["outcome"].tolist() == [Outcome.OK, Outcome.SERVER_ERROR]


def test_parquet_of_one_kind_needs_no_type(tmp_path):
    recording = Recording("late")
    seen = {name: value for name, value in SEEN.items() if name != "type"} | {"prediction": "late"}
    read_file(table(tmp_path / "seen.pq", [seen]), recording)
    told = {"at": 5.0, "request_id": "a"}
    truths = [told | {"label": "late"}, told | {"label": None}]
    read_file(table(tmp_path / "told.pq", truths), recording, only_labels=True)
    observations, labels = recording.columns(champion=1, challenger=2)
    assert observations["prediction"].tolist() == [1.0]
    np.testing.assert_array_equal(labels["label"], [1.0, np.nan])


def test_parquet_that_is_wrong(tmp_path):
    path = table(tmp_path / "day.parquet", [SEEN, SEEN | {"role": "champ"}, SEEN | {"at": float("nan")}])
    with pytest.raises(RecordingError) as caught:
        read_file(path, Recording())
    assert str(caught.value).splitlines() == [
        f"{path}:2: role: expected champion, challenger or previous",
        f"{path}:3: expected at: seconds since the epoch, before the year 10000",
    ]
    path.write_bytes(b"no parquet")
    with pytest.raises(RecordingError, match="expected a Parquet file"):
        read_file(path, Recording())


def test_without_the_extra_it_is_named(tmp_path):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"  # as if it were not installed
        "from pathlib import Path; from router.recordings.reading import Recording, RecordingError, read_file\n"
        "try: read_file(Path('day.parquet'), Recording())\n"
        "except RecordingError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "day.parquet: Parquet needs an extra: pip install 'titleshot[parquet]'\n"
