"""The names of lanes: MODEL@ALIAS, which no model can have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from router.settings.block import wrong, wrong_at
from router.settings.problems import Path
from router.settings.units import shown

MOST_LANES: Final = 8

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_OURS = frozenset({"champion", "challenger", "previous"})
_RESERVED = re.compile(r"latest|v[0-9]+", re.ASCII | re.IGNORECASE)
"""By MLflow."""


def lane_name(model: str, alias: str) -> str:
    """Under which a lane is recorded, and spoken of."""
    return f"{model}@{alias}"


def model_of(name: str) -> str:
    """The model that a name is of: its own, or that of one of its lanes."""
    return name.partition("@")[0]


def alias_of(name: str) -> str | None:
    """The alias of a lane's name; None: it is a model's."""
    return name.partition("@")[2] if "@" in name else None


def _alias(value: object) -> str:
    if not isinstance(value, str) or _ALIAS.fullmatch(value) is None:
        raise wrong(
            f"expected an alias of the registry: 1 to 64 letters, digits, '_' or '-', without the @, not {shown(value)}"
        )
    if value.lower() in _OURS or _RESERVED.fullmatch(value):
        raise wrong(f"expected another alias: {value} has a meaning of its own")
    return value


def _few(aliases: Sequence[str]) -> Sequence[str]:
    problems: list[tuple[Path, str]] = []
    if len(aliases) > MOST_LANES:
        problems.append(((), f"expected at most {MOST_LANES}, not {len(aliases)}"))
    folded = [alias.lower() for alias in aliases]
    problems += [
        ((index,), f"expected each alias once: {alias} is there twice")
        for index, alias in enumerate(folded)
        if alias in folded[:index]
    ]
    if problems:
        raise wrong_at(problems)
    return aliases


Challengers = Annotated[
    tuple[
        Annotated[str, BeforeValidator(_alias), WithJsonSchema({"type": "string", "pattern": f"^{_ALIAS.pattern}$"})],
        ...,
    ],
    AfterValidator(_few),
]
