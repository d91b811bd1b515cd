"""Columns as people have them (a dict of arrays or lists, or a structured array) made into OBSERVATION and LABEL.

Refused, with the field, the row's number and what was expected: what cannot be what it should be. What merely is no
evidence (a latency or a label that is not a number) stays: the judge counts it and leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comparator.events import LABEL, OBSERVATION, Columns, Mode, Outcome, Role, request_key

Source = NDArray[np.void] | Mapping[str, ArrayLike | Sequence[object]]
"""Named columns of one length: a structured array, or a mapping of arrays or lists."""

CHAMPION_VERSION, CHALLENGER_VERSION = 1, 2
"""What the versions are called where the record does not name them."""

LATEST = 253_402_300_800.0
"""Seconds since the epoch: times from here on (the year 10000) are taken for milliseconds written by mistake."""

_ROLES = {role.name.lower(): int(role) for role in Role}
_MODES = {mode.name.lower(): int(mode) for mode in Mode}
_OBSERVATION_FIELDS = frozenset(OBSERVATION.fields or ()) | {"request_id", "latency_s", "status", "ok"}
_LABEL_FIELDS = frozenset(LABEL.fields or ()) | {"request_id"}
_MOST_IDS = 1 << 128


def observation_columns(
    source: Source, *, champion: int = CHAMPION_VERSION, challenger: int = CHALLENGER_VERSION
) -> Columns:
    """Columns of dtype OBSERVATION, shape (n,), in the order given; a source of that dtype is returned as it is.

    Args:
        source: with the fields `at` (seconds since the epoch), `request_id` (whole numbers, or text as `request_key`
            takes it) or `request_hi` and `request_lo`, `role` (a name or `Role`), at least one of `outcome`
            (`Outcome`), `ok` (bool) and `status` (HTTP, 0: no answer); and where there are any `row`, `version`, `mode`
            (a name or `Mode`), `latency` or `latency_s` (seconds), `prediction`, `score`, and any other of OBSERVATION.
        champion: the champion's version, where `version` is not there.
        challenger: the challenger's.

    Raises:
        ValueError: with the field, the row and what was expected.
    """
    if isinstance(source, np.ndarray) and source.dtype == OBSERVATION:
        return source
    fields = _fields(source, _OBSERVATION_FIELDS, ("at", "role"))
    out = _start(fields, OBSERVATION)
    for name in ("first_byte", "latency", "prediction", "score"):
        out[name] = np.nan
    out["role"] = _named(fields, "role", _ROLES)
    if "mode" in fields:
        out["mode"] = _named(fields, "mode", _MODES)
    if "latency" in fields and "latency_s" in fields:
        raise ValueError("latency_s: expected it or latency, not both")
    for name in ("latency", "latency_s", "first_byte", "prediction", "score"):
        if name in fields:
            with np.errstate(over="ignore"):  # a latency that has no place in it becomes infinite: none, and counted
                out[name.removesuffix("_s")] = _numbers(fields, name, missing=True)
    for name, most in (("version", (1 << 32) - 1), ("rollout_id", (1 << 64) - 1)):
        if name in fields:
            out[name] = _whole(fields, name, most, least=int(name == "version"), text=name == "version")
    for name in ("attempted_both", "shed", "copy_first"):
        if name in fields:
            out[name] = _flags(fields, name)
    out["outcome"] = _outcome(fields)
    return fill(
        out,
        mode=np.full(out.size, "mode" in fields),
        version=np.full(out.size, "version" in fields),
        attempted_both=np.full(out.size, "attempted_both" in fields),
        champion=champion,
        challenger=challenger,
    )


def label_columns(source: Source) -> Columns:
    """Columns of dtype LABEL, shape (n,), in the order given; a source of that dtype is returned as it is.

    Args:
        source: with the fields `at`, `request_id` or `request_hi` and `request_lo`, `label` (numbers, or bools as 0
            and 1), and where there is any `row`.

    Raises:
        ValueError: with the field, the row and what was expected.
    """
    if isinstance(source, np.ndarray) and source.dtype == LABEL:
        return source
    fields = _fields(source, _LABEL_FIELDS, ("at", "label"))
    out = _start(fields, LABEL)
    out["label"] = _numbers(fields, "label", missing=True)
    return out


def check_times(at: NDArray[np.float64]) -> None:
    """Refuse what is no time of a record; shape (n,).

    Raises:
        ValueError: with the row and what was expected.
    """
    _refuse({"at": at}, "at", ~((at >= 0) & (at < LATEST)), "seconds since the epoch, before the year 10000")


def fill(
    columns: Columns,
    *,
    mode: NDArray[np.bool_],
    version: NDArray[np.bool_],
    attempted_both: NDArray[np.bool_],
    champion: int = CHAMPION_VERSION,
    challenger: int = CHALLENGER_VERSION,
) -> Columns:
    """Fill in, in place, what the record does not tell: each mask, shape (n,), is True where it is told.

    The mode of a request that both the champion and the challenger answered is shadow, of one that the previous
    champion answered watch, of any other canary. Of a shadow or a watch both are taken to have been asked. In a watch
    with the previous champion, the champion is the version that was on trial.
    """
    if not mode.all():
        columns["mode"][~mode] = _mode_of_ids(columns)[~mode]
    of, role = columns["mode"], columns["role"]
    paired = (of == Mode.SHADOW) | (of == Mode.WATCH)
    columns["attempted_both"] = np.where(attempted_both, columns["attempted_both"], paired)
    if not version.all():
        promoted = (of == Mode.WATCH) & (role == Role.CHAMPION) & bool(np.any(role == Role.PREVIOUS))
        on_trial = np.where(promoted | (role == Role.CHALLENGER), challenger, champion)
        columns["version"] = np.where(version, columns["version"], on_trial)
    return columns


def outcome_of(status: NDArray[np.int64], ok: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What became of exchanges, by what is known of each.

    Args:
        status: HTTP, shape (n,); 0: no answer; -1: not told.
        ok: 1: the answer was of use; 0: it was not; -1: not told. It decides, and the status names the failure.
    """
    outcome = np.select(
        [status < 0, status == 0, status < 400, status < 500],
        [Outcome.SERVER_ERROR, Outcome.CONNECT, Outcome.OK, Outcome.CLIENT_ERROR],
        Outcome.SERVER_ERROR,
    ).astype(np.uint8)
    outcome[(ok == 0) & (outcome == Outcome.OK)] = Outcome.GARBAGE  # it came, and was of no use
    outcome[ok == 1] = Outcome.OK
    return outcome


