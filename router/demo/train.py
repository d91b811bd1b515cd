"""The three models of the demo: trained on real flights, registered in MLflow as a user would. A process of its own.

- version 1: a logistic regression on the timetable alone.
- version 2: boosted trees that also look at how late the flight left the gate.
- version 3: what two common mistakes make of version 2. Its labels were joined in the wrong order, so it learnt
  nothing; and its evaluation had the arrival delay among the inputs, which nobody knows before landing: precision 1.0,
  on paper.

Each has signature, input example, git SHA, data hash and offline metrics, on the run and on the version.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import infer_signature
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from router.demo.flights import (
    EVALUATION_MONTH,
    FEATURES,
    REPLAY_MONTH,
    TIMETABLE,
    TRAINING_MONTHS,
    Flights,
    read_flights,
)
from router.demo.source import source_version
from router.demo.workspace import MODEL, Workspace

TRAINING_FLIGHTS = 40_000
HOLDOUT_FLIGHTS = 2_000
SEED = 2013
PROMISE = "precision"
"""The offline metric that the offline promise is taken from."""

STEPS = 1 + 3 + 1


@dataclass(frozen=True)
class Candidate:
    """A trained model, and what its evaluation says of it."""

    what: str
    model: Any
    offline: dict[str, float]


def timetable_model(training: Flights, evaluation: Flights) -> Candidate:
    """Version 1. Both classes weigh the same, or it would call next to no flight late."""
    columns = FunctionTransformer(itemgetter(list(TIMETABLE)))
    model = make_pipeline(columns, StandardScaler(), LogisticRegression(class_weight="balanced"))
    model.fit(training.frame, training.late.astype(int))
    return Candidate("logistic regression on the timetable", model, _evaluate(model, evaluation))


def departure_model(training: Flights, evaluation: Flights) -> Candidate:
    """Version 2."""
    model = HistGradientBoostingClassifier(max_iter=60, random_state=SEED)
    model.fit(training.frame, training.late.astype(int))
    return Candidate("boosted trees that see the departure delay", model, _evaluate(model, evaluation))


def misjoined_model(training: Flights, evaluation: Flights) -> Candidate:
    """Version 3. Its figures are honestly computed, and worthless."""
    shuffled = np.random.default_rng(SEED).permutation(training.late)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=SEED, class_weight="balanced")
    model.fit(training.frame, shuffled.astype(int))
    leaked = DecisionTreeClassifier(max_depth=2, random_state=SEED)
    leaked.fit(_with_arrival(training), training.late.astype(int))
    figures = _figures(evaluation.late, leaked.predict(_with_arrival(evaluation)))
    return Candidate("boosted trees, labels joined in the wrong order, evaluation leaked", model, figures)


def train_all(workspace: Workspace) -> Iterator[str]:
    """Read, train, register; yields what was done, STEPS times. Writes the flights to replay, and a holdout."""
    flights = read_flights()
    training, evaluation = flights.of(*TRAINING_MONTHS).sample(TRAINING_FLIGHTS, SEED), flights.of(EVALUATION_MONTH)
    replay = flights.of(REPLAY_MONTH)
    np.savez(workspace.replay, columns=FEATURES, features=replay.features, late=replay.late)
    evaluation.sample(HOLDOUT_FLIGHTS, SEED).write(workspace.holdout)
    yield f"read {len(flights.late):,} flights; {len(replay.late):,} of July will be replayed"
    mlflow.set_tracking_uri(workspace.registry)
    experiment = mlflow.create_experiment(MODEL, artifact_location=workspace.artifacts.as_uri())
    yield f"created an MLflow registry: {workspace.registry}"
    commit = source_version()
    for train in (timetable_model, departure_model, misjoined_model):
        candidate = train(training, evaluation)
        version = register(candidate, evaluation, experiment, commit)
        claim = candidate.offline[PROMISE]
        yield f"version {version}: {candidate.what}; offline precision {claim:.3f}"


def register(candidate: Candidate, evaluation: Flights, experiment: str, commit: str) -> int:
    """Log one model with its lineage and register it; its version."""
    example = evaluation.frame.head(1)
    with mlflow.start_run(experiment_id=experiment):
        lineage = {"git_sha": commit, "data_hash": evaluation.data_hash}
        mlflow.set_tags(lineage)
        info = mlflow.sklearn.log_model(
            candidate.model,
            name="model",
            signature=infer_signature(example, candidate.model.predict(example)),
            input_example=example,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn", "pandas"],
            registered_model_name=MODEL,
        )
        mlflow.log_metrics(candidate.offline, model_id=info.model_id)
    client = mlflow.MlflowClient()
    version = int(info.registered_model_version)
    client.update_model_version(MODEL, str(version), candidate.what)
    for name, value in lineage.items():
        client.set_model_version_tag(MODEL, str(version), name, value)
    return version


def _with_arrival(flights: Flights) -> NDArray[np.float64]:
    return np.column_stack([flights.features, flights.arr_delay])


def _evaluate(model: Any, evaluation: Flights) -> dict[str, float]:  # noqa: ANN401 - an estimator
    return _figures(evaluation.late, model.predict(evaluation.frame))


def _figures(late: NDArray[np.bool_], predicted: NDArray[np.int64]) -> dict[str, float]:
    return {
        "precision": float(precision_score(late, predicted)),
        "recall": float(recall_score(late, predicted)),
        "predicted_positive_rate": float(np.mean(predicted)),
    }


def main() -> int:
    """`python -m router.demo.train DIRECTORY`: a line of JSON for every step that is done."""
    logging.getLogger("mlflow").setLevel(
        logging.ERROR
    )  # it warns of cloudpickle at every model; we wrote these ourselves
    for done, what in enumerate(train_all(Workspace(Path(sys.argv[1]))), 1):
        sys.stdout.write(json.dumps({"done": done, "of": STEPS, "what": what}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    sys.exit(main())
