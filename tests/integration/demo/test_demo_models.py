"""The models are what the demo says of them, on the real flights."""

import numpy as np
import pytest

from router.demo.flights import (
    EVALUATION_MONTH,
    FEATURES,
    LATE_MINUTES,
    REPLAY_MONTH,
    TIMETABLE,
    TRAINING_MONTHS,
    read_flights,
)
from router.demo.train import SEED, TRAINING_FLIGHTS, departure_model, misjoined_model, timetable_model


@pytest.fixture(scope="module")
def flights():
    return read_flights()


@pytest.fixture(scope="module")
def candidates(flights):
    training, evaluation = flights.of(*TRAINING_MONTHS).sample(TRAINING_FLIGHTS, SEED), flights.of(EVALUATION_MONTH)
    return [make(training, evaluation) for make in (timetable_model, departure_model, misjoined_model)]


def live_precision(candidate, flights):
    predicted = candidate.model.predict(flights.frame) == 1
    return float(flights.late[predicted].mean()), float(predicted.mean())


def test_the_flights_that_landed_are_there_in_order_with_a_quarter_of_them_late(flights):
    assert flights.features.shape == (327_346, len(FEATURES))
    assert np.isfinite(flights.features).all()
    assert 0.24 < flights.late.mean() < 0.25
    assert (np.diff(flights.month) >= 0).all()
    assert (flights.late == (flights.arr_delay >= LATE_MINUTES)).all()


def test_nothing_that_is_known_only_after_departure_is_among_the_features():
    assert not {"arr_delay", "arr_time", "air_time", "late"} & set(FEATURES)
    assert "dep_delay" not in TIMETABLE


def test_training_evaluation_and_replay_follow_one_another():
    assert max(TRAINING_MONTHS) < EVALUATION_MONTH < REPLAY_MONTH


def test_a_sample_has_each_flight_once_and_is_the_same_each_time(flights):
    july = flights.of(REPLAY_MONTH)
    assert len(july.sample(10**9, 1).late) == len(july.late)
    assert np.array_equal(july.sample(100, 1).features, july.sample(100, 1).features)


def test_version_2_is_clearly_better_than_version_1(candidates):
    assert candidates[1].offline["precision"] > candidates[0].offline["precision"] + 0.3


def test_the_offline_precision_of_version_2_holds_live(candidates, flights):
    replayed = flights.of(REPLAY_MONTH)
    assert live_precision(candidates[1], replayed)[0] == pytest.approx(candidates[1].offline["precision"], abs=0.03)
    first_days = type(replayed)(
        replayed.features[:8000], replayed.arr_delay[:8000], replayed.month[:8000], replayed.data_hash
    )
    assert live_precision(candidates[1], first_days)[0] == pytest.approx(candidates[1].offline["precision"], abs=0.03)


def test_version_3_claims_a_perfect_precision_and_is_worse_than_both(candidates, flights):
    assert candidates[2].offline["precision"] == 1.0
    live, positives = live_precision(candidates[2], flights.of(REPLAY_MONTH))
    assert live < candidates[0].offline["precision"]
    assert positives > 0.25  # often enough to be found out soon
