import numpy as np
import pytest
from duel import Duel, Model, traffic

from comparator.events import OBSERVATION, Outcome
from comparator.pairing import Pairing
from comparator.scoreboard import Scoreboard

EMPTY = Pairing(1.0).observe(np.zeros(0, dtype=OBSERVATION))


def test_counts_and_bounds_by_version():
    rng = np.random.default_rng(5)
    duel = Duel(Model(precision=0.4, errors=0.1), Model(precision=0.8, share=0.2))
    observations, labels = traffic(duel, rng, 60.0)
    pairing, board = Pairing(1e6), Scoreboard(0.05)
    board.observe(observations, pairing.observe(observations))
    board.label(pairing.label(labels))
    assert board.versions == [1, 2]
    champion, challenger = board.score(1), board.score(2)
    assert champion.answers == challenger.answers == labels.size
    assert champion.failed == np.count_nonzero((observations["version"] == 1) & (observations["outcome"] != 0))
    assert sum(challenger.labelled.values()) == labels.size
    assert sum(champion.labelled.values()) == labels.size - champion.failed
    assert challenger.precision is not None
    assert challenger.precision.lower < 0.8 < challenger.precision.upper
    assert champion.precision is not None
    assert champion.precision.upper < challenger.precision.lower


def answers(at, latency, outcome=Outcome.OK):
    rows = np.zeros(len(at), dtype=OBSERVATION)
    rows["at"], rows["latency"], rows["outcome"], rows["version"] = at, latency, outcome, 1
    return rows


def test_quantiles_are_of_the_last_two_minutes_at_most():
    board = Scoreboard(0.05)
    board.observe(answers([10.0] * 100, 5.0), EMPTY)
    assert board.score(1).p99 == pytest.approx(5.0, rel=0.02)
    board.observe(answers([70.0] * 100, 1.0), EMPTY)
    assert board.score(1).p99 == pytest.approx(5.0, rel=0.02)
    board.observe(answers([130.0], 1.0), EMPTY)
    assert board.score(1).p99 == pytest.approx(1.0, rel=0.02)
    board.observe(answers([1000.0], 2.0), EMPTY)
    assert board.score(1).p50 == pytest.approx(2.0, rel=0.02)


def test_what_says_nothing_about_a_version_is_left_out():
    board = Scoreboard(0.05)
    board.observe(answers([1.0, 1.0], [1.0, np.nan], [Outcome.CANCELLED, Outcome.LOST_RACE]), EMPTY)
    assert board.score(1).answers == 0
    board.observe(answers([1.0, 1.0], [np.nan, -1.0]), EMPTY)
    score = board.score(1)
    assert (score.answers, score.failed, score.p50, score.p99, score.precision) == (2, 0, None, None, None)


def test_a_version_never_seen_has_no_figures():
    score = Scoreboard(0.05).score(9)
    assert score.answers == 0
    assert score.labelled == {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
