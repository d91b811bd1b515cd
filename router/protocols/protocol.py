"""The one interface of all protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface

import msgspec


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """What an answer predicts for one row.

    `value` is as the model server wrote it: a number (true is 1.0; NaN: none) or a text; what counts as positive is
    the model's setting. `score` is a number where the answer has one (NaN: none).
    """

    value: float | str
    score: float = float("nan")


class Unreadable(ValueError):
    """A body that is not of this protocol; the message says what was expected."""


class Reading(msgspec.Struct, frozen=True):
    """Where a model's answers have their predictions, as its settings say; "": where the protocol usually has them.

    What the texts mean is the protocol's: the name of a field, of a column, of an output, or a JSON pointer (RFC 6901).
    """

    prediction: str = ""
    score: str = ""
    rows: str = ""


Reader = Callable[[bytes], list[Prediction]]
"""The predictions of an answer's body, one per row, at least one. Off the request path.

Raises:
    Unreadable: the body is not an answer of this protocol, or has no row.
"""


class Protocol(Interface):
    """One protocol between clients and model servers."""

    name: str
    ready_path: str
    """GET it at a model server: 200 when ready."""

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """Whether this request is a prediction (recorded, mirrored); the path is without query."""
        ...

    def model_in_path(self, path: bytes) -> bytes | None:
        """The model that a path of this protocol names by itself, or None."""
        ...

    def reader(self, reading: Reading) -> Reader:
        """What reads the answers of a model.

        Raises:
            ValueError: this protocol cannot read answers so; the message says what was expected.
        """
        ...
