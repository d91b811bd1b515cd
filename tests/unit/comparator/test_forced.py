"""What rules force is no evidence: for neither side, in no phase, and nobody is rolled back by it."""

import numpy as np
import pytest
from desk import Desk, on_trial
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.events import LABEL, OBSERVATION, DecisionKind, Labels, Mode, Observations, Outcome, Role
from comparator.phases import Phase

PHASES = [Phase.SHADOW, Phase.CANARY, Phase.WATCH]


def forced(desk: Desk, roles: list[int], outcomes: list[int]) -> None:
    """Requests that a rule sent to these roles, with labels that the challenger is wrong about."""
    serving = desk.title.serving
    rows = np.zeros(len(roles), dtype=OBSERVATION)
    rows["at"] = desk.at
    rows["rollout_id"], rows["mode"] = serving.rollout_id, Mode.FORCED
    rows["role"] = roles
    rows["version"] = [serving.other if role == Role.CHALLENGER else serving.champion for role in roles]
    rows["request_hi"] = 1
    rows["request_lo"] = desk._request + np.arange(len(roles))
    desk._request += len(roles)
    rows["outcome"], rows["latency"], rows["prediction"] = outcomes, 2.0, 1.0
    desk.take(Observations(rows))
    labels = np.zeros(len(roles), dtype=LABEL)
    labels["at"], labels["request_hi"], labels["request_lo"] = desk.at, 1, rows["request_lo"]
    desk.take(Labels(labels))


def shown(desk: Desk) -> dict:
    report = desk.title.rollout.report(desk.at).as_data()
    report["left_out"].pop("other_mode")  # the one place that counts them
    return report


@pytest.mark.parametrize("phase", PHASES)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([Outcome.OK, Outcome.SERVER_ERROR])), max_size=60))
def test_the_report_is_the_same_with_and_without_forced_requests(phase, requests):
    one, two = on_trial(phase=phase), on_trial(phase=phase)
    if phase is Phase.WATCH:
        requests = [(int(Role.CHAMPION), outcome) for _, outcome in requests]
    forced(one, [role for role, _ in requests], [outcome for _, outcome in requests])
    for desk in (one, two):
        desk.answers(8)
    assert shown(one) == shown(two)


def test_a_challenger_that_fails_only_forced_requests_is_not_rolled_back():
    desk = on_trial(phase=Phase.CANARY)
    for _ in range(30):
        forced(desk, [Role.CHALLENGER] * 10, [Outcome.SERVER_ERROR] * 10)
        desk.answers(5)
        decided = desk.tick(5.0)
        assert DecisionKind.ROLL_BACK not in [each.kind for each in decided]
    assert desk.title.rollout.evidence.tripped is None
