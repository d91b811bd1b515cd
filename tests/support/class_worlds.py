"""Worlds of three classes with a known truth: rows of two versions whose macro precision is what they are made for."""

import numpy as np

from comparator.events import Mode, Role
from comparator.pairing import JOINED, SCORED, Joined
from comparator.policy import Guardrail, Metric, Policy

CLASSES = (1.0, 2.0, 3.0)
BASE = np.array([0.6, 0.3, 0.1])
RAIL = Guardrail(Metric.PRECISION, 0.1, classes=CLASSES)
POLICY = Policy(guardrails=(RAIL,), multiclass=True, restart_seconds=100.0)

REFERENCE = np.array([[0.85, 0.1, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
"""What is said of each true class (rows), with which probability."""


def macro_precision(says):
    together = BASE[:, None] * says
    return float((np.diag(together) / together.sum(axis=0)).mean())


def _tuned(make, wanted):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if macro_precision(make(middle)) > wanted else (low, middle)
    return make(low)


# as good by the mean, but better on class 1 and worse on class 3, which it says more often; then noise on top
LIKE = _tuned(
    lambda x: np.array(
        [[0.95 - 0.3 * x, 0.02, 0.03 + 0.3 * x], [0.1, 0.85 - 0.3 * x, 0.05 + 0.3 * x], [0.05, 0.05, 0.9]]
    ),
    macro_precision(REFERENCE),
)
MARGIN = _tuned(lambda x: (1 - x) * LIKE + x / 3, macro_precision(REFERENCE) - RAIL.margin)
FAR = _tuned(lambda x: (1 - x) * LIKE + x / 3, macro_precision(REFERENCE) - 0.25)


def class_rows(says, count, mode, seed, share=0.3):
    """Labelled rows, dtype JOINED: version 1 is the reference, version 2 on trial; half the time with one luck."""
    chance = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    out["at"], out["mode"], out["score"] = np.arange(count), mode, np.nan
    truth, luck = chance.choice(3, count, p=BASE), chance.random(count)
    sides = [_said(REFERENCE, truth, luck)]
    sides.append(_said(says, truth, np.where(chance.random(count) < 0.5, luck, chance.random(count))))
    out["label"] = 1.0 + truth
    if mode is Mode.CANARY:
        mine = chance.random(count) < share
        out["sides"], out["version"][:, 0] = 1, np.where(mine, 2, 1)
        out["prediction"] = np.column_stack([np.where(mine, sides[1], sides[0]), np.full(count, np.nan)])
    else:
        out["sides"], out["version"], out["role"] = 2, (1, 2), (Role.CHAMPION, Role.CHALLENGER)
        out["prediction"] = np.column_stack(sides)
    return out


def _said(says, truth, luck):
    return 1.0 + (luck[:, None] > np.cumsum(says, axis=1)[truth]).sum(axis=1).clip(0, 2)


def labelled(rows):
    return Joined(rows, rows, np.zeros(0, dtype=SCORED))
