"""A lane: a further challenger of a model, compared in shadow and guarded, and never promoted.

It is a title of its own on the same champion. It takes nothing to the registry but tags, and what its evidence is good
for is a person's next act: to set @challenger to its version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from comparator.events import Command, CommandKind
from comparator.gated import Outcome

GatesOf = Callable[[], tuple[str, Mapping[tuple[int, str, int], Outcome]]]


@dataclass(frozen=True, slots=True)
class Lane:
    """What makes a title that of a lane.

    Args:
        alias: in the registry; names the lane's challenger.
        gates: the digest of the model's own policy, and the reports of the gate in staging that the model's title has.
    """

    alias: str
    gates: GatesOf

    def forbids(self, command: Command) -> str | None:
        """Why a person's command is none for a lane; None: it is one."""
        match command.kind:
            case CommandKind.PROMOTE | CommandKind.SIGN_OFF | CommandKind.REJECT:
                return f"a lane stays in shadow: set @challenger to the version of @{self.alias}, to put it on the road"
            case CommandKind.ROLL_BACK if command.to is not None:
                return "a lane moves no title: name no version, to take out its challenger, or roll the model back"
        return None
