"""Traffic of a champion and a challenger whose truth is known, as columns: what the judge and its peers are tried on.

Requests come as a Poisson stream. A champion calls a share of them positive; a challenger agrees with it on most of
those and makes up the rest with positives of its own, so that both call the same share positive. What a version's
precision lacks or gains against the champion's stands in the positives that only it predicted.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from comparator.events import LABEL, OBSERVATION, Columns, Mode, Outcome, Role

CHAMPION, CHALLENGER = 1, 2
START = 1_000_000.0
AGREE = 0.8
"""Of the champion's positives the challenger predicts so many, unless it is the same model."""

PRECISION = 0.75
"""Of the champion, and of a challenger that is no worse."""

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Incidents:
    """A version's bad times: they come at random and last at random (exponential), with these means in seconds."""

    every_seconds: float
    last_seconds: float
    slower: float = 1.0  # latency times this
    errors: float = 0.0  # added


@dataclass(frozen=True)
class Side:
    """One version's latency and errors. `sigma`: of the lognormal; `pareto`: its exponent, instead."""

    median_seconds: float = 0.08
    sigma: float = 0.5
    pareto: float | None = None
    slower: float = 1.0
    errors: float = 0.001
    incidents: Incidents | None = None


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic and its truth.

    Args:
        truth: "harmless": rolling back is a false alarm; "beyond": the same, where the default bucket is said to be too
            short; "harm": not rolling back is a miss; "at the margin":
            promoting is a false promotion, rolling back is allowed; "unproven": neither may it be promoted.
        percent: of the clients that the challenger answers; None: shadow.
        precision_loss: of the challenger, in points as a ratio; the same model has none and agrees everywhere.
        offline: the challenger's offline precision, as the registry has it.
        onset: the harm (latency, errors, precision) begins after so many seconds. `leak`: it grows from 0 at the start
            to what is stated at the end.
        warmup_seconds: the challenger is 5 times slower for so long.
        label_seconds: mean of the labels' delay, exponential. `labelled`: share of the requests that get one.
            `labels_of_champion`: only those that the champion called positive get one.
        step_seconds: what every rule that promotes waits for at least; no trace is shorter.
        bucket_seconds: of the judge's policy.
        within: the delay is promised to be within 3 times the oracle's, or 200 s.
        cycle: rate and latency swing by this share, in half an hour.
        shared: incidents that hit both sides at once.
    """

    name: str
    truth: str = "harmless"
    percent: int | None = None
    rate: float = 10.0
    seconds: float = 2400.0
    champion: Side = Side()
    challenger: Side = Side()
    same_model: bool = False
    share: float = 0.24
    precision_loss: float = 0.0
    offline: float = PRECISION
    onset: float = 0.0
    leak: bool = False
    warmup_seconds: float = 0.0
    label_seconds: float = 60.0
    labelled: float = 1.0
    labels_of_champion: bool = False
    cycle: float = 0.0
    shared: Incidents | None = None
    step_seconds: float = 1800.0
    bucket_seconds: float = 10.0
    within: bool = True
    shown_by: str = ""  # the guardrail that harm shows in

    @property
    def salt(self) -> int:
        """Seeds differ by scenario."""
        return zlib.crc32(self.name.encode())


@dataclass(frozen=True)
class Trace:
    """One run of a scenario: columns for the judge, and per-request arrays (in order of request) for its peers."""

    observations: Columns
    labels: Columns
    asked: NDArray[np.float64]  # seconds since the start
    at: NDArray[np.float64]  # (2, n): when each side's outcome was known; NaN: not asked
    latency: NDArray[np.float64]  # (2, n)
    failed: NDArray[np.bool_]  # (2, n)
    positive: NDArray[np.bool_]  # (2, n); False where failed or not asked
    truth: NDArray[np.bool_]
    label_at: NDArray[np.float64]  # seconds since the start; infinite: never


def make(scenario: Scenario, repetition: int, seed: int = 0) -> Trace:
    """The trace of one repetition; the same arguments give the same trace."""
    rng = np.random.default_rng([seed, scenario.salt, repetition])
    asked = _arrivals(scenario, rng)
    n = asked.size
    grown = asked / scenario.seconds if scenario.leak else (asked >= scenario.onset).astype(float)
    swing = 1 + scenario.cycle * np.sin(2 * np.pi * asked / 1800.0)
    shared = _bad_times(scenario.shared, asked, scenario.seconds, rng)
    latency, failed = np.empty((2, n)), np.empty((2, n), dtype=bool)
    for index, side in enumerate((scenario.champion, scenario.challenger)):
        effect = grown if index else np.ones(n)
        slower = 1 + (side.slower - 1) * effect
        errors = scenario.champion.errors + (side.errors - scenario.champion.errors) * effect
        for incidents, bad in (
            (side.incidents, _bad_times(side.incidents, asked, scenario.seconds, rng)),
            (scenario.shared, shared),
        ):
            if incidents is not None:
                slower = np.where(bad, slower * incidents.slower, slower)
                errors = np.where(bad, np.minimum(errors + incidents.errors, 1.0), errors)
        if index and scenario.warmup_seconds:
            slower = np.where(asked < scenario.warmup_seconds, 5 * slower, slower)
        if side.pareto is None:
            base = rng.lognormal(np.log(side.median_seconds), side.sigma, n)
        else:
            base = side.median_seconds / 2 ** (1 / side.pareto) * (1 + rng.pareto(side.pareto, n))
        latency[index] = np.minimum(base * slower * swing, TIMEOUT_SECONDS)
        failed[index] = (rng.random(n) < errors) | (latency[index] >= TIMEOUT_SECONDS)
    positive, truth = _predictions(scenario, grown, rng)
    asked_of = np.ones((2, n), dtype=bool)
    if scenario.percent is not None:
        asked_of[1] = rng.random(n) < scenario.percent / 100
        asked_of[0] = ~asked_of[1]
    failed &= asked_of
    positive = positive & asked_of & ~failed
    label_at = asked + rng.exponential(scenario.label_seconds, n) + latency.max(axis=0)
    gets = rng.random(n) < scenario.labelled
    if scenario.labels_of_champion:
        gets &= positive[0]
    label_at[~gets] = np.inf
    at = np.where(asked_of, asked + latency, np.nan)
    observations, labels = _columns(scenario, at, latency, failed, positive, truth, label_at, rng)
    return Trace(observations, labels, asked, at, latency, failed, positive, truth, label_at)


def _arrivals(scenario: Scenario, rng: np.random.Generator) -> NDArray[np.float64]:
    most = scenario.rate * (1 + scenario.cycle)
    asked = np.sort(rng.random(rng.poisson(most * scenario.seconds))) * scenario.seconds
    if scenario.cycle:  # thinned (Lewis and Shedler 1979)
        rate = scenario.rate * (1 + scenario.cycle * np.sin(2 * np.pi * asked / 1800.0))
        asked = asked[rng.random(asked.size) * most < rate]
    return asked


def _bad_times(
    incidents: Incidents | None, asked: NDArray[np.float64], seconds: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    if incidents is None:
        return np.zeros(asked.size, dtype=bool)
    count = int(4 * seconds / incidents.every_seconds) + 20
    gaps = np.stack(
        [rng.exponential(incidents.every_seconds, count), rng.exponential(incidents.last_seconds, count)], axis=1
    )
    edges = np.cumsum(gaps.ravel())
    return np.searchsorted(edges, asked) % 2 == 1


def _predictions(
    scenario: Scenario, grown: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which requests each side calls positive, and which are."""
    n = grown.size
    draw, truth = rng.random(n), rng.random(n)
    share, agree = scenario.share, 1.0 if scenario.same_model else AGREE
    theirs = draw < share
    both = draw < share * agree
    mine = (draw >= share) & (draw < share * (2 - agree))
    loss = scenario.precision_loss * grown
    chance = np.where(theirs, PRECISION, 0.05)
    own = (PRECISION * (1 - agree) - loss) / max(1 - agree, 1e-9)  # so that the whole is PRECISION - loss
    chance = np.where(mine, np.clip(own, 0.0, 1.0), chance)
    return np.stack([theirs, both | mine]), truth < chance


