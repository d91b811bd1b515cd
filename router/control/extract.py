"""Recorded exchanges -> observations: predictions read out of answer bodies, off every request path."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from comparator.events import OBSERVATION, Columns, Outcome
from router.control.coded import MOST_BYTES, MOST_BYTES_TOGETHER, decoded
from router.control.tokens import token_columns
from router.link.messages import (
    BODY_DEFLATE,
    BODY_GZIP,
    BODY_PROTO,
    BODY_WHOLE,
    COPY_FIRST,
    EXCHANGE_ROW,
    SHED,
    Exchanges,
)
from router.protocols.coding import Coding
from router.protocols.numbers import Numbers, coded
from router.protocols.protocol import Failed, Metered, Prediction, Reader, Unreadable, Usage

log = logging.getLogger(__name__)

EXCHANGE: Final = np.dtype(
    {
        "names": [
            "at",
            "rollout_id",
            "request_hi",
            "request_lo",
            "version",
            "body_length",
            "first_byte",
            "latency",
            "flags",
            "status",
            "role",
            "mode",
            "attempted_both",
            "outcome",
            "body_state",
        ],
        "formats": [
            "<f8",
            "<u8",
            "<u8",
            "<u8",
            "<u4",
            "<u4",
            "<f4",
            "<f4",
            "<u4",
            "<u2",
            "u1",
            "u1",
            "?",
            "u1",
            "u1",
        ],
        "itemsize": EXCHANGE_ROW.size,
    }
)
"""EXCHANGE_ROW as columns; a test holds them equal."""

MOST_ROWS: Final = 10_000
"""Of one answer. A larger one is left unread: one request must not fill the ledger."""

_COPIED: Final = tuple(name for name in EXCHANGE.names or () if name in (OBSERVATION.names or ()))
_NAN: Final = float("nan")
_CODED: Final = (BODY_GZIP, BODY_DEFLATE)
_KEPT: Final = (BODY_WHOLE, *_CODED)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one message of a proxy comes to.

    Args:
        columns: dtype OBSERVATION; one per row of each request, those of a request together and in order. All rows of a
            request carry its latency and outcome; consumers count them at row 0.
        unreadable: answers in which no prediction could be read; their outcome is GARBAGE.
        unread: good answers whose body was not kept, decompresses to too much, or has more than MOST_ROWS rows; their
            prediction is NaN.
        tokens: of the answers that tell them, dtype TOKENS; None: none does.
    """

    columns: Columns
    unreadable: int
    unread: int
    tokens: Columns | None = None


