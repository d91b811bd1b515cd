"""How the shots of versions ended, and the decision behind each: what the registry is to say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comparator.events import DecisionKind

if TYPE_CHECKING:
    from comparator.events import Decision

Ending = tuple[int, str]
"""(version, "promoted" | "rejected" | "aborted")."""

_ENDING = frozenset({DecisionKind.PROMOTE, DecisionKind.ROLL_BACK, DecisionKind.REJECT, DecisionKind.ABORT})


class Endings:
    """Of one model. A version that was promoted and rolled back later has two; of two alike the later one counts.

    What the registry was told is not recorded: after a restart it is told again, which changes nothing that stands.
    """

    def __init__(self) -> None:
        self.decisions: dict[Ending, Decision] = {}
        self.untold: list[Ending] = []  # the next one to tell first
        self._asked: dict[int, Decision] = {}  # version -> the last decision that ends its shot, or takes its title

    def take(self, decision: Decision) -> None:
        """Any decision, once it is in force."""
        if decision.kind not in _ENDING:
            return
        if decision.rollout_id:
            self._asked[decision.version] = decision
        if decision.kind is DecisionKind.ROLL_BACK and decision.move is not None:
            self._asked[decision.move.expected] = decision

    def end(self, version: int, state: str, now: Decision) -> None:
        """A shot is over, as of the decision `now`: what counts is the one that called for it."""
        decision = self._asked.get(version, now)
        if self.decisions.get((version, state)) is not decision:
            self.decisions[version, state] = decision
            self._first((version, state))

    def told(self, ending: Ending, decision: Decision) -> None:
        """The registry says so now, unless there is a later one by now."""
        if self.decisions.get(ending) is decision:
            self.untold.remove(ending)

    def postpone(self, ending: Ending) -> None:
        """The registry could not be told: the others first."""
        self.untold.remove(ending)
        self.untold.append(ending)

    def _first(self, ending: Ending) -> None:
        if ending in self.untold:
            self.untold.remove(ending)
        self.untold.insert(0, ending)
