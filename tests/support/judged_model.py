"""One model under a real judge, without processes: facts go in, Metrics tells."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Labels,
    Mode,
    Observations,
    Outcome,
    Role,
    Tick,
    VersionFacts,
)
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.title import Title
from router.control.metrics import Metrics

POLICY = Policy(
    steps=(Step(StepKind.SHADOW), Step(StepKind.CANARY, 20), Step(StepKind.PROMOTE), Step(StepKind.WATCH)),
    guardrails=(
        Guardrail(Metric.PRECISION, margin=0.02),
        Guardrail(Metric.LATENCY, margin=0.1, quantile=0.99),
        Guardrail(Metric.ERROR_RATE, margin=0.005),
    ),
    gate=Gate.OFF,
)


def observations(rows: Iterable[dict], at: float = 1000.0) -> np.ndarray:
    """Columns of rows; what a row does not say is that of a good answer of the champion, version 1."""
    usual = {"at": at, "version": 1, "outcome": Outcome.OK, "first_byte": 0.01, "latency": 0.02, "prediction": 1.0}
    rows = [{**usual, "score": np.nan, **row} for row in rows]
    columns = np.zeros(len(rows), dtype=OBSERVATION)
    for name in OBSERVATION.names:
        columns[name] = [row.get(name, 0) for row in rows]
    return columns


@dataclass
class UnderControl:
    """As a controller has it."""

    title: Title
    last_tick: float = 0.0
    lost_rows: int = 0


class JudgedModel:
    """A model named `name`, its champion version 1, its challenger version 2; decisions are in force at once."""

    def __init__(self, metrics: Metrics, name: str = "late-arrival", policy: Policy = POLICY) -> None:
        self.name = name
        self.metrics = metrics
        self.controlled = UnderControl(Title(policy))
        self.at = 1000.0
        self.requests = 0

    @property
    def title(self) -> Title:
        return self.controlled.title

    def receive(self, fact) -> None:
        for decision in self.title.receive(fact):
            self.title.receive(decision)
            self.metrics.decided(self.name, decision)

    def aliases(self, champion=1, challenger=None, previous=None) -> None:
        named = {champion, challenger, previous} - {None}
        facts = {version: VersionFacts(version, {"precision": 0.8}) for version in named}
        self.receive(AliasesRead(self.at, champion, challenger, previous, facts, frozenset({1, 2})))
        self.metrics.registry_read(self.name, self.at, ok=True)

    def requests_of_step(self, count: int, chance: np.random.Generator) -> None:
        """So many requests, as the present step has them answered, and a label for each."""
        serving = self.title.serving
        rows, labels = [], []
        for _ in range(count):
            self.requests += 1
            truth = float(chance.random() < 0.4)
            both = serving.mode in (Mode.SHADOW, Mode.WATCH)
            answered = [(serving.champion, Role.CHAMPION)]
            if both:
                answered.append((serving.other, serving.other_role))
            elif serving.mode is Mode.CANARY and chance.random() < serving.share / 100:
                answered = [(serving.other, serving.other_role)]
            for version, role in answered:
                wrong = chance.random() < 0.2
                rows.append(
                    {
                        "at": self.at, "rollout_id": serving.rollout_id, "request_lo": self.requests,
                        "version": version, "role": role, "mode": serving.mode, "attempted_both": both,
                        "outcome": Outcome.SERVER_ERROR if chance.random() < 0.02 else Outcome.OK,
                        "latency": chance.lognormal(-4, 0.4), "prediction": 1 - truth if wrong else truth,
                    }
                )  # fmt: skip
            labels.append((self.at, 0, self.requests, 0, truth))
        columns = observations(rows)
        self.metrics.observe(self.name, columns)
        self.receive(Observations(columns))
        self.receive(Labels(np.array(labels, dtype=LABEL)))

    def tick(self, at: float) -> None:
        self.at = self.controlled.last_tick = at
        self.receive(Tick(at))
