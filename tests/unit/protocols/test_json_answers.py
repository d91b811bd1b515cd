"""What any server answers in JSON, read where JSON pointers say."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.plain_json import PlainJson
from router.protocols.protocol import Asking, Reading, Unreadable

JSON_PROTOCOL = PlainJson()
NAN = math.nan


def read(answer, *reading: str, **named: str) -> list[tuple]:
    reader = JSON_PROTOCOL.reader(Reading(*reading, **named))
    return [(each.value, each.score) for each in reader(json.dumps(answer).encode())]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"output": 4.5}, [(4.5, NAN)]),
        ([1.0, 0.0], [(1.0, NAN), (0.0, NAN)]),
        ({"prediction": 1, "score": 0.75, "took_ms": 3}, [(1.0, 0.75)]),
        ([{"label": "late", "score": 0.75}], [("late", 0.75)]),
        (True, [(1.0, NAN)]),
    ],
)
def test_without_pointers_as_other_protocols_have_it(answer, expected):
    assert repr(read(answer)) == repr(expected)


@pytest.mark.parametrize(
    ("answer", "reading", "expected"),
    [
        ({"a": {"b": [7, {"c": 1}]}}, ("/a/b/1/c",), [(1.0, NAN)]),
        ({"a/b": {"~": 1, "": 2}}, ("/a~1b/~0", "/a~1b/"), [(1.0, 2.0)]),
        ({"y": 1, "p": {"late": 0.75}}, ("/y", "/p/late"), [(1.0, 0.75)]),
        ({"y": 1}, ("/y", "/p/late"), [(1.0, NAN)]),
        ({"y": [1, 0], "p": [0.75, [0.5, 0.5]]}, ("/y", "/p"), [(1.0, 0.75), (0.0, 0.5)]),
        ({"y": [1, 0]}, ("/y", "/p"), [(1.0, NAN), (0.0, NAN)]),
        ({"r": [{"y": 1, "p": 0.5}, {"y": 0}]}, ("/y", "/p", "/r"), [(1.0, 0.5), (0.0, NAN)]),
        ({"r": [[1, 0.5], [0, 0.25]]}, ("/0", "/1", "/r"), [(1.0, 0.5), (0.0, 0.25)]),
        ({"r": [1, 0]}, ("", "", "/r"), [(1.0, NAN), (0.0, NAN)]),
        ([{"y": 1}, {"y": 0}], ("/y", "", "#"), [(1.0, NAN), (0.0, NAN)]),
        ({"p": [0.25, 0.75]}, ("/p", "", "#"), [(1.0, 0.75)]),
        ({"p": [0.25, 0.75]}, ("/p",), [(0.25, NAN), (0.75, NAN)]),
        ({"r": {"y": NAN}}, ("/y", "", "/r"), [(NAN, NAN)]),
        (3, ("#",), [(3.0, NAN)]),
    ],
)
def test_pointers(answer, reading, expected):
    assert repr(read(answer, *reading)) == repr(expected)


@pytest.mark.parametrize(
    ("body", "reading"),
    [
        (b"", ()),
        (b"<html>", ()),
        (b"[]", ()),
        (b"{}", ()),
        (b'{"a": 1, "b": 2}', ()),
        (b"[" * 200_000, ()),
        (b"[NaN, " + b"[" * 200_000, ("/y",)),
        (b'{"x": 1}', ("/y",)),
        (b'{"y": []}', ("/y",)),
        (b'{"y": [1], "p": [1, 2]}', ("/y", "/p")),
        (b'{"y": [1], "p": 1}', ("/y", "/p")),
        (b"[1, 2]", ("/2",)),
        (b"[1, 2]", ("/-",)),
        (b"[1, 2]", ("/01",)),
        (b"[1, 2]", ("/" + "9" * 5000,)),
        (b'{"r": []}', ("/y", "", "/r")),
        (b'{"r": [{"y": 1}, {}]}', ("/y", "", "/r")),
        (b'{"r": 1}', ("/y", "", "/r")),
    ],
)
def test_anything_else_is_unreadable_and_says_what_was_expected(body, reading):
    with pytest.raises(Unreadable, match="expected"):
        JSON_PROTOCOL.reader(Reading(*reading))(body)


@pytest.mark.parametrize("pointer", ["y", "y/z", "/a~2", "/~", "##", "#/a"])
def test_what_is_no_pointer(pointer):
    for reading in (Reading(pointer), Reading("/y", pointer), Reading("/y", "", pointer)):
        with pytest.raises(ValueError, match="to be a JSON pointer such as"):
            JSON_PROTOCOL.reader(reading)


def test_a_score_needs_a_prediction():
    with pytest.raises(ValueError, match=r"expected answer\.prediction beside answer\.score"):
        JSON_PROTOCOL.reader(Reading(score="/p"))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["y", "p", "r", "label"]), inner),
    max_leaves=10,
)


@given(ANY, st.sampled_from(["", "/y", "#", "/0"]), st.sampled_from(["", "/p"]), st.sampled_from(["", "#", "/r"]))
def test_whatever_is_answered_is_rows_or_unreadable(answer, prediction, score, rows):
    try:
        found = read(answer, prediction, score if prediction else "", rows)
    except Unreadable:
        return
    assert found
    assert all(isinstance(value, (float, str)) and not math.isinf(score) for value, score in found)


def test_every_post_calls_for_a_prediction():
    assert JSON_PROTOCOL.calls_for_prediction(b"POST", b"/anything")
    assert not JSON_PROTOCOL.calls_for_prediction(b"GET", b"/anything")
    assert JSON_PROTOCOL.model_in_path(b"/v2/models/m/infer") is None
    assert not JSON_PROTOCOL.pins_version(b"/v2/models/m/versions/1/infer")
    assert JSON_PROTOCOL.questions("m", {}, Asking()) is None
