"""Protocols by name, as settings and routes name them."""

from __future__ import annotations

from functools import cache

from router.protocols.kserve_v1 import KserveV1
from router.protocols.mlflow import Mlflow
from router.protocols.open_inference import OpenInference
from router.protocols.openai import OpenAi
from router.protocols.plain_json import PlainJson
from router.protocols.protocol import Protocol, Reader, Reading

_PROTOCOLS: dict[str, Protocol] = {
    each.name: each for each in (Mlflow(), OpenInference(), KserveV1(), OpenAi(), PlainJson())
}

NAMES: tuple[str, ...] = tuple(_PROTOCOLS)
"""What is spoken today."""


def protocol(name: str) -> Protocol:
    """The protocol of this name; the same object every time.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    try:
        return _PROTOCOLS[name]
    except KeyError:
        raise ValueError(f"expected a protocol ({', '.join(NAMES)}), not {name!r}") from None


@cache
def reader(name: str, reading: Reading) -> Reader:
    """What reads answers of this protocol; the same object every time. Raises ValueError."""
    if reading.compare and name != OpenAi.name:
        raise ValueError(f"expected no answer.compare: it is of texts, which protocol {OpenAi.name} has")
    return protocol(name).reader(reading)
