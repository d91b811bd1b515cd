import numpy as np

from comparator.disagreements import KEPT, Disagreements
from comparator.events import OBSERVATION, Mode, Observations, Outcome, Role
from comparator.pairing import JOINED
from comparator.policy import Policy
from comparator.title import Title


def pairs(*predictions, trial=1):
    made = np.zeros(len(predictions), JOINED)
    made["prediction"] = predictions
    made["lo"] = np.arange(len(predictions))
    made["hi"] = 7
    made["role"][:, trial] = Role.CHALLENGER
    made["version"] = (2, 1) if trial == 0 else (1, 2)
    return made


def test_only_pairs_that_differ_are_kept_the_newest_first():
    kept = Disagreements()
    kept.take(pairs((1, 1), (1, 0), (np.nan, 1), (0, np.nan), (0, 1)))
    assert [(each.request, each.version, each.predicted) for each in kept.latest()] == [
        ((7 << 64) + 4, (1, 2), (0.0, 1.0)),
        ((7 << 64) + 1, (1, 2), (1.0, 0.0)),
    ]


def test_whichever_came_first_the_champion_is_told_first():
    kept = Disagreements()
    kept.take(pairs((1, 0), trial=0))
    assert (kept.latest()[0].version, kept.latest()[0].predicted) == ((1, 2), (0.0, 1.0))


def test_there_are_only_so_many():
    kept = Disagreements()
    kept.take(pairs(*[(1, 0)] * (KEPT + 10)))
    assert len(kept.latest()) == KEPT
    assert kept.latest()[0].request & 0xFFFF == KEPT + 9


def test_a_title_knows_the_ids_of_its_requests():
    rows = np.zeros(2, OBSERVATION)
    rows["at"], rows["request_hi"], rows["request_lo"], rows["row"] = (1.0, 2.0), 5, 9, 3
    rows["version"], rows["role"], rows["mode"] = (1, 2), (Role.CHAMPION, Role.CHALLENGER), Mode.SHADOW
    rows["attempted_both"], rows["outcome"], rows["prediction"] = True, Outcome.OK, (0.0, 1.0)
    title = Title(Policy())
    title.receive(Observations(rows))
    (found,) = title.disagreements.latest()
    assert (found.request, found.row, found.at) == ((5 << 64) + 9, 3, 2.0)
