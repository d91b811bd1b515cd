"""Traffic of two versions with known truth, as columns, for tests of the judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from comparator.events import LABEL, OBSERVATION, Columns, Mode, Outcome, Role

CHAMPION, CHALLENGER = 1, 2


@dataclass(frozen=True)
class Model:
    """One version's truth. `share`: of the requests it calls positive; `precision`: of those that are."""

    share: float = 0.12
    precision: float = 0.7
    errors: float = 0.0
    median_seconds: float = 0.05
    sigma: float = 0.5


@dataclass(frozen=True)
class Duel:
    """Both versions, and how requests and labels come."""

    champion: Model = Model()
    challenger: Model = Model()
    rate: float = 50.0
    base: float = 0.24  # of the requests are truly positive
    label_delay: float = 2.0
    label_share: float = 1.0  # of the requests get a label


def traffic(
    duel: Duel,
    rng: np.random.Generator,
    seconds: float,
    *,
    start: float = 1000.0,
    mode: Mode = Mode.SHADOW,
    canary: float = 0.1,
    rollout_id: int = 7,
) -> tuple[Columns, Columns]:
    """Observations and labels of requests that come as a Poisson stream, each ascending in time."""
    n = int(rng.poisson(duel.rate * seconds))
    asked = start + np.sort(rng.random(n)) * seconds
    hi = rng.integers(0, 2**63, n, dtype=np.uint64)
    lo = rng.integers(0, 2**63, n, dtype=np.uint64)
    truth = rng.random(n) < duel.base
    paired = mode in (Mode.SHADOW, Mode.WATCH)
    ours = np.ones(n, dtype=bool) if paired else rng.random(n) < canary
    sides = []
    for version, model, role, served in (
        (CHAMPION, duel.champion, Role.CHAMPION, np.ones(n, dtype=bool) if paired else ~ours),
        (CHALLENGER, duel.challenger, Role.CHALLENGER, ours),
    ):
        chance = np.where(
            truth, model.share * model.precision / duel.base, model.share * (1 - model.precision) / (1 - duel.base)
        )
        failed = rng.random(n) < model.errors
        rows = np.zeros(n, dtype=OBSERVATION)
        rows["latency"] = rng.lognormal(np.log(model.median_seconds), model.sigma, n)
        rows["at"] = asked + rows["latency"]
        rows["rollout_id"], rows["request_hi"], rows["request_lo"] = rollout_id, hi, lo
        rows["version"], rows["role"], rows["mode"], rows["attempted_both"] = version, role, mode, paired
        rows["outcome"] = np.where(failed, Outcome.SERVER_ERROR, Outcome.OK)
        rows["prediction"] = np.where(failed, np.nan, rng.random(n) < chance)
        rows["score"] = np.nan
        sides.append(rows[served])
    observations = np.concatenate(sides)
    labels = np.zeros(n, dtype=LABEL)
    labels["at"] = asked + duel.label_delay + rng.exponential(duel.label_delay / 4, n)
    labels["request_hi"], labels["request_lo"], labels["label"] = hi, lo, truth
    labels = labels[rng.random(n) < duel.label_share]
    return (
        observations[np.argsort(observations["at"], kind="stable")],
        labels[np.argsort(labels["at"], kind="stable")],
    )
