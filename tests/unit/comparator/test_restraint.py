from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import JUDGE, Decision, DecisionKind
from comparator.policy_error import PolicyError
from comparator.restraint import DAY_SECONDS, FreezeWindow, Restraint, Rollbacks, frozen_seconds

MONDAY = datetime(2026, 3, 23, tzinfo=UTC).timestamp()
HOUR = 3600.0


def at(day, hour):
    return MONDAY + day * DAY_SECONDS + hour * HOUR


def test_a_window_within_a_day_and_one_over_midnight():
    noon, night = FreezeWindow((0,), 12 * HOUR, 14 * HOUR), FreezeWindow((4,), 16 * HOUR, 8 * HOUR)
    assert [noon.until(at(0, hour)) for hour in (11.99, 12, 13.99, 14)] == [None, at(0, 14), at(0, 14), None]
    assert noon.until(at(1, 13)) is None
    assert [night.until(at(4, 15.9)), night.until(at(5, 8))] == [None, None]
    assert [night.until(at(4, 16)), night.until(at(5, 7.9))] == [at(5, 8), at(5, 8)]


def test_the_wall_clock_counts_also_when_it_is_changed():
    """On 2026-03-29 clocks in Berlin go from 2:00 to 3:00."""
    window = FreezeWindow((5,), 22 * HOUR, 6 * HOUR, "Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    begin = datetime(2026, 3, 28, 22, tzinfo=berlin).timestamp()
    end = datetime(2026, 3, 29, 6, tzinfo=berlin).timestamp()
    assert end - begin == 7 * HOUR
    assert [window.until(begin - 1), window.until(begin), window.until(end - 1), window.until(end)] == [
        None,
        end,
        end,
        None,
    ]


@pytest.mark.parametrize("begin", [1.0, 2.0, 2.5, 3.0, 22.0])
@pytest.mark.parametrize("end", [1.5, 2.5, 3.0, 8.0])
@pytest.mark.parametrize("changes", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_a_window_is_one_piece_and_open_at_no_time_that_the_wall_clock_has_in_it(changes, begin, end):
    """Berlin's clocks go from 2:00 to 3:00 and from 3:00 back to 2:00."""
    berlin, first = ZoneInfo("Europe/Berlin"), changes.date() - timedelta(days=1 if begin > end else 0)
    window = FreezeWindow((first.weekday(),), begin * HOUR, end * HOUR, "Europe/Berlin")
    midnight = datetime.combine(first, time())
    begins, ends = midnight + timedelta(hours=begin), midnight + timedelta(hours=end + (24 if begin >= end else 0))
    moments = [changes.timestamp() + 300.0 * step for step in range(-2 * 288, 2 * 288)]
    frozen = [window.until(each) is not None for each in moments]
    within = [begins <= datetime.fromtimestamp(each, berlin).replace(tzinfo=None) < ends for each in moments]
    assert not [each for each, closed, inside in zip(moments, frozen, within, strict=True) if inside and not closed]
    assert sum(one != two for one, two in pairwise(frozen)) == 2 * any(frozen)
    assert sum(frozen) - sum(within) <= 24  # two hours longer, if it is in an hour that is not there


@given(
    windows=st.lists(
        st.builds(
            FreezeWindow,
            st.sets(st.integers(0, 6), min_size=1).map(tuple),
            st.integers(0, 23).map(lambda hour: hour * HOUR),
            st.integers(0, 23).map(lambda hour: hour * HOUR),
            st.sampled_from(["UTC", "Europe/Berlin"]),
        ),
        max_size=3,
    ),
    since=st.integers(0, 14 * 24),
    hours=st.integers(0, 10 * 24),
)
def test_frozen_time_is_what_the_windows_say_hour_by_hour(windows, since, hours):
    begin, restraint = at(0, since), Restraint(freeze=tuple(windows))
    expected = sum(restraint.frozen_until(begin + hour * HOUR) is not None for hour in range(hours))
    assert frozen_seconds(windows, begin, begin + hours * HOUR) == expected * HOUR


@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, 1439),
    end=st.integers(0, 1439),
    minute=st.integers(0, 14 * 1440),
)
def test_a_window_is_what_a_calendar_says(days, begin, end, minute):
    window = FreezeWindow(tuple(days), begin * 60.0, end * 60.0)
    now = datetime(2026, 3, 23, tzinfo=UTC) + timedelta(minutes=minute)
    length = (end - begin) % 1440 or 1440
    expected = None
    for back in (0, 1):  # a span of today, or what is left of yesterday's
        day = (now - timedelta(days=back)).replace(hour=0, minute=0)
        first = day + timedelta(minutes=begin)
        if day.weekday() in days and first <= now < first + timedelta(minutes=length):
            expected = max(expected or 0.0, (first + timedelta(minutes=length)).timestamp())
    assert window.until(now.timestamp()) == expected


