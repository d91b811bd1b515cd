"""The one interface of all protocols."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Asking(msgspec.Struct, frozen=True):
    """What requests of a model look like, as its settings say; "": as the protocol says.

    Args:
        rows: where a request has its rows, a JSON pointer (RFC 6901).
        path: of predictions.
    """

    rows: str = ""
    path: str = ""


Reader = Callable[[bytes], Sequence[Prediction]]
"""The predictions of an answer's body, one per row; none: a good answer that predicts nothing. Off the request path.

A `Metered` list says what the answer took, too; `Numbers` are columns.

Raises:
    Failed: the answer says that it failed, whatever its status was.
    Unreadable: the body is not an answer of this protocol, or has no row.
"""

Rows = Sequence[Mapping[str, object]]
"""Feature values by column."""


class Questions(Interface):
    """How a model server is asked for predictions of rows of named columns, in JSON by POST."""

    path: str

    def of(self, names: Sequence[str], rows: Rows) -> bytes:
        """The body that asks for these columns of the rows."""
        ...

    def shapes(self, names: Sequence[str], rows: Rows) -> dict[str, bytes]:
        """The same question in every other shape that all servers of this protocol read; perhaps none."""
        ...

    def text_for_rows(self, names: Sequence[str]) -> bytes:
        """What no client should send: a text where the values stand."""
        ...

    def example(self, logged: bytes) -> bytes | None:
        """The request that was logged with the model (MLflow's), as this protocol asks it; None: it cannot be."""
        ...


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


Tables = Callable[[bytes, str], Table]
"""The rows of a request, of its body and its content type. Off the request path.

Raises:
    Unreadable: the body is not a request of this protocol.
"""


class Protocol(Interface):
    """One protocol between clients and model servers. What has a body here is the usual: protocols inherit it."""

    name: str
    ready_path: str
    """GET it at a model server: 200 when ready. `{model}` in it is the model's name there."""

    paths_name_models: bool = False
    """Whether `model_in_path` ever names one."""

    last_event: re.Pattern[bytes] | None = None
    """Found in the end of an answer that streams all there is: a client that has read it may hang up."""

    bodies_name_models: bool = False
    """Whether requests have the model's name in their bodies (see `route_by`)."""

    listing_path: bytes = b""
    """Where bodies name models: GET it to know which there are, and PATH/NAME of one of them; empty: it has none."""

    knows_its_paths: bool = True
    """Whether the protocol says which paths are predictions; else every POST is, or those to a path of the settings."""

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """Whether this request is a prediction (recorded, mirrored); the path is without query."""
        ...

    def model_in_path(self, path: bytes) -> bytes | None:
        """The model that a path of this protocol names by itself, or None."""
        ...

    def listing(self, names: Iterable[str]) -> bytes:  # noqa: ARG002 - the interface's
        """What `listing_path` is answered with where models of these names are served."""
        return b""

    def pins_version(self, path: bytes) -> bool:  # noqa: ARG002 - the interface's
        """Whether a path names a version of the model: then no other version may answer it, and none is compared."""
        return False

    def reader(self, reading: Reading) -> Reader:
        """What reads the answers of a model.

        Raises:
            ValueError: this protocol cannot read answers so; the message says what was expected.
        """
        ...

    def questions(self, model: str, types: Mapping[str, str], asking: Asking) -> Questions | None:  # noqa: ARG002 - the interface's
        """How the gate in staging asks; None: nothing says what a request looks like.

        Args:
            model: its name at the model server.
            types: MLflow's type of each column.
            asking: what the settings say of requests.
        """
        return None

    def tables(self, asking: Asking) -> Tables | None:
        """What reads the requests of a model; None: nothing says what they look like.

        Raises:
            ValueError: this protocol has no such requests; the message says what was expected.
        """
        if asking.rows:
            raise ValueError(f"expected no request.rows: the protocol {self.name} says itself what requests look like")
        return None
