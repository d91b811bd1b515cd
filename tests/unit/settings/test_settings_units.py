import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.settings.units import (
    NotAUnit,
    parse_duration,
    parse_percent,
    parse_points,
    parse_relative,
    parse_size,
    write_duration,
    write_points,
    write_relative,
    write_size,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30.0),
        ("10m", 600.0),
        ("24h", 86_400.0),
        ("1h30m", 5400.0),
        ("7d", 604_800.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1m30s250ms", 90.25),
        ("0s", 0.0),
    ],
)
def test_durations(written, seconds):
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "10", "m", "10 m", "-5m", "30m1h", "1h1h", "10min", "1,5h", "1e3s", "٣s", "9999d", None, True, [], {}],
)
def test_not_durations(written):
    with pytest.raises(NotAUnit, match="expected"):
        parse_duration(written)


def test_a_bare_number_is_told_to_have_a_unit():
    with pytest.raises(NotAUnit, match=r"with its unit, such as 10s or 10m, not a bare number"):
        parse_duration(10)


@given(st.integers(0, 3650 * 86_400_000))
def test_durations_round_trip(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(write_duration(seconds)) == seconds


@given(st.integers(0, 2**40))
def test_sizes_round_trip(size):
    assert parse_size(write_size(size)) == size


@pytest.mark.parametrize("written", ["64KB", "64kib", "1.5MiB", "64", 64, "-1B", "", "KiB", True, None])
def test_not_sizes(written):
    with pytest.raises(NotAUnit, match="expected a size"):
        parse_size(written)


@given(st.integers(1, 9_999_9999))
def test_points_round_trip(ten_thousandths):
    written = f"{ten_thousandths / 10_000:.4f} points"
    assert parse_points(write_points(parse_points(written))) == parse_points(written)


@given(st.integers(1, 9_999_9999), st.sampled_from(["%", " %"]))
def test_relative_margins_round_trip(ten_thousandths, sign):
    written = f"{ten_thousandths / 10_000:.4f}{sign}"
    assert parse_relative(write_relative(parse_relative(written))) == parse_relative(written)


def test_margins_are_the_ratios_that_people_mean():
    assert (parse_points("2 points"), parse_points("0.5 points"), parse_points("1 point")) == (0.02, 0.005, 0.01)
    assert (parse_relative("10%"), parse_relative("10 %"), parse_relative("12.5%")) == (0.1, 0.1, 0.125)
    assert (write_points(0.02), write_points(0.01), write_relative(0.125)) == ("2 points", "1 point", "12.5%")


@pytest.mark.parametrize("written", ["10%", "2", 2, 0.02, "points", "-1 points", None, True])
def test_points_are_no_percentages(written):
    with pytest.raises(NotAUnit, match="percentage points"):
        parse_points(written)


@pytest.mark.parametrize("written", ["2 points", "10", 10, 0.1, "%", "-1%", None, True])
def test_percentages_are_no_points(written):
    with pytest.raises(NotAUnit, match="percentage of the champion's"):
        parse_relative(written)


@given(st.integers(1, 100))
def test_integer_percents(percent):
    assert parse_percent(percent) == percent


@pytest.mark.parametrize("written", [0, 101, -1, 10.0, "10", "10%", True, None])
def test_not_integer_percents(written):
    with pytest.raises(NotAUnit, match="integer percent from 1 to 100"):
        parse_percent(written)
