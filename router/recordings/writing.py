"""Columns as lines of a recording, which the reader makes the same columns of again."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from comparator.events import Columns, Mode, Outcome, Role
from router.recordings.lines import Line, Observed, Told

_ROLES: tuple[Any, ...] = tuple(role.name.lower() for role in Role)
_MODES: tuple[Any, ...] = tuple(mode.name.lower() for mode in Mode)
_OUTCOMES: tuple[Any, ...] = tuple(outcome.name.lower() for outcome in Outcome)
_OBSERVED = (
    *("at", "request_hi", "request_lo", "row", "version", "role", "mode", "outcome", "attempted_both"),
    *("shed", "copy_first", "first_byte", "latency", "prediction", "score"),
)

_encode_lines = msgspec.json.Encoder().encode_lines


def written(lines: Iterable[Line]) -> bytes:
    """As NDJSON."""
    return _encode_lines(lines)


def id_text(hi: int, lo: int) -> str:
    """A request's key as the text that is read as this key again; a client's own id cannot be told from it."""
    return str(uuid.UUID(int=hi << 64 | lo))


def observed_lines(columns: Columns) -> list[Observed]:
    """Observations (dtype OBSERVATION, shape (n,)). The rollout is left out: a replay has rollouts of its own."""
    rows = zip(*(columns[name].tolist() for name in _OBSERVED), strict=True)
    return [
        Observed(
            at=at,
            request_id=id_text(hi, lo),
            role=_ROLES[role],
            row=row,
            version=version or None,
            mode=_MODES[mode],
            latency_s=_told(latency),
            first_byte_s=_told(first_byte),
            outcome=_OUTCOMES[outcome],
            attempted_both=both,
            shed=shed,
            copy_first=copy_first,
            prediction=_told(told[0]),
            score=_told(told[1]),
        )
        for (at, hi, lo, row, version, role, mode, outcome, both, shed, copy_first, first_byte, latency, *told) in rows
    ]


def label_lines(columns: Columns) -> list[Told]:
    """Labels (dtype LABEL, shape (n,))."""
    names = ("at", "request_hi", "request_lo", "row", "label")
    return [
        Told(at=at, request_id=id_text(hi, lo), label=_told(label), row=row)
        for at, hi, lo, row, label in zip(*(columns[name].tolist() for name in names), strict=True)
    ]


def _told(number: float) -> float | None:
    """None: not a number, or none that JSON has."""
    return number if -float("inf") < number < float("inf") else None
