"""Two sides' answers as figures."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comparator.events import LABEL, OBSERVATION, Outcome, Role
from router.resending.compare import compared


def observed(rows):
    """(id, row, role, prediction, score, latency, outcome)."""
    out = np.zeros(len(rows), OBSERVATION)
    for at, (lo, row, role, prediction, score, latency, outcome) in enumerate(rows):
        out[at] = (at, 0, 0, lo, row, 1 + role, role, 1, 1, 0, 0, outcome, latency, latency, prediction, score)
    return out


def pair(lo, a, b, outcome=Outcome.OK):
    return [(lo, 0, Role.CHAMPION, a, a, 0.1, Outcome.OK), (lo, 0, Role.CHALLENGER, b, b, 0.2, outcome)]


def labelled(*truths):
    return np.array([(9.0, 0, lo, 0, label) for lo, label in truths], LABEL)


NOTHING = np.zeros(0, OBSERVATION)


def test_each_figure():
    rows = [*pair(1, 1, 1), *pair(2, 1, 0), *pair(3, 0, 1), *pair(4, 1, np.nan, Outcome.SERVER_ERROR)]
    recorded = observed(pair(1, 1, 1)[:1] + pair(3, 1, 1)[:1])
    told = compared(observed(rows), labelled((1, 1), (2, 0), (3, 1), (3, 0)), recorded).as_data()
    assert told["requests"] == 4
    assert told["b"]["outcomes"] == {"ok": 3, "server_error": 1}
    assert (told["agreement"]["value"], told["agreement"]["count"]) == (1 / 3, 3)
    assert told["a"]["precision"]["value"] == 0.5  # ids 1 and 2; 4 has no label
    assert told["b"]["precision"]["value"] == 0.5  # ids 1 and 3, whose last label counts
    assert told["a"]["as_recorded"]["count"] == 2
    assert told["a"]["as_recorded"]["value"] == 0.5
    assert told["b_slower"]["value"] == 1.0
    assert [(each["a"], each["b"]) for each in told["disagreements"]] == [(1.0, 0.0), (0.0, 1.0)]
    assert told["score_distance"] == {"mean": 2 / 3, "largest": 1.0}


def test_nothing_is_nothing():
    told = compared(NOTHING, labelled(), NOTHING).as_data()
    assert told["requests"] == 0
    assert told["agreement"] is told["score_distance"] is told["a"]["precision"] is None


@given(st.permutations(range(12)), st.data())
def test_order_means_nothing(order, data):
    rows = [
        row
        for lo in range(6)
        for row in pair(lo, *data.draw(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1]))))
    ]
    labels = labelled(*((lo, lo % 2) for lo in range(6)))
    in_order = compared(observed(rows), labels, NOTHING)
    assert compared(observed([rows[at] for at in order]), labels, NOTHING) == in_order
