"""What was in production when, with the id of each decision."""

from __future__ import annotations

from collections.abc import Sequence

from comparator.events import Decision
from comparator.reigns import Reign, reigns
from router.control.ledger.chain import entry_id


def told_reigns(model: str, numbered: Sequence[tuple[int, Decision]]) -> list[tuple[str, Reign]]:
    """The reigns, the latest first.

    Args:
        model: whose.
        numbered: all its decisions in order, each with its number in the chain.
    """
    found = reigns(decision for _, decision in numbered)
    return [(entry_id(model, numbered[each.decision][0]) if each.decision is not None else "", each) for each in found]
