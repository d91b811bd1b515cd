"""The sample-ratio test of a canary's split."""

import numpy as np
import pytest
from desk import CANARY, PROMOTE, Desk, policy

from comparator.split import GRACE_SECONDS, Split
from comparator.title import Title

ALPHA = 0.01


def asked_of(split, share, count, *, start=GRACE_SECONDS, seed=0, batch=500):
    rng = np.random.default_rng(seed)
    asked = start + np.sort(rng.random(count)) * 600.0
    trial = rng.random(count) < share
    for low in range(0, count, batch):
        split.take(asked[low : low + batch], trial[low : low + batch])
    return split


def fresh(share=0.1):
    split = Split()
    split.ask(share, 0.0)
    return split


@pytest.mark.parametrize(("share", "real"), [(0.1, 0.2), (0.1, 0.0), (0.5, 0.45), (0.9, 0.8)])
def test_another_split_is_found(share, real):
    said = asked_of(fresh(share), real, 5000).mismatch(ALPHA)
    assert f"where {share:.0%} were asked" in said
    assert "5,000 requests" in said


def test_requests_from_before_the_change_are_left_out():
    split = fresh(0.5)
    split.take(np.linspace(-30.0, GRACE_SECONDS - 0.1, 1000), np.zeros(1000, dtype=bool))  # the slow ones come late
    assert split.answers == 0
    assert asked_of(split, 0.5, 2000).mismatch(ALPHA) is None


def test_a_share_that_changes_begins_anew_and_none_says_nothing():
    split = asked_of(fresh(0.1), 0.5, 2000)
    assert split.mismatch(ALPHA) is not None
    split.ask(0.5, 700.0)
    assert split.mismatch(ALPHA) is None
    assert asked_of(split, 0.5, 2000, start=720.0).mismatch(ALPHA) is None
    split.ask(None, 1400.0)
    assert asked_of(split, 0.9, 2000, start=1500.0).mismatch(ALPHA) is None


def test_clients_that_stick_to_a_side_are_not_judged_from_the_moment_on_that_the_settings_say_so():
    desk = Desk(policy(CANARY, PROMOTE, min_answers=10**9))
    desk.read(challenger=2)

    def said():
        desk.answers(1500)  # one in two goes to either, where one in ten was asked for
        return " ".join(desk.title.rollout.report(desk.at).missing)

    assert "were asked" not in said()  # the desk's clients stick
    desk.title.adopt(desk.policy, sticky=False)
    assert "where 10% were asked" in said()
    desk.title.adopt(desk.policy, sticky=True)
    assert "were asked" not in said()


def test_a_restart_goes_by_the_settings_as_they_are():
    desk = Desk(policy(CANARY, PROMOTE, min_answers=10**9))
    desk.read(challenger=2)
    desk.answers(100)
    fresh = desk.title.rollout.evidence
    other = Desk(desk.policy)
    other.title = Title(desk.policy, sticky=False)
    other.read(challenger=2)
    other.title.rollout.go_on(fresh, 0)
    assert not other.title.rollout.evidence.sticky