def extract(exchanges: Exchanges, read: Reader, coding: Coding, read_grpc: Reader | None = None) -> Extracted:
    """Read the predictions, as the model's coding makes numbers of them. Raises nothing, whatever the bodies are.

    An answer that holds no prediction at all is GARBAGE, unless it is one that predicts nothing. An answer that says
    that it failed is a failure, whatever its status was. Answers over gRPC are read by `read_grpc`; None: they are not
    read.
    """
    size = EXCHANGE_ROW.size
    rows = np.frombuffer(exchanges.rows, EXCHANGE, count=len(exchanges.rows) // size)
    bodies = _bodies(rows, exchanges.bodies, grpc_too=read_grpc is not None)
    over_grpc = (rows["body_state"] == BODY_PROTO).tolist()
    counts = np.ones(len(rows), np.intp)
    outcomes = rows["outcome"].copy()
    values: list[float] = []
    scores: list[float] = []
    usages: list[tuple[int, Usage]] = []
    unreadable = unread = 0
    good = (rows["outcome"] == Outcome.OK).tolist()
    packed = _Coded(rows)
    for index, kept in enumerate(bodies):
        body = packed.body(index, kept) if index in packed.states and kept is not None else kept
        if good[index] and body is not None:
            try:
                found = (read_grpc if over_grpc[index] and read_grpc is not None else read)(body)
                unread += len(found) > MOST_ROWS
                predicted, scored = _coded(found if len(found) <= MOST_ROWS else (), coding)
            except Failed as failure:
                outcomes[index] = _outcome(failure)
            except Unreadable:
                unreadable += 1
                outcomes[index] = Outcome.GARBAGE
            except Exception:  # a fault of ours over one body is not worth all the others of the message
                log.exception("an answer of version %d cannot be read", rows["version"][index])
                unreadable += 1
                outcomes[index] = Outcome.GARBAGE
            else:
                if type(found) is Metered:
                    usages.append((index, found.usage))
                if predicted:
                    counts[index] = len(predicted)
                    values += predicted
                    scores += scored
                    continue
        elif good[index]:
            unread += 1
        values.append(_NAN)
        scores.append(_NAN)
    tokens = token_columns(rows, usages) if usages else None
    return Extracted(_assemble(rows, counts, outcomes, values, scores), unreadable, unread, tokens)


def _bodies(rows: Columns, bodies: bytes, *, grpc_too: bool) -> list[bytes | None]:
    """Each row's whole body as it came, or None: not kept. Lengths that do not add up are a proxy's fault: all None."""
    ends = np.cumsum(rows["body_length"], dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(bodies):
        return [None] * len(rows)
    states = rows["body_state"]
    whole = (np.isin(states, _KEPT) | ((states == BODY_PROTO) & grpc_too)).tolist()
    return [
        bodies[begin:end] if is_whole else None
        for begin, end, is_whole in zip([0, *ends[:-1]], ends, whole, strict=False)
    ]


class _Coded:
    """Decompresses one body at a time, so that no more than one is in memory."""

    def __init__(self, rows: Columns) -> None:
        (where,) = np.nonzero(np.isin(rows["body_state"], _CODED) & (rows["outcome"] == Outcome.OK))
        self.states: dict[int, int] = dict(zip(where.tolist(), rows["body_state"][where].tolist(), strict=True))
        self._left = MOST_BYTES_TOGETHER

    def body(self, index: int, kept: bytes) -> bytes | None:
        """None: too long to be read. One that does not decompress is as good as empty: there is no prediction in it."""
        try:
            found = decoded(kept, self.states[index], min(MOST_BYTES, self._left))
        except Unreadable:
            return b""
        self._left -= len(found) if found is not None else min(MOST_BYTES, self._left)
        return found


def _coded(predictions: Sequence[Prediction], coding: Coding) -> tuple[list[float], list[float]]:
    """Prediction and score per row. Raises Unreadable: there are rows, and no prediction is in any of them."""
    if type(predictions) is Numbers:
        columns = coded(predictions, coding)
        values, scores = columns[0].tolist(), columns[1].tolist()
    else:
        rows = [coding.prediction(prediction) for prediction in predictions]
        values, scores = [value for value, _ in rows], [score for _, score in rows]
    if values and values[0] != values[0] and all(value != value for value in values):  # noqa: PLR0124 - NaN is not itself
        raise Unreadable("expected a prediction of the kind that the model's is")
    return values, scores


def _outcome(failure: Failed) -> Outcome:
    """What the status that it should have had stands for."""
    if not failure.status:
        return Outcome.BROKEN
    return Outcome.CLIENT_ERROR if failure.status < 500 else Outcome.SERVER_ERROR


def _assemble(
    rows: Columns,
    counts: np.ndarray[tuple[int], np.dtype[np.intp]],
    outcomes: Columns,
    values: list[float],
    scores: list[float],
) -> Columns:
    total = len(values)
    which = np.repeat(np.arange(len(rows)), counts)
    columns = np.empty(total, OBSERVATION)
    for name in _COPIED:
        columns[name] = rows[name][which]
    columns["shed"] = (rows["flags"][which] & SHED) != 0
    columns["copy_first"] = (rows["flags"][which] & COPY_FIRST) != 0
    columns["outcome"] = outcomes[which]
    columns["row"] = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    columns["prediction"] = values
    columns["score"] = scores
    return columns
