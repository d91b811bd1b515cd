"""The one interface of all protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class Table(msgspec.Struct, frozen=True):
    """The rows of a request, by column.

    Args:
        columns: values by column, as they were written, all of one length; None: the row has none. Empty: the request's
            columns have no names.
        rows: how many the request has; of more than MOST_ROWS the first are in `columns`.
        typed: whether texts are texts; else everything is one, as in CSV.
    """

    columns: Mapping[str, Sequence[object]]
    rows: int
    typed: bool = True


class Protocol(Interface):
    """One protocol between clients and model servers. What has a body here is the usual: protocols inherit it."""

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

    def table(self, body: bytes, content_type: str) -> Table | None:  # noqa: ARG002 - the interface's
        """What a request asks about, off the request path; None: requests of this protocol are not read.

        Raises:
            Unreadable: the body is not a request of this protocol.
        """
        return None
