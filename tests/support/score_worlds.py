"""Worlds of scores with a known calibration error: how bold a side's scores are about a truth that both sides see."""

import numpy as np

from comparator.events import Mode, Role
from comparator.pairing import JOINED
from comparator.policy import Guardrail, Metric, Policy

RAIL = Guardrail(Metric.CALIBRATION, 0.1)
POLICY = Policy(guardrails=(RAIL,), restart_seconds=100.0)
CHANCES = np.array([0.1, 0.3, 0.6, 0.9])
"""Of a label that is 1, each for a quarter of the rows."""

# what a side adds to each chance, of which it knows: the reference, as good but the other way round, by the margin, far
REFERENCE = np.array([-0.05, -0.05, 0.05, 0.05])
LIKE = np.array([0.05, 0.05, -0.05, -0.05])
MARGIN = np.array([-0.1, -0.2, 0.2, 0.1])
FAR = np.array([0.3, 0.15, 0.35, 0.1])  # all too high: 0.225 in both halves, as scores beyond 0.5 are counted


def error(adds):
    """The calibration error, by the definition."""
    scores = CHANCES + adds
    upper = scores >= 0.5
    return abs(adds[upper].sum() / 4) + abs(adds[~upper].sum() / 4)


def score_rows(adds, count, mode, seed, share=0.3):
    """Labelled rows, dtype JOINED: version 1 is the reference, version 2 on trial."""
    chance = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    out["at"], out["mode"] = np.arange(count), mode
    kind = chance.integers(0, 4, count)
    out["label"] = chance.random(count) < CHANCES[kind]
    theirs, ours = ((CHANCES + each)[kind] for each in (REFERENCE, adds))
    if mode is Mode.CANARY:
        mine = chance.random(count) < share
        out["sides"], out["version"][:, 0] = 1, np.where(mine, 2, 1)
        out["score"] = np.column_stack([np.where(mine, ours, theirs), np.full(count, np.nan)])
    else:
        out["sides"], out["version"], out["role"] = 2, (1, 2), (Role.CHAMPION, Role.CHALLENGER)
        out["score"] = np.column_stack([theirs, ours])
    out["prediction"] = np.where(np.isnan(out["score"]), np.nan, out["score"] >= 0.5)
    return out
