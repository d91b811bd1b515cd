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
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from comparator import (
    breaker,
    buckets,
    coverage,
    difference,
    evidence,
    label_metric,
    ratio,
    scoreboard,
    sequence,
    split,
)
from comparator.assess import Counts
from comparator.events import Mode
from comparator.policy import Guardrail, Policy
from comparator.sketch import Sketch

LAYOUT = 3
"""Of the state: a state of another layout is not read, and its facts are received again."""

_CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        breaker.Breaker,
        buckets.Bucket,
        buckets.Buckets,
        buckets.PastQuantile,
        buckets.Slow,
        Counts,
        coverage.Coverage,
        difference.BurstDiscount,
        difference.DifferenceTest,
        difference.Incident,
        evidence.Evidence,
        label_metric.LabelMetric,
        ratio.Blocks,
        ratio.RatioTest,
        scoreboard.Scoreboard,
        scoreboard.Version,
        sequence.Mixture,
        sequence.RestartingMixture,
        Sketch,
        split.Split,
    )
}


class Unusable(ValueError):
    """A state that cannot be read back: damaged, or of another layout."""


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


def thaw(data: Any, policy: Policy) -> Any:  # noqa: ANN401 - what `freeze` was given
    """The value again. Raises Unusable."""
    try:
        return _thaw(data, policy)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise Unusable(f"not a state of the judge: {error}") from error


def digest(state: Any) -> str:  # noqa: ANN401 - plain data
    """SHA-256 of plain data's canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _fields(value: object) -> Iterator[str]:
    for each in type(value).__mro__:
        yield from getattr(each, "__slots__", ())
    yield from getattr(value, "__dict__", ())


def _thaw(data: Any, policy: Policy) -> Any:  # noqa: ANN401, PLR0911 - one line for each kind of value
    if isinstance(data, list):
        return [_thaw(each, policy) for each in data]
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
            return tuple(_thaw(each, policy) for each in held)
        case "$deque":
            return deque((_thaw(each, policy) for each in held[1]), maxlen=held[0])
        case "$map":
            return {_thaw(key, policy): _thaw(each, policy) for key, each in held}
    made: object = object.__new__(_CLASSES[kind.removeprefix("$.")])
    for field, each in held.items():
        object.__setattr__(made, field, _thaw(each, policy))
    return made