def _columns(
    scenario: Scenario,
    at: NDArray[np.float64],
    latency: NDArray[np.float64],
    failed: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    label_at: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Columns, Columns]:
    n = truth.size
    ids = rng.integers(0, 2**63, (2, n), dtype=np.uint64)
    shadow = scenario.percent is None
    parts = []
    for index, (version, role) in enumerate(((CHAMPION, Role.CHAMPION), (CHALLENGER, Role.CHALLENGER))):
        mine = ~np.isnan(at[index])
        rows = np.zeros(int(mine.sum()), dtype=OBSERVATION)
        rows["at"], rows["latency"] = START + at[index][mine], latency[index][mine]
        rows["request_hi"], rows["request_lo"] = ids[0][mine], ids[1][mine]
        rows["version"], rows["role"] = version, role
        rows["mode"], rows["attempted_both"] = (Mode.SHADOW if shadow else Mode.CANARY), shadow
        late = latency[index][mine] >= TIMEOUT_SECONDS
        rows["outcome"] = np.where(
            failed[index][mine], np.where(late, Outcome.TIMEOUT, Outcome.SERVER_ERROR), Outcome.OK
        )
        rows["prediction"] = np.where(failed[index][mine], np.nan, positive[index][mine])
        rows["score"] = np.nan
        parts.append(rows)
    observations = np.concatenate(parts)
    told = np.isfinite(label_at)
    labels = np.zeros(int(told.sum()), dtype=LABEL)
    labels["at"], labels["label"] = START + label_at[told], truth[told]
    labels["request_hi"], labels["request_lo"] = ids[0][told], ids[1][told]
    labels = labels[labels["at"] < START + scenario.seconds]
    return observations[np.argsort(observations["at"], kind="stable")], labels[np.argsort(labels["at"], kind="stable")]


