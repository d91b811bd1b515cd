"""What titleshot's admin port says of the demo's model: its state, and its decisions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from router.demo.connection import Answer, Client
from router.demo.workspace import MODEL

LATEST = 50

Told = dict[str, Any]


@dataclass(slots=True)
class Desk:
    """The state as last read.

    Args:
        admin: client of the admin port.
        state: GET /models/{name}.
        decisions: the latest, the oldest first, as GET /models/{name}/history has them.
        trouble: why it could not be read; "": it could.
        versions: what was last said of each version that had a role: answers, quantiles, precision.
    """

    admin: Client
    state: Told = field(default_factory=dict)
    decisions: list[Told] = field(default_factory=list)
    trouble: str = ""
    versions: dict[int, Told] = field(default_factory=dict)

    async def read(self) -> None:
        """Read both; where the admin port does not answer, the last state stays."""
        state = await self.admin.get(f"/models/{MODEL}")
        history = await self.admin.get(f"/models/{MODEL}/history?limit={LATEST}")
        try:
            self.state = _told(state)
            self.decisions = list(reversed(_told(history)["decisions"]))
            self.versions |= {int(seen["version"]): seen for seen in self.state["roles"].values()}
            self.trouble = ""
        except (ValueError, KeyError, TypeError) as error:
            self.trouble = f"the admin port: {error}"

    def decisions_since(self, at: float) -> list[Told]:
        """Those made after a time in seconds since the epoch."""
        return [decision for decision in self.decisions if decision["at"] >= at]


def _told(answer: Answer) -> Told:
    if answer.status != 200:
        raise ValueError(f"{answer.status or 'no answer'}: {answer.body[:200].decode(errors='replace')}")
    told = json.loads(answer.body)
    if not isinstance(told, dict):
        raise TypeError(f"expected an object, not {type(told).__name__}")
    return told
