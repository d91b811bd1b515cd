"""Agreement of answers: counted once, whatever the batches; the champion asked twice is no evidence."""

import math

import numpy as np
from desk import on_trial
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.agreement import Agreement, Pairs
from comparator.checkpoint import freeze
from comparator.events import LABEL, OBSERVATION, Mode, Observations, Outcome, Role
from comparator.pairing import JOINED, Pairing
from comparator.phases import Phase

ROWS = st.lists(
    st.tuples(
        st.sampled_from([Mode.SHADOW, Mode.TWICE, Mode.AGAIN, Mode.CANARY, Mode.WATCH]),
        st.integers(1, 3),  # the rollout
        st.sampled_from([0.0, 1.0, math.nan]),
        st.sampled_from([0.0, 1.0, math.nan]),
        st.sampled_from([0.1, 0.25, 1.0, math.nan]),
        st.sampled_from([0.1, 0.3, math.nan]),
    ),
    max_size=40,
)


def joined(rows):
    out = np.zeros(len(rows), dtype=JOINED)
    for each, (mode, rollout, one, two, score, other) in zip(out, rows, strict=True):
        each["mode"], each["rollout_id"], each["sides"] = mode, rollout, 2
        each["version"] = (1, 1) if mode in (Mode.TWICE, Mode.AGAIN) else (1, 2)
        each["prediction"], each["score"] = (one, two), (score, other)
    return out


@given(ROWS, st.sets(st.integers(0, 40)))
def test_it_is_a_count_of_the_latest_rollouts_pairs_however_they_come(rows, cuts):
    agreement = Agreement()
    for part in np.split(joined(rows), sorted(cut for cut in cuts if cut <= len(rows))):
        agreement.take(part)
    told = [row for row in rows if row[0] <= Mode.SHADOW or row[0] >= Mode.TWICE]
    told = [row for row in told if not math.isnan(row[2]) and not math.isnan(row[3])]
    latest = max((row[1] for row in told), default=0)
    for pairs, modes in ((agreement.challenger, {Mode.SHADOW}), (agreement.itself, {Mode.TWICE, Mode.AGAIN})):
        mine = [row for row in told if row[1] == latest and row[0] in modes]
        distances = [abs(row[4] - row[5]) for row in mine if not math.isnan(row[4] + row[5])]
        assert (pairs.rows, pairs.equal) == (len(mine), sum(row[2] == row[3] for row in mine))
        assert (pairs.scored, pairs.unbounded) == (len(distances), 0)
        assert math.isclose(pairs.distance, sum(distances))
        assert pairs.cells.sum(axis=1).tolist() == [len(distances)] * 2
        agreed = pairs.agreed(0.05)
        assert (agreed.ratio is None) == (not mine)
        if agreed.ratio is not None:
            assert 0 <= agreed.ratio.lower <= agreed.ratio.value <= agreed.ratio.upper <= 1


def test_scores_that_nothing_bounds_have_no_mean():
    agreement = Agreement()
    agreement.take(joined([(Mode.SHADOW, 1, 1.0, 1.0, 7.5, 0.1), (Mode.SHADOW, 1, 1.0, 0.0, 0.2, 0.1)]))
    agreed = agreement.challenger.agreed(0.05)
    assert agreed.score_distance is agreed.score_shift is None
    assert agreed.ratio is not None
    assert (agreed.ratio.value, agreed.ratio.count) == (0.5, 2)


def test_the_bounds_hold_at_all_times_together():
    """In at most 5 % of such records is the truth ever outside, and in some of these 200 it may be."""
    chance, wrong = np.random.default_rng(5), 0
    for _ in range(200):
        same, pairs, out = chance.random(600) < 0.9, Pairs(), False
        for part in np.split(same, 30):
            pairs.take(np.ones(part.size), part.astype(float), np.full((part.size, 2), math.nan))
            ratio = pairs.agreed(0.05).ratio
            assert ratio is not None
            out |= not ratio.lower <= 0.9 <= ratio.upper
        wrong += out
    assert wrong <= 17  # 10 expected at most; 17 and more have a probability of 2 %


def asked_twice(number, *, second=1.0, first=1.0, order=(Mode.TWICE, Mode.AGAIN), rollout_id=7, version=1, at=10.0):
    rows = np.zeros(2, dtype=OBSERVATION)
    rows["at"], rows["rollout_id"], rows["request_lo"] = at, rollout_id, number
    rows["version"], rows["role"], rows["mode"] = version, Role.CHAMPION, order
    rows["attempted_both"], rows["outcome"], rows["latency"] = True, Outcome.OK, 0.05
    rows["prediction"] = [first if mode == Mode.TWICE else second for mode in order]
    return rows


def test_two_answers_of_the_champion_are_a_pair_whichever_comes_first_and_a_third_is_repeated():
    for order in ((Mode.TWICE, Mode.AGAIN), (Mode.AGAIN, Mode.TWICE)):
        pairing = Pairing(1000.0)
        rows = asked_twice(1, order=order)
        joined_now = pairing.observe(rows)
        assert (joined_now.paired.size, pairing.repeated) == (1, 0)
        assert pairing.observe(rows[:1]).repeated.size == 1
        late = np.zeros(1, dtype=LABEL)
        late["at"], late["request_lo"], late["label"] = 11.0, 1, 1.0
        told = pairing.label(late)
        assert (told.completed.size, told.scored.size) == (1, 1)  # one label, one prediction


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_requests_asked_twice_change_no_report(same):
    one, two = on_trial(phase=Phase.SHADOW), on_trial(phase=Phase.SHADOW)
    rollout = one.title.rollout.rollout_id
    for number, each in enumerate(same):
        rows = asked_twice(10**6 + number, second=float(each), rollout_id=rollout, at=one.at)
        one.take(Observations(rows))
    reports = []
    for desk in (one, two):
        desk.answers(8)
        report = desk.title.rollout.report(desk.at).as_data()
        report["left_out"].pop("other_mode")  # the one place that counts them
        reports.append(report)
    assert reports[0] == reports[1]
    assert one.title.agreement.itself.rows == len(same)
    assert one.title.agreement.itself.equal == sum(same)
    assert freeze(one.title.agreement.challenger) == freeze(two.title.agreement.challenger)
    assert one.title.disagreements.latest() == two.title.disagreements.latest()