# ---- the scenarios

SLOW_20 = Incidents(every_seconds=300.0, last_seconds=20.0, slower=6.0)
SLOW_40 = Incidents(every_seconds=600.0, last_seconds=40.0, slower=6.0)
SLOW_30 = Incidents(every_seconds=450.0, last_seconds=30.0, slower=6.0)
SLOW_60 = Incidents(every_seconds=600.0, last_seconds=60.0, slower=6.0)
FAIL_20 = Incidents(every_seconds=300.0, last_seconds=20.0, errors=0.3)
OUTAGE = Incidents(every_seconds=900.0, last_seconds=60.0, slower=4.0, errors=0.5)
TOTAL_OUTAGE = replace(OUTAGE, errors=1.0)
HEAVY = Side(sigma=1.5)
PARETO = Side(pareto=1.5)
LONG = 7200.0


def _harms(percent: int | None) -> list[Scenario]:
    """The main harms, each in shadow and in a canary."""
    where = "shadow" if percent is None else f"canary {percent} %"
    base = Scenario("", truth="harm", percent=percent, seconds=2400.0 if percent is None else LONG)
    return [
        replace(
            base,
            name=f"precision -5 points, {where}",
            precision_loss=0.05,
            seconds=base.seconds if percent is None else 2 * LONG,
            shown_by="precision",
        ),
        replace(base, name=f"precision -10 points, {where}", precision_loss=0.10, shown_by="precision"),
        replace(base, name=f"errors +2 points, {where}", challenger=Side(errors=0.021), shown_by="error_rate"),
        replace(base, name=f"errors +5 points, {where}", challenger=Side(errors=0.051), shown_by="error_rate"),
        replace(base, name=f"errors +20 points, {where}", challenger=Side(errors=0.201), shown_by="error_rate"),
        replace(base, name=f"errors +40 points, {where}", challenger=Side(errors=0.401), shown_by="error_rate"),
        replace(base, name=f"dead, {where}", challenger=Side(errors=1.0), shown_by="error_rate"),
        replace(base, name=f"latency x 1.25, {where}", challenger=Side(slower=1.25), shown_by="p99_latency"),
        replace(base, name=f"latency x 1.5, {where}", challenger=Side(slower=1.5), shown_by="p99_latency"),
        replace(base, name=f"latency x 2, {where}", challenger=Side(slower=2.0), shown_by="p99_latency"),
    ]


