"""Worlds with a known truth for every metric from labels: rows of pairs or of a canary, of two versions that differ."""

import numpy as np

from comparator.events import Mode, Role
from comparator.pairing import JOINED, SCORED, Joined
from comparator.rail import NUMBER_METRICS, Guardrail, Metric

RAILS = {
    Metric.PRECISION: Guardrail(Metric.PRECISION, 0.1),
    Metric.RECALL: Guardrail(Metric.RECALL, 0.1),
    Metric.ACCURACY: Guardrail(Metric.ACCURACY, 0.1),
    Metric.F1: Guardrail(Metric.F1, 0.1),
    Metric.BRIER: Guardrail(Metric.BRIER, 0.1),
    Metric.MAE: Guardrail(Metric.MAE, 1.0, range=(0.0, 10.0)),
    Metric.RMSE: Guardrail(Metric.RMSE, 0.2, range=(0.0, 5.0)),
    Metric.REWARD: Guardrail(Metric.REWARD, 0.5, range=(-1.0, 4.0)),
}
IN_PAIRS = [metric for metric in RAILS if metric is not Metric.REWARD]
BASE = 0.4  # of labels that are 1
NOTHING = np.zeros(0, dtype=JOINED)

# What a side does: (true positive rate, false positive rate) of classes; (probability, size) of an error of scores and
# numbers (else none), or of a reward above the lowest. Reference; as good; worse by the margin; far worse.
WORLDS = {
    Metric.PRECISION: ((0.8, 0.2), (0.4, 0.1), (0.8, 0.8 * BASE / 0.6 * (1 / (8 / 11 - 0.1) - 1)), (0.5, 0.5)),
    Metric.RECALL: ((0.7, 0.1), (0.7, 0.4), (0.6, 0.1), (0.3, 0.1)),
    Metric.ACCURACY: ((0.8, 0.2), (0.5, 0.0), (0.7, 0.3), (0.4, 0.4)),
    Metric.F1: ((0.8, 0.2), (0.7, 0.055 / 0.6), (0.8, (0.64 / (16 / 21 - 0.1) - 0.72) / 0.6), (0.3, 0.3)),
    Metric.BRIER: ((1.0, 0.5), (0.25, 1.0), (0.35, 1.0), (0.6, 1.0)),
    Metric.MAE: ((1.0, 2.0), (0.2, 12.0), (0.3, 12.0), (0.6, 10.0)),
    Metric.RMSE: ((1.0, 2.0), (0.25, 4.0), (0.36, 4.0), (0.6, 5.0)),
    Metric.REWARD: ((1.0, 2.0), (0.4, 5.0), (0.3, 5.0), (0.1, 5.0)),
}
LIKE, MARGIN, FAR = 1, 2, 3


def joined(completed, paired=NOTHING):
    return Joined(completed, paired, np.zeros(0, dtype=SCORED))


def rows(metric, which, count, mode, seed, share=0.3):
    """Labelled rows, dtype JOINED: version 1 is the reference, version 2 on trial; `which`: of WORLDS."""
    chance = np.random.default_rng(seed)
    out = np.zeros(count, dtype=JOINED)
    out["at"] = np.arange(count)
    out["mode"] = mode
    label = (chance.random(count) < BASE).astype(float)
    if metric in NUMBER_METRICS:
        label = chance.normal(0.0, 30.0, count)
    sides = [_side(metric, WORLDS[metric][each], label, chance) for each in (0, which)]
    if mode is Mode.CANARY:
        mine = chance.random(count) < share
        out["sides"], out["version"][:, 0] = 1, np.where(mine, 2, 1)
        for name, one, other in zip(("prediction", "score", "label"), *sides, strict=True):
            if name == "label":
                out[name] = np.where(mine, other, one)
            else:
                out[name] = np.column_stack([np.where(mine, other, one), np.full(count, np.nan)])
    else:
        out["sides"], out["version"], out["role"] = 2, (1, 2), (Role.CHAMPION, Role.CHALLENGER)
        out["label"] = label
        for index, name in enumerate(("prediction", "score")):
            out[name] = np.column_stack([side[index] for side in sides])
    return out


def _side(metric, does, label, chance):
    """(prediction, score, label) of one side."""
    often, size = does
    count = label.size
    if metric in (Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1):
        positive = chance.random(count) < np.where(label == 1, often, size)
        return positive.astype(float), np.full(count, np.nan), label
    hit = chance.random(count) < often
    if metric is Metric.BRIER:
        score = np.abs(label - hit * size)
        return (score > 0.5).astype(float), score, label
    if metric in NUMBER_METRICS:
        return label + hit * size * chance.choice([-1, 1], count), np.full(count, np.nan), label
    return np.zeros(count), np.full(count, np.nan), -1.0 + hit * size
