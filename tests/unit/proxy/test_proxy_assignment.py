"""The split: exact within binomial bounds, monotone in the share, the same everywhere, new with each rollout."""

import hashlib
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy.assignment import SPACE, Assignment

PINNED = [4209127676, 3160557513, 4250831984]
KEYS = [b"user-%d" % number for number in range(40_000)]
keys = st.binary(max_size=64)
rollouts = st.integers(0, 2**64 - 1)
percents = st.integers(0, 100)


def position(key: bytes, rollout: int, domain: bytes = b"titleshot.assign") -> int:
    """Where a key stands, by the definition: BLAKE2b-32, salted with the rollout's id, personalised by the domain."""
    digest = hashlib.blake2b(key, digest_size=4, salt=rollout.to_bytes(8, "big"), person=domain).digest()
    return int.from_bytes(digest, "big")


def bounds(share: float, count: int) -> tuple[float, float]:
    """Five standard deviations: one run in two million falls outside by chance."""
    spread = 5 * math.sqrt(count * share * (1 - share))
    return count * share - spread, count * share + spread


@pytest.mark.parametrize("share", [1, 10, 50, 90, 99])
def test_the_observed_share_is_the_share(share):
    for assignment in (Assignment(7, share, 0).to_other, Assignment(7, 0, share).mirrored):
        low, high = bounds(share / 100, len(KEYS))
        assert low <= sum(map(assignment, KEYS)) <= high


def test_ten_percent_of_many_keys_that_differ_by_little_is_ten_percent():
    to_other = Assignment(2**63, 10, 0).to_other
    low, high = bounds(0.1, 200_000)
    assert low <= sum(to_other(b"%x" % number) for number in range(200_000)) <= high


@given(keys, rollouts, percents)
def test_a_key_is_in_the_share_when_it_stands_below_it(key, rollout, percent):
    assignment = Assignment(rollout, percent, percent)
    assert assignment.to_other(key) == (position(key, rollout) < SPACE * percent // 100)
    assert assignment.mirrored(key) == (position(key, rollout, b"titleshot.mirror") < SPACE * percent // 100)


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


def test_a_new_rollout_reshuffles():
    first, second = Assignment(1, 50, 0), Assignment(2, 50, 0)
    low, high = bounds(0.5, len(KEYS))
    assert low <= sum(first.to_other(key) == second.to_other(key) for key in KEYS) <= high


def test_mirroring_is_independent_of_the_split():
    assignment = Assignment(1, 50, 50)
    low, high = bounds(0.5, len(KEYS))
    assert low <= sum(assignment.to_other(key) == assignment.mirrored(key) for key in KEYS) <= high


def test_another_process_says_the_same():
    code = (
        "from router.proxy.assignment import Assignment; to_other = Assignment(42, 50, 0).to_other; "
        "print([to_other(b'%d' % n) for n in range(50)])"
    )
    to_other = Assignment(42, 50, 0).to_other
    for seed in ("0", "1"):
        printed = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert printed.stdout.strip() == str([to_other(b"%d" % number) for number in range(50)])


def test_positions_stay_what_they_are():
    """Sticky over releases too: a change here reassigns every user of a running rollout."""
    assert [position(key, 1) for key in (b"", b"a", b"user-1")] == PINNED
