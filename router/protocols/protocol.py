"""The one interface of all protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


class Failed(Unreadable):
    """An answer that came with a status of 2xx and says otherwise: an error stands in it, or it broke off.

    Args:
        message: what it says.
        status: that it should have had; 0: it broke off.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What an answer of a language model took.

    Args:
        prompt: tokens of the prompt.
        completion: tokens of the answer.
        streamed: it came token by token.
    """

    prompt: int
    completion: int
    streamed: bool = False


class Metered(list[Prediction]):
    """Predictions of an answer that says what it took."""

    __slots__ = ("usage",)

    def __init__(self, predictions: Iterable[Prediction], usage: Usage) -> None:
        super().__init__(predictions)
        self.usage = usage


class Reading(msgspec.Struct, frozen=True):
    """Where a model's answers have their predictions, as its settings say; "": where the protocol usually has them.

    What the texts mean is the protocol's: the name of a field, of a column, of an output, or a JSON pointer (RFC 6901).
    `compare` is of answers that are texts: how they become predictions.
    """

    prediction: str = ""
    score: str = ""
    rows: str = ""
    compare: str = ""


Reader = Callable[[bytes], list[Prediction]]
"""The predictions of an answer's body, one per row; none: a good answer that predicts nothing. Off the request path.

A `Metered` list says what the answer took, too.

Raises:
    Failed: the answer says that it failed, whatever its status was.
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
