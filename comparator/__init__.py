"""The judge of titleshot: facts in, decisions out. Pure: no clock, no randomness, no I/O.

`comparator.replay` is its public function: the decisions that a policy would have taken on a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparator.replaying import replay

__all__ = ["replay"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as PEP 562 has it
    """Import the judge only where it is asked for: a proxy needs the names of the facts alone (PEP 562)."""
    if name == "replay":
        from comparator.replaying import replay  # noqa: PLC0415

        return replay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
