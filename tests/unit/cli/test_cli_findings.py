"""What `doctor` makes of what it saw."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cli.findings import (
    LITTLE_SPACE,
    NO_SPACE,
    Holder,
    Level,
    Port,
    of_clock,
    of_ledger,
    of_new_ledger,
    of_ports,
    of_space,
    of_state,
)

IN_USE = "Address already in use"
FREE = ("", Holder.NOBODY)


def ports(admin, data):
    found = of_ports(Port("admin port", "127.0.0.1:9901", *admin), Port("data port", "0.0.0.0:8080", *data))
    assert [each.what for each in found] == ["admin port", "data port"]
    return [(each.level, each.text) for each in found]


def test_ports_are_free_or_held_by_a_titleshot():
    assert ports(FREE, FREE) == [(Level.OK, "127.0.0.1:9901 is free"), (Level.OK, "0.0.0.0:8080 is free")]
    held = IN_USE, Holder.TITLESHOT
    assert ports(held, held)[1] == (Level.OK, "0.0.0.0:8080 is held by a titleshot")
    assert ports(held, FREE)[1] == (Level.OK, "0.0.0.0:8080 is free, although titleshot runs")


@pytest.mark.parametrize("admin", [FREE, (IN_USE, Holder.TITLESHOT), (IN_USE, Holder.ANOTHER)])
def test_another_program_on_the_data_port_is_one_whoever_holds_the_admin_port(admin):
    level, text = ports(admin, (IN_USE, Holder.ANOTHER))[1]
    assert level is Level.FAIL
    assert "by another program" in text


def test_a_port_that_nobody_holds_and_nobody_can_have():
    assert ports(FREE, ("Permission denied", Holder.NOBODY))[1] == (
        Level.FAIL,
        "0.0.0.0:8080 cannot be had: Permission denied",
    )


def test_who_asks_for_a_certificate_is_titleshot_only_where_one_runs():
    held = IN_USE, Holder.UNTOLD
    assert ports((IN_USE, Holder.TITLESHOT), held)[1][0] is Level.OK
    level, text = ports(FREE, held)[1]
    assert level is Level.WARN
    assert "cannot be told from here" in text


@given(st.sampled_from(Holder), st.sampled_from(Holder), st.sampled_from(["", IN_USE]), st.sampled_from(["", IN_USE]))
def test_only_a_free_port_or_one_of_a_titleshot_is_in_order(at_admin, at_data, admin, data):
    for (level, _), holder, problem in zip(
        ports((admin, at_admin), (data, at_data)), (at_admin, at_data), (admin, data), strict=True
    ):
        if level is Level.OK:
            assert not problem or holder in (Holder.TITLESHOT, Holder.UNTOLD)


def test_the_state_directory():
    place, above = Path("/srv/titleshot/state"), Path("/srv")
    assert of_state(place, place, writable=True).text == str(place)
    assert of_state(place, above, writable=True).text == f"{place} will be made"
    assert of_state(place, above, writable=False).level is Level.FAIL


@given(st.integers(0, 1 << 50))
def test_the_less_space_the_worse(free):
    found = of_space("ledger", Path("/srv"), free)
    wanted = Level.FAIL if free < NO_SPACE else Level.WARN if free < LITTLE_SPACE else Level.OK
    assert (found.what, found.level) == ("ledger: space", wanted)


def test_the_ledger():
    file = Path("/srv/titleshot.db")
    assert of_new_ledger(Path("/srv"), writable=True).level is Level.OK
    assert of_new_ledger(Path("/srv"), writable=False).level is Level.FAIL
    assert of_ledger(file, ["a", "b"], "", writable=True).text == "has decisions about a, b"
    assert of_ledger(file, [], "", writable=True).text == "has decisions about no model yet"
    assert of_ledger(file, [], "not a ledger", writable=True).level is Level.FAIL
    assert of_ledger(file, ["a"], "", writable=False).level is Level.FAIL


def test_a_clock_that_is_off():
    assert of_clock(0.4).level is of_clock(-4.9).level is Level.OK
    assert "61 s ahead of" in of_clock(61.0).text
    assert "3600 s behind" in of_clock(-3600.0).text
    assert of_clock(61.0).level is Level.WARN
