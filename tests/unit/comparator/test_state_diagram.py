"""ARCHITECTURE.md's diagram and the table are the same."""

import re
from pathlib import Path

from comparator.phases import TRANSITIONS

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"


def test_the_diagram_shows_every_transition_and_no_other():
    (diagram,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    shown = re.findall(r"^\s+(\w+) --> (\w+): (\w+)$", diagram, re.MULTILINE)
    table = [
        (phase.value, target.value, kind.value) for (phase, kind), targets in TRANSITIONS.items() for target in targets
    ]
    assert sorted(shown) == sorted(table)
