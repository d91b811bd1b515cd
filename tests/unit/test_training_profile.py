import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.registering.profile import (
    LEVELS,
    MOST_CATEGORIES,
    SAMPLE_ROWS,
    Profile,
    ProfileError,
    as_text,
    read_profile,
)
from router.registering.tables import TableError, pieces

CELLS = st.one_of(
    st.none(), st.just(""), st.just(math.nan), st.integers(-5, 5), st.floats(-1e6, 1e6), st.sampled_from("ab")
)


def profile(columns, cuts=()):
    made = Profile()
    count = len(next(iter(columns.values())))
    edges = [0, *sorted(cuts), count]
    for low, high in pairwise(edges):
        made.take({name: values[low:high] for name, values in columns.items()})
    return made.data()


@given(x=st.lists(CELLS, min_size=1, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=3))
def test_the_way_the_rows_are_cut_does_not_show(x, cuts):
    columns = {"x": x, "y": list(range(len(x)))}
    cuts = [min(cut, len(x)) for cut in cuts]
    assert as_text(profile(columns, cuts)) == as_text(profile(columns))
    assert read_profile(as_text(profile(columns))) == profile(columns)


def test_numbers_have_quantiles_and_text_has_categories():
    data = profile({"n": ["1", "2", "", "4", None], "t": ["a", "b", "a", "", "a"]})
    number, text = data["columns"]["n"], data["columns"]["t"]
    assert (number["kind"], number["missing"], number["mean"]) == ("number", 0.4, pytest.approx(7 / 3))
    assert [number["quantiles"][str(level)] for level in (0.0, 0.5, 1.0)] == [1.0, 2.0, 4.0]
    assert (text["kind"], text["missing"], text["distinct"]) == ("text", 0.2, 2)
    assert text["top"] == [["a", 0.75], ["b", 0.25]]


def test_quantiles_of_many_rows_are_as_near_as_is_said():
    values = np.random.default_rng(2).lognormal(size=60_000)
    quantiles = profile({"x": values.tolist()}, cuts=range(0, 60_000, 7_001))["columns"]["x"]["quantiles"]
    ordered = np.sort(values)
    for level in LEVELS[1:-1]:
        assert abs(np.searchsorted(ordered, quantiles[str(level)]) / values.size - level) < 0.014
    assert (quantiles["0.0"], quantiles["1.0"]) == (values.min(), values.max())
    assert values.size > SAMPLE_ROWS


def test_categories_are_bounded():
    column = profile({"x": [f"name {number}" for number in range(5 * MOST_CATEGORIES)]})["columns"]["x"]
    assert column["distinct"] == MOST_CATEGORIES
    assert column["more_than_distinct"]
    assert len(column["top"]) == 50


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', "1" * 5_000_000, '{"schema":1,"rows":1,"columns":{"x":{}}}']
)
def test_what_is_no_profile_is_refused(text):
    with pytest.raises(ProfileError):
        read_profile(text)


def test_columns_stay_the_same():
    made = Profile()
    made.take({"x": [1]})
    with pytest.raises(ProfileError, match="same columns"):
        made.take({"y": [1]})
    with pytest.raises(ProfileError, match="one length"):
        made.take({"x": [1], "y": []})
    with pytest.raises(ProfileError, match="no row"):
        Profile().data()


def test_a_csv_is_read_in_pieces_and_a_bad_one_refused(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("x,y\n" + "1,a\n" * 20_000)
    read = list(pieces(file))
    assert len(read) > 1
    assert sum(len(piece["x"]) for piece in read) == 20_000
    for text, said in (
        ("", "header"),
        ("x,x\n1,2\n", "header"),
        ("x,y\n1\n", "expected 2 values"),
        ('x\n"1', "expected CSV"),
    ):
        file.write_text(text)
        with pytest.raises(TableError, match=said):
            list(pieces(file))
    file.write_bytes(b"x\n\xff\n")
    with pytest.raises(TableError, match="UTF-8"):
        list(pieces(file))