def test_windows_that_touch_are_one():
    restraint = Restraint(freeze=(FreezeWindow((0,), 8 * HOUR, 12 * HOUR), FreezeWindow((0,), 12 * HOUR, 18 * HOUR)))
    assert restraint.frozen_until(at(0, 9)) == at(0, 18)
    assert restraint.frozen_until(at(0, 18)) is None
    assert Restraint().frozen_until(at(0, 9)) is None


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: FreezeWindow((), 0.0, 1.0), "days"),
        (lambda: FreezeWindow((0, 0), 0.0, 1.0), "days"),
        (lambda: FreezeWindow((7,), 0.0, 1.0), "days"),
        (lambda: FreezeWindow((0,), -1.0, 1.0), "begin_seconds"),
        (lambda: FreezeWindow((0,), 0.0, DAY_SECONDS), "end_seconds"),
        (lambda: FreezeWindow((0,), 0.0, 1.0, "Mars/Olympus"), "timezone"),
        (lambda: FreezeWindow((0,), 0.0, 1.0, "../etc/passwd"), "timezone"),
        (lambda: Restraint(cool_down_seconds=float("nan")), "cool_down_seconds"),
        (lambda: Restraint(warm_up_answers=-1), "warm_up_answers"),
        (lambda: Restraint(max_rollbacks_per_day=0), "max_rollbacks_per_day"),
        (lambda: Restraint(no_data_seconds=0.0), "no_data_seconds"),
    ],
)
def test_what_makes_no_sense_cannot_be_made(make, where):
    with pytest.raises(PolicyError) as error:
        make()
    assert error.value.where == where


def rolled_back(when, version=2, actor=JUDGE, trigger=""):
    return Decision(DecisionKind.ROLL_BACK, when, 7, version, "why", actor, trigger=trigger)


def test_after_a_rollback_it_cools_down():
    rollbacks, restraint = Rollbacks(), Restraint(cool_down_seconds=600.0)
    assert rollbacks.why_not(0.0, restraint) == ""
    rollbacks.take(rolled_back(1000.0, actor="ada"), None)
    said = rollbacks.why_not(1001.0, restraint)
    assert (
        said
        == rollbacks.why_not(1599.0, restraint)
        == ("cooling down after the rollback of version 2, until 1970-01-01 00:26:40 UTC")
    )
    assert rollbacks.why_not(1600.0, restraint) == ""
    assert rollbacks.why_not(1001.0, Restraint()) == ""


def test_too_many_in_a_day_freeze_until_a_person_says_so():
    rollbacks = Rollbacks()
    for hours in (0, 25, 30):  # the first is more than a day before the third
        rollbacks.take(rolled_back(hours * HOUR), 3)
    rollbacks.take(rolled_back(31 * HOUR, actor="ada"), 3)  # a person's do not count
    assert rollbacks.frozen == ""
    rollbacks.take(rolled_back(32 * HOUR, version=5), 3)
    assert "3 rollbacks within 24 hours, the last of version 5" in rollbacks.frozen
    assert rollbacks.why_not(1000 * HOUR, Restraint()) == rollbacks.frozen
    rollbacks.take(Decision(DecisionKind.UNFREEZE, 33 * HOUR, 0, 1, "looked into it", "ada"), 3)
    assert rollbacks.frozen == ""
    rollbacks.take(rolled_back(34 * HOUR), 3)
    assert rollbacks.frozen == ""


@pytest.mark.parametrize(("seconds", "counts"), [(DAY_SECONDS - 0.5, True), (DAY_SECONDS, False)])
def test_a_rollback_counts_for_24_hours_and_no_longer(seconds, counts):
    rollbacks = Rollbacks()
    rollbacks.take(rolled_back(1000.0), 2)
    rollbacks.take(rolled_back(1000.0 + seconds), 2)
    assert bool(rollbacks.frozen) is counts


def test_rollbacks_by_alerts_count_those_by_people_do_not():
    rollbacks = Rollbacks()
    rollbacks.take(rolled_back(1000.0, actor="ada", trigger="operator"), 2)
    rollbacks.take(rolled_back(1001.0, actor="pager", trigger="alert"), 2)
    assert rollbacks.frozen == ""
    rollbacks.take(rolled_back(1002.0, actor="pager", trigger="alert"), 2)
    assert "2 rollbacks within 24 hours" in rollbacks.frozen
