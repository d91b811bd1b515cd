"""The breaker's table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.breaker import LEAST_REFERENCE, PROBES, TRIP_FAILED
from router.proxy.breaker import Admission, Breaker, State

WAIT_SECONDS = 15.0


def run(*, failures: str, champion: str = "", now: float = 0.0) -> tuple[Breaker, list]:
    """One answer of each side in turn: x failed, . good."""
    breaker, changes = Breaker(WAIT_SECONDS), []
    for index, letter in enumerate(failures):
        if index < len(champion):
            breaker.champion(failed=champion[index] == "x")
        change = breaker.challenger(now, failed=letter == "x")
        if change is not None:
            changes.append(change)
    return breaker, changes


@pytest.mark.parametrize(
    ("failures", "champion", "opens"),
    [
        ("x" * 10, "." * 10, True),
        ("x" * 9, "." * 9, False),
        (".x" * 10, "." * 20, True),
        (".x" * 9, "." * 18, False),
        ("..x" * 20, "." * 60, False),  # never ten of the last twenty
        ("x" * 9 + "." * 11 + "x", "." * 21, False),  # the first has left the window
        ("x" * 10, "x" * 10, False),  # both fail: it is not the challenger
        ("x" * 20, "x" + "." * 19, True),  # the champion 5 %
        ("x" * 20, "xx" + "." * 18, True),  # 1 of 9 at first: too many; 1 of 10 with the eleventh
        ("x" * 12, "xxx" + "." * 9, False),
        ("x" * 10, "", True),  # the champion was not asked at all: it will be, while this is open
    ],
)
def test_it_opens_at_ten_of_twenty_while_the_champion_is_well(failures, champion, opens):
    breaker, changes = run(failures=failures, champion=champion)
    assert (breaker.state is State.OPEN) == opens
    assert [change.state for change in changes] == [State.OPEN] * opens
    assert not any(change.tripped for change in changes)


def opened(champion: str = "." * LEAST_REFERENCE) -> Breaker:
    """Open, and what the champion answered since: x failed, . good, ? nobody knows."""
    breaker = run(failures="x" * 10, champion="." * 10)[0]
    for letter in champion:
        breaker.champion(failed=None if letter == "?" else letter == "x")
    return breaker


def half_open(champion: str = "." * LEAST_REFERENCE) -> Breaker:
    breaker = opened(champion)
    for _ in range(PROBES):
        assert breaker.admit(WAIT_SECONDS)[0] is Admission.PROBE
    return breaker


def test_nothing_passes_while_it_is_open_then_a_few_probes():
    breaker = opened()
    assert breaker.admit(WAIT_SECONDS - 0.1) == (Admission.REFUSE, None)
    admission, change = breaker.admit(WAIT_SECONDS)
    assert admission is Admission.PROBE
    assert change.state is State.HALF_OPEN
    assert [breaker.admit(WAIT_SECONDS) for _ in range(PROBES - 1)] == [(Admission.PROBE, None)] * (PROBES - 1)
    assert breaker.admit(WAIT_SECONDS + 100) == (Admission.REFUSE, None)


def test_probes_that_all_fail_trip_it():
    breaker = half_open()
    assert [breaker.probed(WAIT_SECONDS + 1, failed=True) for _ in range(PROBES - 1)] == [None] * (PROBES - 1)
    change = breaker.probed(WAIT_SECONDS + 1, failed=True)
    assert (change.state, change.tripped, change.failed, change.seen) == (State.OPEN, True, 10, 10)
    for _ in range(LEAST_REFERENCE):
        breaker.champion(failed=False)
    assert breaker.admit(WAIT_SECONDS + 2)[0] is Admission.REFUSE
    assert breaker.admit(2 * WAIT_SECONDS + 1)[0] is Admission.PROBE


def test_it_probes_only_when_the_champion_was_asked_since_it_opened():
    breaker = opened("." * (LEAST_REFERENCE - 1))
    assert breaker.admit(10 * WAIT_SECONDS) == (Admission.REFUSE, None)
    breaker.champion(failed=True)  # it need not be well: a challenger that is well again is to come back
    assert breaker.admit(10 * WAIT_SECONDS)[0] is Admission.PROBE
    assert breaker.probed(10 * WAIT_SECONDS, failed=False).state is State.CLOSED


@pytest.mark.parametrize(
    ("champion", "tripped"),
    [
        (".....", True),
        ("x....", False),
        ("x.........", True),  # one of ten
        ("x.x.x....", False),
        ("xxxxx", False),
        ("?????", False),  # clients that gave up: no evidence, but it probes
        ("?....", False),
        ("?.....", True),
    ],
)
def test_an_outage_of_both_does_not_trip_it(champion, tripped):
    breaker = half_open(champion)
    changes = [breaker.probed(WAIT_SECONDS + 1, failed=True) for _ in range(PROBES)]
    assert (changes[-1].state, changes[-1].tripped) == (State.OPEN, tripped)


def canary(seed: int, share: float, rate: float, *, both: bool) -> tuple[bool, int]:
    """A challenger that fails whatever it is asked, or both do: whether it tripped in 1,000 requests; those it cost."""
    rng, breaker, cost = np.random.default_rng(seed), Breaker(WAIT_SECONDS), 0
    times = np.cumsum(rng.exponential(1 / rate, 1000)).tolist()
    for now, chosen in zip(times, (rng.random(1000) < share).tolist(), strict=True):
        admission = breaker.admit(now)[0] if chosen else Admission.REFUSE
        if admission is Admission.REFUSE:
            breaker.champion(failed=both)
            continue
        cost += 1
        outcome = breaker.probed if admission is Admission.PROBE else breaker.challenger
        change = outcome(now, failed=True)
        if change is not None and change.tripped:
            return True, cost
    return False, cost


@pytest.mark.parametrize("rate", [0.02, 1.0, 10.0])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_dead_challenger_trips_it_at_any_rate_and_an_outage_of_both_does_not(share, rate):
    assert not any(canary(seed, share, rate, both=True)[0] for seed in range(20))
    assert {canary(seed, share, rate, both=False) for seed in range(20)} == {(True, TRIP_FAILED + PROBES)}


def test_a_probe_that_succeeds_closes_it_with_a_clean_slate():
    breaker = half_open()
    breaker.probed(WAIT_SECONDS + 1, failed=True)
    assert breaker.probed(WAIT_SECONDS + 1, failed=False).state is State.CLOSED
    assert breaker.probed(WAIT_SECONDS + 1, failed=True) is None  # it was under way
    assert breaker.admit(WAIT_SECONDS + 1) == (Admission.ADMIT, None)
    assert [breaker.challenger(20, failed=True) for _ in range(9)] == [None] * 9
    assert breaker.challenger(20, failed=True).state is State.OPEN


def test_a_probe_that_says_nothing_lets_another_one_probe():
    breaker = half_open()
    assert breaker.probed(WAIT_SECONDS + 1, failed=None) is None
    assert breaker.admit(WAIT_SECONDS + 1)[0] is Admission.PROBE
    assert breaker.admit(WAIT_SECONDS + 1)[0] is Admission.REFUSE


def test_late_answers_do_not_move_an_open_breaker():
    breaker = opened()
    assert breaker.challenger(1, failed=True) is None
    assert breaker.challenger(1, failed=False) is None
    assert breaker.probed(1, failed=True) is None
    assert breaker.state is State.OPEN


@given(st.lists(st.sampled_from(["ok", "fail", "nothing", "champion", "champion fails", "champion?", "admit"])))
def test_whatever_happens_few_probes_are_under_way(events):
    breaker, now, probing = Breaker(WAIT_SECONDS), 0.0, 0
    for event in events:
        now += 2.0
        if event == "admit":
            probing += breaker.admit(now)[0] is Admission.PROBE
        elif event.startswith("champion"):
            breaker.champion(failed=None if event.endswith("?") else event.endswith("fails"))
        elif breaker.state is State.HALF_OPEN and probing:
            breaker.probed(now, failed=None if event == "nothing" else event == "fail")
            probing = 0 if breaker.state is not State.HALF_OPEN else probing - 1
        elif event != "nothing":
            breaker.challenger(now, failed=event == "fail")
        assert 0 <= probing <= PROBES
        assert breaker.state is State.HALF_OPEN or probing == 0
