"""The split: exact within binomial bounds, monotone in the share, the same everywhere, new with each rollout."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy.assignment import SPACE, Assignment, position

PINNED = [4209127676, 3160557513, 4250831984]
KEYS = [b"user-%d" % number for number in range(40_000)]
keys = st.binary(max_size=64)
rollouts = st.integers(0, 2**64 - 1)
percents = st.integers(0, 100)


def bounds(share: float, count: int) -> tuple[float, float]:
    """Five standard deviations: one run in two million falls outside by chance."""
    spread = 5 * math.sqrt(count * share * (1 - share))
    return count * share - spread, count * share + spread


@pytest.mark.parametrize("share", [1, 10, 50, 90, 99])
def test_the_observed_share_is_the_share(share):
    for assignment in (Assignment(7, share, 0).to_other, Assignment(7, 0, share).mirrored):
        low, high = bounds(share / 100, len(KEYS))
        assert low <= sum(map(assignment, KEYS)) <= high


@given(keys, rollouts, percents, percents)
def test_growing_the_share_moves_nobody_back(key, rollout, one, other):
    small, large = sorted((one, other))
    if Assignment(rollout, small, 0).to_other(key):
        assert Assignment(rollout, large, 0).to_other(key)
    if Assignment(rollout, 0, small).mirrored(key):
        assert Assignment(rollout, 0, large).mirrored(key)


@given(keys, rollouts)
def test_the_ends_are_exact(key, rollout):
    assert not Assignment(rollout, 0, 0).to_other(key)
    assert not Assignment(rollout, 0, 0).mirrored(key)
    assert Assignment(rollout, 100, 0).to_other(key)
    assert Assignment(rollout, 0, 100).mirrored(key)
    assert 0 <= position(key, rollout) < SPACE


def test_a_new_rollout_reshuffles():
    first, second = Assignment(1, 50, 0), Assignment(2, 50, 0)
    low, high = bounds(0.5, len(KEYS))
    assert low <= sum(first.to_other(key) == second.to_other(key) for key in KEYS) <= high


def test_mirroring_is_independent_of_the_split():
    assignment = Assignment(1, 50, 50)
    low, high = bounds(0.5, len(KEYS))
    assert low <= sum(assignment.to_other(key) == assignment.mirrored(key) for key in KEYS) <= high


def test_another_process_says_the_same():
    code = "from router.proxy.assignment import position; print([position(b'%d' % n, 42) for n in range(50)])"
    for seed in ("0", "1"):
        printed = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert printed.stdout.strip() == str([position(b"%d" % number, 42) for number in range(50)])


def test_positions_stay_what_they_are():
    """Sticky over releases too: a change here reassigns every user of a running rollout."""
    assert [position(key, 1) for key in (b"", b"a", b"user-1")] == PINNED