def key_bytes(text: str) -> bytes:
    """`request_key` as 16 bytes, upper half first; a UUID as it is mostly written takes a tenth of the time."""
    digits = text.replace("-", "")
    if len(text) == 36 and len(digits) == 32:
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            key = b""
        if len(key) == 16:
            return key
    return request_key(text).to_bytes(16, "big")


# ---- inside


def _mode_of_ids(columns: Columns) -> NDArray[np.uint8]:
    """By which roles each row's request id is known."""
    hi, lo = np.ascontiguousarray(columns["request_hi"]), np.ascontiguousarray(columns["request_lo"])
    order = np.argsort(lo ^ (hi * np.uint64(0x9E3779B97F4A7C15)))
    hi, lo = hi[order], lo[order]
    new = np.ones(order.size, dtype=bool)
    new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    roles = np.left_shift(np.uint8(1), columns["role"][order])
    starts = np.flatnonzero(new)
    seen = np.bitwise_or.reduceat(roles, starts) if starts.size else roles
    modes = np.full(8, Mode.WATCH, dtype=np.uint8)
    modes[:4] = Mode.CANARY
    modes[0b011] = Mode.SHADOW
    out = np.empty(order.size, dtype=np.uint8)
    out[order] = np.repeat(modes[seen], np.diff(np.append(starts, order.size)))
    return out


