"""MLflow's scoring server: POST /invocations, answered with {"predictions": ...}.

What stands under "predictions" is whatever the model's `predict` returned, as JSON: a list with one item per row, a
mapping of columns, or one value. A row is a number, a boolean, a text, the probabilities of its classes, or a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from router.protocols.json_text import read_json
from router.protocols.protocol import Asking, Prediction, Protocol, Questions, Reader, Reading, Tables, Unreadable
from router.protocols.rows import Names, names_of, rows_of


class _Answer(msgspec.Struct, gc=False):
    predictions: object = msgspec.UNSET


_answer: Final = msgspec.json.Decoder(_Answer)
_EXPECTED: Final = '{"predictions": ...}'


class Mlflow(Protocol):
    """The protocol `mlflow`."""

    name: str = "mlflow"
    ready_path: str = "/ping"

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """POST /invocations; /ping, /health and /version do not."""
        return path == b"/invocations" and method == b"POST"

    def model_in_path(self, path: bytes) -> bytes | None:  # noqa: ARG002 - the interface's
        """Never: one server has one model, and its paths do not name it."""
        return None

    def reader(self, reading: Reading) -> Reader:
        """`prediction` and `score` are names of fields of a record, or of columns."""
        if reading.rows:
            raise ValueError("expected no answer.rows: MLflow's rows stand in predictions")
        return partial(_predictions, names_of(reading))

    def questions(self, model: str, types: Mapping[str, str], asking: Asking) -> Questions:  # noqa: ARG002 - the interface's
        """`dataframe_split`, and every other shape for named columns."""
        from router.protocols.questions import MlflowQuestions  # noqa: PLC0415 - a proxy asks nothing

        return MlflowQuestions()

    def tables(self, asking: Asking) -> Tables:
        """Of all its JSON forms, and of CSV."""
        from router.protocols.mlflow_table import table_of  # noqa: PLC0415 - a proxy reads no request

        super().tables(asking)
        return table_of


def _predictions(names: Names, body: bytes) -> list[Prediction]:
    """One per row.

    Raises:
        Unreadable: no JSON, no "predictions", no rows, or rows of no known shape.
    """
    found = read_json(body, _answer, _EXPECTED).predictions
    if found is msgspec.UNSET:
        raise Unreadable(f"expected {_EXPECTED}")
    return rows_of(found, names, "predictions")
