"""The model that a request's body names."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy.body_model import MOST_STEPS, body_model

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["model", '"model": "no"', "\\", '\\"', "x\\\\", "}", '{"model": "no"}', "é\n\t\u2028"]
)
KEY = st.sampled_from(["messages", "stream", "mod", "models", "Model", '"', "\\", "x\\", "{", "]"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just("model") | KEY, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bodies(draw):
    """(body, its model): with and without one, in any place, among values of any kind."""
    items = list(draw(st.dictionaries(KEY, JSON, max_size=5)).items())
    name = draw(st.none() | TEXT)
    if name is not None:
        items.insert(draw(st.integers(0, len(items))), ("model", name))
    text = json.dumps(dict(items), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        text = text.replace('"model"', '"m\\u006fdel"')
    return text.encode(), None if name is None else name.encode()


@given(bodies())
def test_it_is_what_a_json_parser_finds(body):
    assert body_model(body[0]) == body[1]


@given(bodies(), st.data())
def test_a_part_of_a_body_names_no_other_model(body, data):
    part = body[0][: data.draw(st.integers(0, len(body[0])))]
    assert body_model(part) in (None, body[1])


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model": "a"', b"a"),
        (b'{"model": "a", "model": "b"}', b"a"),
        (b'\r\n\t {"messages":[{"model":"no"}],"model":"yes"', b"yes"),
        (b'{"model": "a\\/b"}', b"a/b"),
        (b'{"model": ["a"]}', None),
        (b'{"model": null}', None),
        (b'{"model": "a', None),
        (b'{"model": "' + b"a" * 2000 + b'"}', None),
        (b'{"model": "\\ud800"}', None),
        (b'["model", "a"]', None),
        (b'{"x": [}, "model": "a"}', b"a"),  # which is no JSON: the model server says so
        (b'{"x" 1, "model": "a"}', None),
        (b'{"x": , "model": "a"}', None),
        (b"model=a", None),
        (b"\x1f\x8b\x08\x00", None),
        (b"", None),
    ],
)
def test_bodies_of_other_forms(body, name):
    assert body_model(body) == name


@pytest.mark.parametrize(
    "piece",
    [b"[", b"[[[]],", b'["x",', b'{"b":1},', b'"', b"\\", b'\\\\"', b'{{{""', b"[" + b"1" * 900, b'"a":1,', b"{"],
)
def test_no_body_takes_long(piece):
    for begin in (b'{"a":[', b'{"a":"', b"{"):
        body = begin + piece * (1_000_000 // len(piece))
        began = time.process_time()
        assert body_model(body) is None
        assert time.process_time() - began < 0.5  # about 10 ms, 40 at most


def test_steps_are_bounded():
    deep = b"[" * (MOST_STEPS // 2 - 2) + b"]" * (MOST_STEPS // 2 - 2)
    assert body_model(b'{"a": %b, "model": "m"}' % deep) == b"m"
    assert body_model(b'{"a": [%b,%b], "model": "m"}' % (deep, deep)) is None
