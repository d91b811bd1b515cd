"""When two texts are the same prediction."""

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.class_code import class_code
from router.protocols.coding import Coding, Predicts
from router.protocols.comparing import REFUSED, Comparison, normalised
from router.protocols.json_pointer import at, pointer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c", "d~e", "0"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("other", ["Late", " late", "late\n", "\uff4c\uff41\uff54\uff45"])
def test_exact_is_to_the_letter_and_normalised_is_not(other):
    exact, same = Comparison("exact"), Comparison("normalised")
    assert exact.predicted(other) != exact.predicted("late")
    assert same.predicted(other) == same.predicted("late")
    assert same.fold(other) == same.predicted("LATE").value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_normalised_stays_so(text):
    once = normalised(text)
    assert normalised(once) == once
    assert normalised(unicodedata.normalize("NFD", text)) == once
    assert normalised(f"  {text}\t") == once


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_code_of_a_text_is_whole_and_beyond_every_small_number(text):
    code = class_code(text)
    assert code == int(code)
    assert 2**52 <= code < 2**53
    coding = Coding(Predicts.MULTICLASS)
    assert coding.label(text) == coding.prediction(Comparison("exact").predicted(text))[0] == code


def test_codes_are_those_of_every_process():
    assert class_code("late") == 8357988251804336.0


@given(JSON)
def test_a_field_is_the_same_however_its_json_is_written(value):
    field = Comparison("field:/x")
    text = json.dumps({"y": 1, "x": value}, indent=2)
    again = json.dumps({"x": value, "y": 2}, ensure_ascii=False, sort_keys=True)
    one, two = field.predicted(text).value, field.predicted(again).value
    assert one == two or value is None
    if value is None:
        assert math.isnan(one)
        assert math.isnan(two)
    elif isinstance(value, str | bool | int):
        assert one == value


@pytest.mark.parametrize(
    ("compare", "text", "value", "score"),
    [
        ("number:/p", '{"p": 0.25}', 0.25, 0.25),
        ("number:/a/1", '{"a": [1, true]}', 1.0, 1.0),
        ("number:", "7", 7.0, 7.0),
        ("number: /p", '{"p": "7"}', None, None),
        ("number:/p", '{"p": 1e999}', None, None),
        ("number:/p", "{", None, None),
        ("number:/p", "[" * 100_000, None, None),
        ("number:/p/q", '{"p": 7}', None, None),
        ("number:/01", "[1, 2]", None, None),
        ("field:/p", '{"p": 3}', 3.0, None),
        ("field:/p", '{"q": 3}', None, None),
        ("field:/p", "late", None, None),
    ],
)
def test_values_in_a_text(compare, text, value, score):
    found = Comparison(compare).predicted(text)
    for given_, expected in ((found.value, value), (found.score, score)):
        assert given_ == expected or (expected is None and math.isnan(given_))


def test_a_score_beside_the_prediction():
    found = Comparison("field:/label", "/p").predicted('{"label": "late", "p": 0.75}')
    assert found.value == "late"
    assert found.score == 0.75
    assert Comparison("number:/n", "/p").predicted('{"n": 1, "p": 0.75}').score == 0.75


def test_refusals_are_no_class_that_a_label_names_and_no_number():
    assert Coding(Predicts.MULTICLASS).prediction(REFUSED)[0] >= 2**52
    assert Coding(positive="late").prediction(REFUSED)[0] == 0.0
    assert math.isnan(Coding(Predicts.NUMBER).prediction(REFUSED)[0])


def test_pointers():
    assert at({"a/b": {"c~d": [0, {"": 5}]}}, pointer("/a~1b/c~0d/1/")) == 5
    assert pointer("") == ()
    with pytest.raises(ValueError, match="expected a JSON pointer"):
        pointer("a")


@pytest.mark.parametrize("compare", ["", "EXACT", "field", "field:x", "number:/~2", "regex:/x"])
def test_what_is_no_comparison(compare):
    with pytest.raises(ValueError, match="expected exact, normalised"):
        Comparison(compare)
