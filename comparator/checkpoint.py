"""The state of the judge as plain data, and back: what a restart goes on from, and what a decision's digest is of.

It holds what was counted, never the rows that wait for a label: those are joined again from the record. Plain data are
what JSON has; what JSON has not (arrays, infinities, the judge's own objects) is told by a mapping with one key that
begins with "$". A policy and its guardrails are not written: whoever reads the state has the policy.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from comparator import (
    agreement,
    breaker,
    buckets,
    calibration,
    checks,
    coverage,
    difference,
    evidence,
    label_metric,
    macro,
    ratio,
    scoreboard,
    sequence,
    split,
)
from comparator.assess import Counts
from comparator.events import Mode
from comparator.policy import Guardrail, Policy
from comparator.sketch import Sketch
from comparator.warm_up import WarmUp

LAYOUT = 4
"""Of the state: one of another layout is not read, and its facts are received again. Other fields need no other number
(`thaw` finds them); what the same fields mean does."""

_CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        agreement.Agreement,
        agreement.Pairs,
        breaker.Breaker,
        buckets.Bucket,
        buckets.Buckets,
        buckets.PastQuantile,
        buckets.Slice,
        buckets.Slow,
        checks.Checks,
        checks.Standing,
        Counts,
        coverage.Coverage,
        difference.Runs,
        difference.DifferenceTest,
        difference.Incident,
        evidence.Evidence,
        label_metric.LabelMetric,
        calibration.CalibrationTest,
        calibration.Larger,
        calibration.NoLarger,
        macro.MacroBlock,
        macro.MacroBlocks,
        macro.MacroTest,
        ratio.Blocks,
        ratio.RatioTest,
        scoreboard.Scoreboard,
        scoreboard.Version,
        sequence.Mixture,
        sequence.RestartingMixture,
        Sketch,
        split.Split,
        WarmUp,
    )
}


class Unusable(ValueError):
    """A state that cannot be read back: damaged, of another layout, or of other fields than this code's."""


def freeze(value: Any) -> Any:  # noqa: ANN401 - any of the judge's values
    """Plain data. TypeError: the value is none of the judge's."""
    if isinstance(value, np.generic):
        return freeze(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Mode)):
        return value
    if isinstance(value, list):
        return [freeze(each) for each in value]
    kind = next((kind for of, kind in _KINDS.items() if isinstance(value, of)), None)
    if kind is not None:
        name, held = kind
        return {name: held(value)}
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise TypeError(f"not a part of the judge's state: {type(value)}")
    return {f"$.{name}": {field: freeze(getattr(value, field)) for field in _fields(value)}}


def _packed(value: np.ndarray[Any, Any]) -> list[Any]:
    raw = np.ascontiguousarray(value).tobytes()
    return [value.dtype.str, list(value.shape), base64.b64encode(zlib.compress(raw, 1)).decode()]


_KINDS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Mode: ("$mode", int),
    Policy: ("$policy", lambda _: None),
    Guardrail: ("$rail", lambda rail: rail.name),
    np.ndarray: ("$array", _packed),
    tuple: ("$tuple", lambda values: [freeze(each) for each in values]),
    deque: ("$deque", lambda values: [values.maxlen, [freeze(each) for each in values]]),
    dict: ("$map", lambda values: [[freeze(key), freeze(each)] for key, each in values.items()]),
}
"""What JSON has not: how it is told. Policies and guardrails are named only."""


def thaw(data: Any, policy: Policy, like: Iterable[object]) -> Any:  # noqa: ANN401 - what `freeze` was given
    """The value again.

    Args:
        data: plain data.
        policy: the one that it was made under.
        like: objects of the judge as this code makes them under that policy: the fields that each class has now.

    Raises:
        Unusable: damaged, or an object in it has not exactly the fields that its class has now.
    """
    try:
        return _thaw(data, policy, _fields_now(like))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, zlib.error) as error:
        raise Unusable(f"not a state of the judge: {error}") from error


def canonical(state: Any) -> bytes:  # noqa: ANN401 - plain data
    """Plain data as canonical JSON."""
    return json.dumps(state, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(state: Any) -> str:  # noqa: ANN401 - plain data
    """SHA-256 of plain data's canonical JSON, in hex."""
    return hashlib.sha256(canonical(state)).hexdigest()


def _fields(value: object) -> Iterator[str]:
    yield from _slots(type(value))
    yield from getattr(value, "__dict__", ())


def _slots(of: type) -> Iterator[str]:
    for each in of.__mro__:
        yield from getattr(each, "__slots__", ())


def _fields_now(like: Iterable[object]) -> dict[str, frozenset[str]]:
    """The fields of each class: told by its slots, or by an object of it among these or their parts.

    Read off objects because nothing else has them all: an annotation or a list by hand can be forgotten, and then the
    check, too.
    """
    found = {name: frozenset(_slots(of)) for name, of in _CLASSES.items() if not of.__dictoffset__}
    todo = list(like)
    while todo:
        value = todo.pop()
        if isinstance(value, list | tuple | deque):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif _CLASSES.get(type(value).__name__) is type(value):
            fields = frozenset(_fields(value))
            found[type(value).__name__] = fields
            todo += [getattr(value, field) for field in fields]
    return found


def _thaw(data: Any, policy: Policy, now: Mapping[str, frozenset[str]]) -> Any:  # noqa: ANN401, PLR0911 - a line a kind
    if isinstance(data, list):
        return [_thaw(each, policy, now) for each in data]
    if not isinstance(data, dict):
        return data
    ((kind, held),) = data.items()
    match kind:
        case "$mode":
            return Mode(held)
        case "$float":
            return float(held)
        case "$policy":
            return policy
        case "$rail":
            return {rail.name: rail for rail in policy.guardrails}[held]
        case "$array":
            dtype, shape, packed = held
            raw = zlib.decompress(base64.b64decode(packed))
            return np.frombuffer(raw, dtype=np.dtype(dtype)).reshape(shape).copy()
        case "$tuple":
            return tuple(_thaw(each, policy, now) for each in held)
        case "$deque":
            return deque((_thaw(each, policy, now) for each in held[1]), maxlen=held[0])
        case "$map":
            return {_thaw(key, policy, now): _thaw(each, policy, now) for key, each in held}
    return _made(kind.removeprefix("$."), held, policy, now)


def _made(name: str, held: Mapping[str, Any], policy: Policy, now: Mapping[str, frozenset[str]]) -> object:
    if other := held.keys() ^ now[name]:
        raise ValueError(f"{name}: its fields and those of this version differ in {', '.join(sorted(other))}")
    made: object = object.__new__(_CLASSES[name])
    for field, each in held.items():
        object.__setattr__(made, field, _thaw(each, policy, now))
    return made