SCENARIOS: tuple[Scenario, ...] = (
    # no worse: rolling back is a false alarm
    Scenario("identical, shadow", same_model=True),
    *(
        Scenario(f"identical, canary {percent} %", percent=percent, same_model=True)
        for percent in (1, 10, 50, 80, 90, 95)
    ),
    Scenario("equal, shadow"),
    Scenario("better precision, shadow", precision_loss=-0.04, offline=PRECISION + 0.04),
    Scenario("better latency, shadow", challenger=Side(slower=0.7)),
    Scenario("heavy tails (sigma 1.5), shadow", champion=HEAVY, challenger=HEAVY),
    Scenario("heavy tails (Pareto 1.5), shadow", champion=PARETO, challenger=PARETO),
    Scenario("heavy tails (Pareto 1.5), canary 10 %", percent=10, champion=PARETO, challenger=PARETO),
    *(
        Scenario(f"{name}, {where}", percent=percent, champion=Side(incidents=each), challenger=Side(incidents=each))
        for name, each in (
            ("own bursts of slowness of 20 s", SLOW_20),
            ("own bursts of errors of 20 s", FAIL_20),
        )
        for percent, where in ((None, "shadow"), (10, "canary 10 %"))
    ),
    *(
        Scenario(
            f"own bursts of slowness of {incidents.last_seconds:.0f} s, {where}, buckets of {bucket} s",
            truth="beyond",
            percent=percent,
            champion=Side(incidents=incidents),
            challenger=Side(incidents=incidents),
            bucket_seconds=bucket,
        )
        for percent, where in ((None, "shadow"), (10, "canary 10 %"))
        for incidents, bucket in (
            (SLOW_30, 10),
            (SLOW_40, 10),
            (SLOW_40, 30),
            (SLOW_60, 10),
            (SLOW_60, 30),
            (SLOW_60, 60),
        )
    ),
    *(
        Scenario(
            f"latency x 2, shadow, buckets of {bucket} s",
            truth="harm",
            challenger=Side(slower=2.0),
            bucket_seconds=bucket,
            shown_by="p99_latency",
            within=False,
        )
        for bucket in (30, 60)
    ),
    Scenario("shared outages of 60 s, shadow", shared=OUTAGE),
    Scenario("shared outages of 60 s, canary 10 %", percent=10, shared=OUTAGE),
    Scenario("shared outages of 60 s, canary 90 %", percent=90, shared=OUTAGE),
    Scenario("shared total outages of 60 s, canary 95 %, 1/s", percent=95, rate=1.0, shared=TOTAL_OUTAGE, seconds=LONG),
    Scenario("day cycle, shadow", cycle=0.7),
    Scenario("day cycle, canary 10 %", percent=10, cycle=0.7),
    Scenario("labels after 20 minutes, shadow", label_seconds=1200.0),
    Scenario("7 of 10 labels missing, shadow", labelled=0.3),
    Scenario("low traffic (0.5/s), shadow", rate=0.5, seconds=LONG),
    Scenario("1 % positives, shadow", share=0.01, seconds=LONG),
    Scenario("cold challenger, slow for 30 s, shadow", warmup_seconds=30.0),
    Scenario(
        "identical, shadow, 8 hours at 1/s",
        same_model=True,
        rate=1.0,
        step_seconds=8 * 3600.0,
        seconds=8 * 3600.0,
    ),
    # harm
    *_harms(None),
    *_harms(10),
    Scenario(
        "precision -10 points, labels after 20 minutes",
        truth="harm",
        precision_loss=0.1,
        label_seconds=1200.0,
        seconds=LONG,
        shown_by="precision",
    ),
    Scenario(
        "precision -10 points, 7 of 10 labels missing",
        truth="harm",
        precision_loss=0.1,
        labelled=0.3,
        seconds=LONG,
        shown_by="precision",
    ),
    Scenario(
        "precision -10 points, 1 % positives",
        truth="harm",
        precision_loss=0.1,
        share=0.01,
        seconds=2 * LONG,
        shown_by="precision",
    ),
    Scenario(
        "errors +5 points amid own bursts of errors",
        truth="harm",
        champion=Side(incidents=FAIL_20),
        challenger=Side(errors=0.051, incidents=FAIL_20),
        seconds=LONG,
        shown_by="error_rate",
    ),
    Scenario(
        "latency x 2 amid own bursts of slowness",
        truth="harm",
        champion=Side(incidents=SLOW_20),
        challenger=Side(slower=2.0, incidents=SLOW_20),
        seconds=LONG,
        shown_by="p99_latency",
    ),
    Scenario(
        "latency x 2, Pareto 1.5",
        truth="harm",
        champion=PARETO,
        challenger=replace(PARETO, slower=2.0),
        seconds=LONG,
        shown_by="p99_latency",
    ),
    Scenario(
        "errors leak to 10 points in an hour",
        truth="harm",
        challenger=Side(errors=0.101),
        leak=True,
        seconds=3600.0,
        shown_by="error_rate",
    ),
    Scenario(
        "latency leaks to x 3 in an hour",
        truth="harm",
        challenger=Side(slower=3.0),
        leak=True,
        seconds=3600.0,
        shown_by="p99_latency",
    ),
    Scenario(
        "errors +20 points after 40 minutes, canary 10 %",
        truth="harm",
        percent=10,
        challenger=Side(errors=0.201),
        onset=2400.0,
        step_seconds=LONG,
        seconds=LONG,
        shown_by="error_rate",
    ),
    *(
        Scenario(
            f"latency x 2 after {minutes} minutes, shadow",
            truth="harm",
            challenger=Side(slower=2.0),
            onset=60.0 * minutes,
            step_seconds=LONG,
            seconds=LONG,
            shown_by="p99_latency",
        )
        for minutes in (5, 19, 40)  # 19: just before the tests restart
    ),
    Scenario(
        "precision -10 points after 40 minutes, shadow",
        truth="harm",
        precision_loss=0.1,
        onset=2400.0,
        step_seconds=LONG,
        seconds=LONG,
        shown_by="precision",
    ),
    # at or beyond a margin: promoting is a false promotion
    Scenario("precision at its margin (-2 points), shadow", truth="at the margin", precision_loss=0.02, seconds=LONG),
    Scenario(
        "precision at its margin, canary 50 %", truth="at the margin", percent=50, precision_loss=0.02, seconds=LONG
    ),
    Scenario(
        "errors at their margin (+0.5 points), shadow",
        truth="at the margin",
        challenger=Side(errors=0.006),
        seconds=LONG,
    ),
    Scenario(
        "errors at their margin, canary 50 %",
        truth="at the margin",
        percent=50,
        challenger=Side(errors=0.006),
        seconds=LONG,
    ),
    Scenario("latency at its margin (x 1.1), shadow", truth="at the margin", challenger=Side(slower=1.1), seconds=LONG),
    Scenario(
        "latency at its margin, canary 50 %",
        truth="at the margin",
        percent=50,
        challenger=Side(slower=1.1),
        seconds=LONG,
    ),
    *(
        Scenario(
            f"{what} at the margin amid own bursts, {where}",
            truth="at the margin",
            percent=percent,
            champion=Side(incidents=incidents),
            challenger=replace(worse, incidents=incidents),
            seconds=LONG,
        )
        for what, worse, incidents in (("latency", Side(slower=1.1), SLOW_20), ("errors", Side(errors=0.006), FAIL_20))
        for percent, where in ((None, "shadow"), (50, "canary 50 %"))
    ),
    Scenario("offline 0.90, live 0.75, shadow", truth="unproven", offline=0.90),
    Scenario("offline 0.90, live 0.75, canary 50 %", truth="unproven", percent=50, offline=0.90),
    Scenario("offline 0.80, live 0.75 (at the tolerance), shadow", truth="unproven", offline=0.80, seconds=LONG),
    Scenario(
        "labels only of the champion's positives, own ones at 0.25",
        truth="unproven",
        precision_loss=0.1,
        labels_of_champion=True,
    ),
)