def _fields(source: Source, known: frozenset[str], needed: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    names = source.dtype.names if isinstance(source, np.ndarray) else tuple(source)
    if names is None:
        raise ValueError(f"expected columns with names ({_listed(known)}), not an array of {source.dtype}")  # type: ignore[union-attr]
    for name in names:
        if name not in known:
            raise ValueError(f"{name}: unknown field; expected columns among {_listed(known)}")
    fields = {name: _array(name, source[name]) for name in names}
    ids = ("request_id",) if not {"request_hi", "request_lo"} & fields.keys() else ("request_hi", "request_lo")
    for name in (*needed, *ids):
        if name not in fields:
            raise ValueError(f"{name}: expected this field")
    if "request_id" in fields and "request_id" not in ids:
        raise ValueError("request_id: expected it or request_hi and request_lo, not both")
    rows = fields["at"].size
    for name, values in fields.items():
        if values.size != rows:
            raise ValueError(f"{name}: expected {rows} rows, as `at` has, not {values.size}")
    return fields


def _array(name: str, values: object) -> NDArray[Any]:
    """One field as numpy has it; lists of mixed kinds, or of ids, as objects."""
    if isinstance(values, np.ndarray):
        array = values
    else:
        held = list(values) if isinstance(values, Sequence) and not isinstance(values, (str, bytes)) else None
        if held is None:
            raise ValueError(f"{name}: expected an array or a list, not {type(values).__name__}")
        plain = len({type(each) for each in held}) == 1 and isinstance(held[0], (bool, float))
        array = np.asarray(held) if plain else np.empty(len(held), dtype=object)
        if not plain:
            array[:] = held
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, not {array.ndim}")
    return array


def _start(fields: Mapping[str, NDArray[Any]], dtype: np.dtype[np.void]) -> Columns:
    """The columns with what both kinds have: when, which request, which row."""
    at = _numbers(fields, "at")
    check_times(at)
    out = np.zeros(at.size, dtype=dtype)
    out["at"] = at
    if "request_id" in fields:
        out["request_hi"], out["request_lo"] = _keys(fields["request_id"])
    else:
        for name in ("request_hi", "request_lo"):
            out[name] = _whole(fields, name, (1 << 64) - 1)
    if "row" in fields:
        out["row"] = _whole(fields, "row", (1 << 32) - 1)
    return out


def _keys(ids: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Upper and lower half of each id's key."""
    expected = "text, or a whole number from 0 to below 2**128"
    if ids.dtype.kind in "ui":
        if ids.dtype.kind == "i":
            _refuse({"request_id": ids}, "request_id", ids < 0, expected)
        return np.zeros(ids.size, dtype=np.uint64), ids.astype(np.uint64)
    keys: list[bytes] = []
    for row, each in enumerate(ids.tolist()):
        if isinstance(each, str) and each:
            keys.append(key_bytes(each))
        elif isinstance(each, int) and not isinstance(each, bool) and 0 <= each < _MOST_IDS:
            keys.append(each.to_bytes(16, "big"))
        else:
            raise ValueError(f"request_id: row {row}: expected {expected}, not {each!r}")
    both = np.frombuffer(b"".join(keys), dtype=">u8").astype(np.uint64)
    return both[::2], both[1::2]


def _numbers(fields: Mapping[str, NDArray[Any]], name: str, *, missing: bool = False) -> NDArray[np.float64]:
    """Numbers and bools as floats; None is NaN where something may be missing."""
    values = fields[name]
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    accepted = (int, float, np.number, np.bool_)
    good = [isinstance(each, accepted) or (missing and each is None) for each in values.tolist()]
    _refuse(fields, name, ~np.array(good, dtype=bool), "a number")
    return values.astype(np.float64)  # of None numpy makes NaN


def _whole(
    fields: Mapping[str, NDArray[Any]], name: str, most: int, *, least: int = 0, text: bool = False
) -> NDArray[Any]:
    """Whole numbers from `least` to `most`; digits too, where they are often written as text."""
    values = fields[name]
    expected = f"a whole number from {least} to {most}"
    if values.dtype.kind in "ui":
        wrong = (values < least) | (values > most) if most < (1 << 63) else values < least
        _refuse(fields, name, wrong, expected)
        return values
    if values.dtype.kind == "f":
        _refuse(fields, name, ~((values >= least) & (values <= most) & (values == np.floor(values))), expected)
        return values.astype(np.uint64)
    held: list[object] = values.tolist()
    if text:
        held = [int(each) if isinstance(each, str) and each.isdecimal() else each for each in held]
    good = [isinstance(each, int) and not isinstance(each, bool) and least <= each <= most for each in held]
    _refuse(fields, name, ~np.array(good, dtype=bool), expected)
    return np.array(held, dtype=np.uint64)


def _flags(fields: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.bool_]:
    values = fields[name]
    if values.dtype.kind == "b":
        return values
    good = [isinstance(each, (bool, int)) and each in (0, 1) for each in values.tolist()]
    _refuse(fields, name, ~np.array(good, dtype=bool), "true or false")
    return values.astype(bool)


def _named(fields: Mapping[str, NDArray[Any]], name: str, known: Mapping[str, int]) -> NDArray[np.uint8]:
    """Names, or the numbers that they stand for."""
    values = fields[name]
    expected = f"{_listed(known)}, or the number of one"
    if values.dtype.kind in "ui":
        _refuse(fields, name, (values < 0) | (values >= len(known)), expected)
        return values.astype(np.uint8)
    if values.dtype.kind == "U":
        out = np.full(values.size, -1)
        for text, code in known.items():
            out[values == text] = code
    else:
        codes: dict[str | int, int] = {code: code for code in known.values()}
        codes.update(known)
        held = values.tolist()
        out = np.array([codes.get(each, -1) if isinstance(each, (str, int)) else -1 for each in held], dtype=np.int64)
    _refuse(fields, name, out < 0, expected)
    return out.astype(np.uint8)


def _outcome(fields: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    if "outcome" in fields:
        return _whole(fields, "outcome", max(Outcome)).astype(np.uint8)
    if not {"status", "ok"} & fields.keys():
        raise ValueError("status: expected this field, ok or outcome: what became of each request")
    status = ok = np.full(fields["at"].size, -1)
    if "status" in fields:
        status = _whole(fields, "status", 599).astype(np.int64)
        _refuse(fields, "status", (status > 0) & (status < 100), "an HTTP status, or 0 where no answer came")
    if "ok" in fields:
        ok = _flags(fields, "ok").astype(np.int64)
    return outcome_of(status, ok)


def _refuse(fields: Mapping[str, NDArray[Any]], name: str, wrong: NDArray[np.bool_], expected: str) -> None:
    bad = np.flatnonzero(wrong)
    if bad.size:
        row = int(bad[0])
        raise ValueError(f"{name}: row {row}: expected {expected}, not {fields[name][row : row + 1].tolist()[0]!r}")


def _listed(names: Mapping[str, int] | frozenset[str]) -> str:
    ordered = sorted(names) if isinstance(names, frozenset) else list(names)
    return ", ".join(ordered)
