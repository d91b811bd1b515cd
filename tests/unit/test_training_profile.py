import json
import math
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.artifacts.profile import (
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
    st.none(),
    st.sampled_from(["", math.nan, math.inf, "nan", "-inf", 1.7e308, -1.7e308]),
    st.integers(-5, 5),
    st.floats(-1e6, 1e6),
    st.sampled_from("ab"),
)


def profile(columns, cuts=()):
    made = Profile()
    count = len(next(iter(columns.values())))
    edges = [0, *sorted(cuts), count]
    for low, high in pairwise(edges):
        made.take({name: values[low:high] for name, values in columns.items()})
    return made.data()


@given(x=st.lists(CELLS, min_size=1, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=3))
@example(x=[0, -0.0], cuts=[1])
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


def test_where_many_rows_have_one_value_more_than_the_level_is_reached():
    column = profile({"x": [0] * 60 + [1] * 40})["columns"]["x"]
    assert [column["quantiles"][str(level)] for level in (0.25, 0.5, 0.75)] == [0, 0, 1]
    assert {column["reached"][str(level)] for level in LEVELS if level <= 0.5} == {0.6}
    assert {column["reached"][str(level)] for level in LEVELS if level > 0.5} == {1.0}


def test_quantiles_of_many_rows_are_as_near_as_is_said():
    values = np.random.default_rng(2).lognormal(size=60_000)
    quantiles = profile({"x": values.tolist()}, cuts=range(0, 60_000, 7_001))["columns"]["x"]["quantiles"]
    ordered = np.sort(values)
    for level in LEVELS[1:-1]:
        assert abs(np.searchsorted(ordered, quantiles[str(level)]) / values.size - level) < 0.014
    assert (quantiles["0.0"], quantiles["1.0"]) == (values.min(), values.max())
    assert values.size > SAMPLE_ROWS


@pytest.mark.parametrize("nan", [math.nan, "NaN", "nan", "-nan", Decimal("NaN"), Decimal("sNaN"), None, ""])
def test_what_is_not_a_number_is_missing(nan):
    column = profile({"x": ["1.5", nan, "2.5", "3.5"]})["columns"]["x"]
    assert (column["kind"], column["missing"], column["mean"]) == ("number", 0.25, 2.5)


@pytest.mark.parametrize("infinity", [math.inf, -math.inf, "inf", "-Infinity", "1e999", Decimal("Infinity")])
def test_infinities_are_counted_apart(infinity):
    column = profile({"x": [1.5, infinity, 2.5, None]})["columns"]["x"]
    assert (column["kind"], column["missing"], column["infinite"]) == ("number", 0.25, 0.25)
    assert (column["mean"], column["quantiles"]["0.0"], column["quantiles"]["1.0"]) == (2.0, 1.5, 2.5)


def test_decimals_are_numbers():
    column = profile({"x": [Decimal("1.5"), Decimal("2.5")]})["columns"]["x"]
    assert (column["kind"], column["mean"], column["infinite"]) == ("number", 2.0, 0.0)


@pytest.mark.parametrize(("most", "mean"), [(1e200, 0.0), (1.7e308, None)])
def test_figures_that_no_number_holds_are_left_out(most, mean):
    data = profile({"x": [most, -most]})
    column = data["columns"]["x"]
    assert (column["mean"], column["deviation"], column["quantiles"]["1.0"]) == (mean, None, most)
    assert read_profile(as_text(data)) == data


def test_what_is_frequent_is_found_wherever_it_stands():
    names = [f"name {number}" for number in range(3 * MOST_CATEGORIES)]
    column = profile({"x": names + ["often"] * 5000 + ["at times"] * 2000 + names})["columns"]["x"]
    assert [name for name, _ in column["top"][:2]] == ["often", "at times"]
    for (_, share), count in zip(column["top"], (5000, 2000), strict=False):
        assert count / 13_000 - 1 / MOST_CATEGORIES < share <= count / 13_000


def test_categories_are_bounded():
    column = profile({"x": [f"name {number}" for number in range(5 * MOST_CATEGORIES)]})["columns"]["x"]
    assert column["distinct"] == MOST_CATEGORIES
    assert column["more_than_distinct"]
    assert len(column["top"]) == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        "1" * 5_000_000,
        '{"schema":1,"rows":1,"columns":{"x":{}}}',
        as_text(profile({"x": [1]})).replace('"mean": 1.0', '"mean": NaN'),
        as_text(profile({"x": [1]})).replace('"mean": 1.0', '"mean": 1' + 400 * "0"),
        as_text(profile({"x": [1]})).replace('"mean": 1.0', '"mean": 1e999'),
        as_text(profile({"x": [1]})).replace('"deviation": 0.0', '"deviation": -3.0'),
        as_text(profile({"x": [1]})).replace('"rows": 1', '"rows": true'),
        as_text(profile({"x": [1, 2]})).replace('"0.99": 1.0', '"0.99": 1.1'),
        as_text(profile({"x": [1, 2]})).replace('"0.0": 0.5', '"0.0": 0.9'),
        as_text(profile({"x": [1, 2]})).replace('"0.5": 0.5', '"0.7": 0.5'),
        as_text(profile({"x": ["a"]})).replace('"distinct": 1', '"distinct": "many"'),
        as_text(profile({"x": ["a"]})).replace('"rows": 1', '"rows": Infinity'),
    ],
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
        ("x,y\n1,a\n1\n", "a.csv:3: expected 2 values in each row, not 1"),
        ("x,y\n\n1,a\n", "a.csv:2: expected 2 values in each row, not 0"),
        ("x\n1\n\n\n2\n", "a.csv:3: expected 1 values"),
        ('x\n"1', "expected CSV"),
    ):
        file.write_text(text)
        with pytest.raises(TableError, match=said):
            list(pieces(file))
    file.write_bytes(b"x\n\xff\n")
    with pytest.raises(TableError, match="UTF-8"):
        list(pieces(file))


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n"])
def test_blank_lines_at_the_end_of_a_csv_are_no_rows(tmp_path, end):
    file = tmp_path / "a.csv"
    file.write_bytes(f"x,y\n1,a{end}".encode())
    assert [dict(piece) for piece in pieces(file)] == [{"x": ("1",), "y": ("a",)}]


def test_a_parquet_file_has_each_column_once(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), file)
    with pytest.raises(TableError, match="each column once"):
        list(pieces(file))


def test_a_parquet_file_with_gaps_has_numbers(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x": [1.0, math.nan, math.inf, None], "y": [Decimal("1.5")] * 4}), file)
    made = Profile()
    for piece in pieces(file):
        made.take(piece)
    x, y = (made.data()["columns"][name] for name in "xy")
    assert (x["kind"], x["missing"], x["infinite"], x["mean"]) == ("number", 0.5, 0.25, 1.0)
    assert (y["kind"], y["mean"]) == ("number", 1.5)


def test_a_profile_is_json_that_any_reader_takes():
    text = as_text(profile({"x": [1e200, -1e200, math.inf, math.nan]}))
    assert json.loads(text, parse_constant=pytest.fail)["rows"] == 4
